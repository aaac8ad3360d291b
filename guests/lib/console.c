#include "console.h"

#include "text.h"
#include "x86.h"

#define DEBUG_PORT 0xe9
#define COM1 0x3f8
#define COM1_LINE_STATUS (COM1 + 5)
#define LINE_STATUS_THR_EMPTY 0x20 /* 16550D data sheet, 8.4 */
/* A line longer than this is cut: the longest we print is a register dump's, below 100 characters. */
#define PRINT_MAX 512
/* A UART that is never ready is no reason to hang: 115200 baud sends a character in fewer reads than this on any machine. */
#define SERIAL_PATIENCE 100000

static void debug_port_write(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        outb(DEBUG_PORT, (uint8_t)text[i]);
}

static console_writer *writer = debug_port_write;

void console_use(console_writer *chosen)
{
    writer = chosen;
}

void serial_write(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        for (int tries = 0; tries < SERIAL_PATIENCE && !(inb(COM1_LINE_STATUS) & LINE_STATUS_THR_EMPTY); tries++)
            pause();
        outb(COM1, (uint8_t)text[i]);
    }
    debug_port_write(text, length);
}

void print_list(const char *pattern, va_list arguments)
{
    char plain[PRINT_MAX], shown[2 * PRINT_MAX];
    size_t length = format_list(plain, sizeof plain, pattern, arguments), end = 0;
    for (size_t i = 0; i < length; i++) {
        if (plain[i] == '\n')
            shown[end++] = '\r';
        shown[end++] = plain[i];
    }
    writer(shown, end);
}

void print(const char *pattern, ...)
{
    va_list arguments;
    va_start(arguments, pattern);
    print_list(pattern, arguments);
    va_end(arguments);
}
