/* Event channels (event_channel.h, 2-level), delivered by each kind of callback that Xen has, and the clock of shared_info. */
#ifndef EVENTS_H
#define EVENTS_H

#include <stddef.h>
#include <stdint.h>

#include "x86.h"
#include "xen.h"

/* How Xen interrupts the processor for an event (hvm/params.h, HVM_PARAM_CALLBACK_IRQ). */
enum callback {
    CALLBACK_VECTOR,   /* a vector of the processor's own, past all interrupt controllers */
    CALLBACK_GSI,      /* a line of the 8259 pair, as a level */
    CALLBACK_PCI_INTX, /* the Xen platform device's INTA#, by the PIIX3's link to a line of the 8259 pair */
};

/*
 * Maps shared_info at guest frame `frame` and has events arrive; `how` is told how, in words that follow "events arrive". Panics when Xen
 * refuses, or there is no platform device for CALLBACK_PCI_INTX.
 */
void events_start(uint32_t frame, enum callback callback, char *how, size_t size);

typedef void event_handler(void *context);

/* Calls `handler` from the upcall, interrupts off, whenever `port` is signalled; the port is unmasked. */
void event_bind(evtchn_port_t port, event_handler *handler, void *context);

/* A new port that domain `remote` may bind to. Panics when Xen has none left. */
evtchn_port_t event_alloc_unbound(uint16_t remote);

/* Unbinds and closes the port. */
void event_close(evtchn_port_t port);

/* Sleeps until the condition holds; it is looked at with interrupts off, so an event in between is not lost. */
#define sleep_until(condition)        \
    do {                              \
        interrupts_off();             \
        while (!(condition)) {        \
            sleep_until_interrupt();  \
            interrupts_off();         \
        }                             \
        interrupts_on();              \
    } while (0)

/* Xen's system time in ns (shared_info, vcpu_info[0].time). */
uint64_t system_time_ns(void);

#endif
