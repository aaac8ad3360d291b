/* Our own GDT, TSS and IDT (SDM vol. 3A 3.4.5, 7.2.1, 6.11), and what happens on an exception. */
#ifndef DESCRIPTORS_H
#define DESCRIPTORS_H

#include <stdint.h>

/* What the stubs of exceptions.S leave on the stack; `esp` is PUSHAL's, the interrupted stack pointer is the address after `eflags`. */
struct trap_frame {
    uint32_t edi, esi, ebp, esp, ebx, edx, ecx, eax;
    uint32_t vector, error_code;
    uint32_t eip, cs, eflags;
};

/* Loads GDT, TSS and IDT. Every exception prints a register dump and ends in `crash`, which must not return. */
void descriptors_load(void (*crash)(void));

/* Routes one vector (32 to 255) to `handler`, which runs with interrupts off. There is one handler, for all routed vectors. */
void interrupt_route(uint8_t vector, void (*handler)(void));

#endif
