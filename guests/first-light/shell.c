/* The console mode: a line editor of the simplest kind, fed by the console's event channel. */
#include "../lib/console.h"
#include "../lib/domain.h"
#include "../lib/events.h"
#include "../lib/text.h"
#include "../lib/xen_console.h"
#include "modes.h"

#define LINE_MAX 80
#define TYPED_MAX 256 /* typed ahead of us; more is left in Xen's ring until we get there */
#define BACKSPACE 8
#define DELETE 127

/* Written by the upcall, read by the prompt; free-running indices. */
static char typed[TYPED_MAX];
static volatile uint32_t typed_in, typed_out;

static void on_typed(void *context)
{
    (void)context;
    while (typed_in - typed_out < TYPED_MAX) {
        char c;
        if (xen_console_read(&c, 1) == 0)
            return;
        typed[typed_in++ % TYPED_MAX] = c;
    }
}

static char next_character(void)
{
    sleep_until(typed_in != typed_out);
    char c = typed[typed_out % TYPED_MAX];
    interrupts_off();
    typed_out++;
    on_typed(NULL); /* there is room again: what waited in the ring gets no event of its own */
    interrupts_on();
    return c;
}

/* Reads a line with echo; backspace takes a character back, characters beyond LINE_MAX are dropped. */
static void read_line(char *line)
{
    size_t length = 0;
    for (;;) {
        char c = next_character();
        if (c == '\r' || c == '\n') {
            line[length] = 0;
            print("\n");
            return;
        }
        if (c == BACKSPACE || c == DELETE) {
            if (length > 0) {
                length--;
                print("\b \b");
            }
        } else if (c >= ' ' && c <= '~' && length < LINE_MAX) {
            line[length++] = c;
            print("%c", c);
        }
    }
}

static void sum(const char *at)
{
    uint32_t total = 0, value;
    for (;;) {
        while (*at == ' ')
            at++;
        if (*at == 0)
            break;
        if (!parse_u32(&at, &value)) {
            print("sum: \"%s\" is not a number\n", at);
            return;
        }
        total += value;
    }
    print("%u\n", total);
}

void console_mode(void)
{
    char line[LINE_MAX + 1];
    event_bind(xen_console_port(), on_typed, NULL);
    print("type help for help\n");
    for (;;) {
        print("> ");
        read_line(line);
        if (text_equal(line, "exit"))
            return;
        if (text_equal(line, "help"))
            print("echo TEXT, sum NUMBERS, help, exit\n");
        else if (text_equal(line, "echo") || text_starts_with(line, "echo "))
            print("%s\n", line[4] != 0 ? line + 5 : "");
        else if (text_equal(line, "sum") || text_starts_with(line, "sum "))
            sum(line + 3);
        else if (line[0] != 0)
            print("%s: no such command\n", line);
    }
}
