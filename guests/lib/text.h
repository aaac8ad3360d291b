/* Strings, memory and formatted text: the few functions of the C library that these programs use. */
#ifndef TEXT_H
#define TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *to, const void *from, size_t count);
void *memset(void *to, int byte, size_t count);
int memcmp(const void *a, const void *b, size_t count);
void *memmove(void *to, const void *from, size_t count);
size_t strlen(const char *text);
bool text_equal(const char *a, const char *b);
bool text_starts_with(const char *text, const char *prefix);

/* Reads an unsigned decimal or 0x-hexadecimal number, advances *text past it; false when no digit stands there or it overflows 32 bits. */
bool parse_u32(const char **text, uint32_t *value);

/*
 * printf's subset: %s %c %d %u %x %%, with an optional 0 flag and width. The text is cut at size and always NUL-terminated;
 * the result is the length written, without the NUL.
 */
size_t format(char *to, size_t size, const char *pattern, ...) __attribute__((format(printf, 3, 4)));
size_t format_list(char *to, size_t size, const char *pattern, va_list arguments);

#endif
