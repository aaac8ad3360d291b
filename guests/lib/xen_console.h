/* Xen's console ring (io/console.h), both directions. */
#ifndef XEN_CONSOLE_H
#define XEN_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>

#include "xen.h"

/* Finds the ring and its event channel by hvm_op get_param; false when the domain has none. */
bool xen_console_open(void);

evtchn_port_t xen_console_port(void);

/* A console_writer. When the ring is full it yields to Xen until the other side has read; needs no interrupts, so a crash can use it. */
void xen_console_write(const char *text, size_t length);

/* Takes up to `size` typed characters, without waiting; the number taken. */
size_t xen_console_read(char *to, size_t size);

#endif
