/*
 * mixed: what ordinary programs do. Every round builds, sorts and walks linked lists, multiplies integer matrices, runs a tokenizer (a
 * state machine over characters) and handles strings: numbers to text and back, comparing, hashing.
 */
#include "bench.h"

#define ELEMENTS 1024u
#define SIZE 24u
#define TEXT_BYTES 4096u
#define BUCKETS 64u
#define NUMBERS 200u

struct element {
    struct element *next;
    uint32_t key, payload;
};

static struct element elements[ELEMENTS];
static int32_t left[SIZE][SIZE], right[SIZE][SIZE], product[SIZE][SIZE];
static char text[TEXT_BYTES];
static uint32_t buckets[BUCKETS];

/* ---- lists ---- */

static struct element *build_list(uint32_t *random)
{
    struct element *head = 0;
    for (uint32_t i = 0; i < ELEMENTS; i++) {
        elements[i].key = next_random(random) >> 12;
        elements[i].payload = i;
        elements[i].next = head;
        head = &elements[i];
    }
    return head;
}

static struct element *reverse(struct element *head)
{
    struct element *done = 0;
    while (head != 0) {
        struct element *next = head->next;
        head->next = done;
        done = head;
        head = next;
    }
    return done;
}

static struct element *merge(struct element *a, struct element *b)
{
    struct element *head = 0, **end = &head;
    while (a != 0 && b != 0) {
        struct element **smaller = a->key <= b->key ? &a : &b;
        *end = *smaller;
        end = &(*smaller)->next;
        *smaller = *end;
    }
    *end = a != 0 ? a : b;
    return head;
}

static struct element *merge_sort(struct element *list)
{
    if (list == 0 || list->next == 0)
        return list;
    struct element *middle = list, *end = list->next;
    while (end != 0 && end->next != 0) {
        middle = middle->next;
        end = end->next->next;
    }
    struct element *second = middle->next;
    middle->next = 0;
    return merge(merge_sort(list), merge_sort(second));
}

static uint32_t lists(uint32_t *random)
{
    uint32_t checksum = 0;
    struct element *list = reverse(merge_sort(build_list(random)));
    for (; list != 0; list = list->next)
        checksum = fold(checksum, list->key ^ list->payload);
    return checksum;
}

/* ---- matrices ---- */

static uint32_t matrices(uint32_t *random)
{
    uint32_t checksum = 0;
    for (uint32_t i = 0; i < SIZE; i++)
        for (uint32_t j = 0; j < SIZE; j++) {
            left[i][j] = (int32_t)next_random(random) >> 16;
            right[i][j] = (int32_t)next_random(random) >> 16;
        }
    for (uint32_t i = 0; i < SIZE; i++)
        for (uint32_t j = 0; j < SIZE; j++) {
            uint32_t sum = 0;
            for (uint32_t k = 0; k < SIZE; k++)
                sum += (uint32_t)left[i][k] * (uint32_t)right[k][j];
            product[i][j] = (int32_t)sum >> 3;
        }
    for (uint32_t i = 0; i < SIZE; i++)
        checksum = fold(checksum, (uint32_t)(product[i][i] / (int32_t)(i + 1)));
    return checksum;
}

/* ---- state machine ---- */

static uint32_t write_text(uint32_t *random)
{
    static const char alphabet[] = "abcdexyz_0123456789 \n\"/*+-=();";
    uint32_t length = TEXT_BYTES - 1;
    for (uint32_t i = 0; i < length; i++)
        text[i] = alphabet[(next_random(random) >> 16) % (sizeof alphabet - 1)];
    text[length] = 0;
    return length;
}

enum state { BETWEEN, NAME, NUMBER, STRING, SLASH, COMMENT, COMMENT_STAR };

static uint32_t tokenize(const char *at)
{
    uint32_t checksum = 0, hash = 0, tokens = 0;
    enum state state = BETWEEN;
    for (; *at != 0; at++) {
        uint8_t c = (uint8_t)*at;
        switch (state) {
        case NAME:
            if ((c >= 'a' && c <= 'z') || c == '_' || (c >= '0' && c <= '9')) {
                hash = hash * 31 + c;
                break;
            }
            checksum = fold(checksum, hash);
            tokens++;
            goto between;
        case NUMBER:
            if (c >= '0' && c <= '9') {
                hash = hash * 10 + (c - '0');
                break;
            }
            checksum = fold(checksum, hash);
            tokens++;
            goto between;
        case STRING:
            if (c == '"') {
                tokens++;
                state = BETWEEN;
            }
            break;
        case SLASH:
            if (c == '*') {
                state = COMMENT;
                break;
            }
            goto between;
        case COMMENT:
            if (c == '*')
                state = COMMENT_STAR;
            break;
        case COMMENT_STAR:
            state = c == '/' ? BETWEEN : c == '*' ? COMMENT_STAR : COMMENT;
            break;
        between:
        case BETWEEN:
            hash = c;
            if ((c >= 'a' && c <= 'z') || c == '_') {
                state = NAME;
            } else if (c >= '0' && c <= '9') {
                hash = c - '0';
                state = NUMBER;
            } else if (c == '"') {
                state = STRING;
            } else if (c == '/') {
                state = SLASH;
            } else {
                checksum = fold(checksum, c);
                state = BETWEEN;
            }
            break;
        }
    }
    return fold(checksum, tokens);
}

/* ---- strings ---- */

static char *write_number(char *to, uint32_t value)
{
    char digits[10];
    uint32_t count = 0;
    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    while (count > 0)
        *to++ = digits[--count];
    *to++ = 0;
    return to;
}

static int compare(const char *a, const char *b)
{
    while (*a != 0 && *a == *b)
        a++, b++;
    return (uint8_t)*a - (uint8_t)*b;
}

static uint32_t numbers(uint32_t *random)
{
    uint32_t checksum = 0, descents = 0;
    char *end = text;
    for (uint32_t i = 0; i < NUMBERS; i++)
        end = write_number(end, next_random(random) >> (i % 20));
    for (const char *at = text, *previous = text; at < end;) {
        uint32_t value = 0, hash = 2166136261u;
        const char *start = at;
        for (; *at != 0; at++) {
            value = value * 10 + (uint32_t)(*at - '0');
            hash = (hash ^ (uint8_t)*at) * 16777619u;
        }
        at++;
        buckets[hash % BUCKETS] += value;
        if (compare(previous, start) > 0)
            descents++;
        previous = start;
    }
    for (uint32_t i = 0; i < BUCKETS; i++)
        checksum = fold(checksum, buckets[i]);
    return fold(checksum, descents);
}

uint32_t bench_workload(uint32_t rounds)
{
    uint32_t random = 54321, checksum = 0;
    for (uint32_t round = 0; round < rounds; round++) {
        checksum = fold(checksum, lists(&random));
        checksum = fold(checksum, matrices(&random));
        checksum = fold(checksum, write_text(&random));
        checksum = fold(checksum, tokenize(text));
        checksum = fold(checksum, numbers(&random));
    }
    return checksum;
}
