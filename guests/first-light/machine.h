/*
 * What first-light stands on: Xen found, paging on, event channels delivered as one interrupt vector, the grant table and
 * shared_info mapped, and the command line taken from the domain builder.
 */
#ifndef MACHINE_H
#define MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "../lib/x86.h"
#include "../lib/xen.h"

/* Brings all of it up, says so on the console. Ends the domain with a message when something is missing. */
void machine_start(const struct hvm_start_info *start);

/* The value of a number option `name=N` on the command line, else `otherwise`. */
uint32_t option_number(const char *name, uint32_t otherwise);

/* True when the command line holds `name=...`. */
bool option_given(const char *name);

/* True when the command line holds `name=value`. */
bool option_is(const char *name, const char *value);

/* Says why and ends the domain as crashed. */
void panic(const char *pattern, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Xen's system time in ns (shared_info, vcpu_info[0].time). */
uint64_t system_time_ns(void);

/* ---- event channels ---- */

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

/* ---- grants ---- */

/* Lets domain `to` access the page; the reference to hand out. Panics when all are in use. */
grant_ref_t grant_access(uint16_t to, const void *page, bool read_only);

/* Takes the access back; false, and nothing changed, while the other domain still has the page mapped. */
bool grant_end_access(grant_ref_t ref);

#endif
