#include "text.h"

void *memcpy(void *to, const void *from, size_t count)
{
    void *start = to;
    size_t words = count / 4;
    __asm__ volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(words)::"memory");
    count &= 3;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count)::"memory");
    return start;
}

void *memset(void *to, int byte, size_t count)
{
    void *start = to;
    size_t words = count / 4;
    __asm__ volatile("rep stosl" : "+D"(to), "+c"(words) : "a"((uint8_t)byte * 0x01010101u) : "memory");
    count &= 3;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(byte) : "memory");
    return start;
}

void *memmove(void *to, const void *from, size_t count)
{
    if ((uintptr_t)to - (uintptr_t)from >= count)
        return memcpy(to, from, count);
    uint8_t *t = to;
    const uint8_t *f = from;
    while (count-- > 0)
        t[count] = f[count];
    return to;
}

int memcmp(const void *a, const void *b, size_t count)
{
    const uint8_t *x = a, *y = b;
    for (; count > 0; count--, x++, y++)
        if (*x != *y)
            return *x - *y;
    return 0;
}

size_t strlen(const char *text)
{
    size_t length = 0;
    while (text[length] != 0)
        length++;
    return length;
}

bool text_equal(const char *a, const char *b)
{
    while (*a != 0 && *a == *b)
        a++, b++;
    return *a == *b;
}

bool text_starts_with(const char *text, const char *prefix)
{
    while (*prefix != 0 && *text == *prefix)
        text++, prefix++;
    return *prefix == 0;
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return 99;
}

bool parse_u32(const char **text, uint32_t *value)
{
    const char *at = *text;
    int base = 10;
    if (at[0] == '0' && at[1] == 'x' && digit_of(at[2]) < 16) {
        base = 16;
        at += 2;
    }
    if (digit_of(*at) >= base)
        return false;
    uint64_t sum = 0;
    for (; digit_of(*at) < base; at++) {
        sum = sum * (uint32_t)base + (uint32_t)digit_of(*at);
        if (sum > UINT32_MAX)
            return false;
    }
    *text = at;
    *value = (uint32_t)sum;
    return true;
}

struct output {
    char *to;
    size_t size, length;
};

static void put(struct output *out, char c)
{
    if (out->length + 1 < out->size)
        out->to[out->length++] = c;
}

static void put_number(struct output *out, uint32_t value, uint32_t base, bool negative, int width, char fill)
{
    char digits[12];
    int count = 0;
    do {
        digits[count++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    if (negative)
        digits[count++] = '-';
    for (int i = count; i < width; i++)
        put(out, fill);
    while (count > 0)
        put(out, digits[--count]);
}

size_t format_list(char *to, size_t size, const char *pattern, va_list arguments)
{
    struct output out = { to, size, 0 };
    for (; *pattern != 0; pattern++) {
        if (*pattern != '%') {
            put(&out, *pattern);
            continue;
        }
        pattern++;
        char fill = ' ';
        int width = 0;
        if (*pattern == '0')
            fill = '0';
        for (; *pattern >= '0' && *pattern <= '9'; pattern++)
            width = width * 10 + (*pattern - '0');
        switch (*pattern) {
        case 's': {
            const char *text = va_arg(arguments, const char *);
            int length = (int)strlen(text);
            for (; *text != 0; text++)
                put(&out, *text);
            for (; length < width; length++)
                put(&out, ' ');
            break;
        }
        case 'c':
            put(&out, (char)va_arg(arguments, int));
            break;
        case 'd': {
            int value = va_arg(arguments, int);
            put_number(&out, value < 0 ? 0u - (uint32_t)value : (uint32_t)value, 10, value < 0, width, fill);
            break;
        }
        case 'u':
            put_number(&out, va_arg(arguments, uint32_t), 10, false, width, fill);
            break;
        case 'x':
            put_number(&out, va_arg(arguments, uint32_t), 16, false, width, fill);
            break;
        default:
            put(&out, *pattern);
            break;
        }
    }
    if (size > 0)
        to[out.length] = 0;
    return out.length;
}

size_t format(char *to, size_t size, const char *pattern, ...)
{
    va_list arguments;
    va_start(arguments, pattern);
    size_t length = format_list(to, size, pattern, arguments);
    va_end(arguments);
    return length;
}
