/* The text a guest shows, wherever it runs: Xen's console ring, else a serial port and the debug port. */
#ifndef CONSOLE_H
#define CONSOLE_H

#include <stdarg.h>
#include <stddef.h>

/* A place that takes text whole; it may wait until there is room. */
typedef void console_writer(const char *text, size_t length);

/* Chooses where the text goes from now on. Before the first call it goes to the debug port 0xe9 alone. */
void console_use(console_writer *writer);

/* The 16550 at 0x3f8 and the debug port 0xe9 (as QEMU and Bochs have), for machines that are not Xen's. */
void serial_write(const char *text, size_t length);

/* printf's subset of text.h; one call writes at most 512 characters. A newline becomes CR LF, as a terminal expects. */
void print(const char *pattern, ...) __attribute__((format(printf, 1, 2)));
void print_list(const char *pattern, va_list arguments);

#endif
