/*
 * mem: work on memory with paging on. Every round copies, sorts, calls, chases pointers and runs the string instructions, over a
 * working set of 1.3 MiB: beyond a software TLB of 256 entries, within the program's first 4 MiB of small pages.
 */
#include "bench.h"
#include "strings.h"

#define WORDS 32768u /* 128 KiB in each of the two copy buffers */
#define SORTED 2048u
#define NODES 8192u  /* of 128 bytes: 1 MiB */
#define CHASES 40000u
#define FIBONACCI 17u
#define TEXT_BYTES 8192u

struct node {
    struct node *next;
    uint32_t value;
    uint32_t unused[30];
};

static uint32_t source[WORDS], target[WORDS];
static uint32_t sorted[SORTED];
static struct node nodes[NODES];
static char text[TEXT_BYTES], copy[TEXT_BYTES];

static void copy_words(uint32_t *to, const uint32_t *from, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        to[i] = from[i] + i;
}

static void quicksort(uint32_t *low, uint32_t *high)
{
    while (low < high) {
        uint32_t pivot = low[(high - low) / 2], *i = low, *j = high;
        for (;;) {
            while (*i < pivot)
                i++;
            while (*j > pivot)
                j--;
            if (i >= j)
                break;
            uint32_t t = *i;
            *i++ = *j;
            *j-- = t;
        }
        quicksort(low, i - 1);
        low = j + 1;
    }
}

static __attribute__((noinline)) uint32_t fibonacci(uint32_t n)
{
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

/* Links all nodes into one cycle in random order (Sattolo's shuffle of the successors). */
static void link_nodes(uint32_t *random)
{
    for (uint32_t i = 0; i < NODES; i++) {
        nodes[i].next = &nodes[i];
        nodes[i].value = next_random(random);
    }
    for (uint32_t i = NODES - 1; i > 0; i--) {
        uint32_t j = (next_random(random) >> 8) % i;
        struct node *t = nodes[i].next;
        nodes[i].next = nodes[j].next;
        nodes[j].next = t;
    }
}

static uint32_t chase(uint32_t start)
{
    const struct node *at = &nodes[start % NODES];
    uint32_t sum = 0;
    for (uint32_t i = 0; i < CHASES; i++) {
        sum += at->value;
        at = at->next;
    }
    return sum;
}

static uint32_t strings(uint32_t round)
{
    uint32_t checksum = 0, from = 0;
    rep_stosb(text, (uint8_t)('a' + round % 26), TEXT_BYTES);
    for (uint32_t at = 61 + round % 7; at < TEXT_BYTES; at += 97)
        text[at] = 0;
    rep_movsb(copy, text, TEXT_BYTES);
    while (from < TEXT_BYTES) {
        uint32_t length = repne_scasb(text + from, 0, TEXT_BYTES - from);
        checksum = fold(checksum, length);
        from += length + 1;
    }
    copy[TEXT_BYTES - 1 - round % 512] ^= 1;
    checksum = fold(checksum, repe_cmpsb(text, copy, TEXT_BYTES));
    rep_stosl(target, checksum, WORDS / 4);
    rep_movsl(target + WORDS / 2, target, WORDS / 4);
    return fold(checksum, target[WORDS / 2 + round % (WORDS / 4)]);
}

uint32_t bench_workload(uint32_t rounds)
{
    uint32_t random = 12345, checksum = 0;
    link_nodes(&random);
    for (uint32_t i = 0; i < WORDS; i++)
        source[i] = next_random(&random);
    for (uint32_t round = 0; round < rounds; round++) {
        copy_words(target, source, WORDS);
        copy_words(source, target, WORDS);
        checksum = fold(checksum, source[next_random(&random) >> 17]);
        for (uint32_t i = 0; i < SORTED; i++)
            sorted[i] = next_random(&random);
        quicksort(sorted, sorted + SORTED - 1);
        for (uint32_t i = 0; i < SORTED; i += 64)
            checksum = fold(checksum, sorted[i]);
        checksum = fold(checksum, fibonacci(FIBONACCI));
        checksum = fold(checksum, chase(next_random(&random)));
        checksum = fold(checksum, strings(round));
    }
    return checksum;
}
