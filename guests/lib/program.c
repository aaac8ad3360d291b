#include "program.h"

#include "console.h"
#include "descriptors.h"
#include "hypercall.h"
#include "options.h"
#include "x86.h"
#include "xen_console.h"

#define DEBUG_EXIT_PORT 0xf4
#define COM1 0x3f8
#define COM1_LINE_CONTROL (COM1 + 3)
#define LINE_CONTROL_DIVISOR 0x80
#define LINE_CONTROL_8N1 0x03

static bool on_xen;

/* 115200 baud, 8 bits, no parity (16550D data sheet, 8.3 and 8.6): no firmware may have been there. */
static void serial_start(void)
{
    outb(COM1_LINE_CONTROL, LINE_CONTROL_DIVISOR);
    outb(COM1, 1);
    outb(COM1 + 1, 0);
    outb(COM1_LINE_CONTROL, LINE_CONTROL_8N1);
}

static void crash(void)
{
    program_end(false);
}

void program_start(const void *boot_information)
{
    struct xen_identity xen;
    options_read(boot_information);
    on_xen = xen_find(&xen);
    if (on_xen && xen_console_open()) {
        console_use(xen_console_write);
    } else {
        serial_start();
        console_use(serial_write);
    }
    descriptors_load(crash);
}

void program_end(bool right)
{
    if (on_xen)
        sched_shutdown(right ? SHUTDOWN_poweroff : SHUTDOWN_crash);
    outb(DEBUG_EXIT_PORT, right ? 0 : 1);
    halt_forever();
}
