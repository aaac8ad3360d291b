/* The 8259A pair and the 8254's channel 2, of every PC since the AT. */
#ifndef INTERRUPTS_H
#define INTERRUPTS_H

#include <stdint.h>

#define IRQS 16

/* Interrupts for which neither controller has a request in service (8259A data sheet, "default IR7"). */
extern uint32_t spurious_interrupts;

/* Initialises both controllers and unmasks one line; `handler` runs on it with interrupts off, before the end-of-interrupt. */
void interrupts_start(uint8_t irq, void (*handler)(void));

/* A line shared by PCI devices stays high until all are served: tells the ELCR (PIIX3 data sheet, 4D0h and 4D1h). */
void interrupt_is_level(uint8_t irq);

/* Waits, busily, at least so long: at most 50,000. */
void wait_microseconds(uint32_t microseconds);

#endif
