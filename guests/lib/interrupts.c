#include "interrupts.h"

#include "descriptors.h"
#include "x86.h"

/* Intel 8259A data sheet: command words */
#define MASTER 0x20
#define SLAVE 0xa0
#define ICW1_CASCADE_ICW4 0x11
#define ICW4_8086 0x01
#define OCW2_SPECIFIC_EOI 0x60
#define OCW3_READ_IN_SERVICE 0x0b
#define CASCADE_IRQ 2
#define ELCR 0x4d0
#define FIRST_VECTOR 0x20

/* Intel 8254 data sheet: control word; port 61h as in IBM's AT technical reference */
#define PIT_CHANNEL_2 0x42
#define PIT_CONTROL 0x43
#define PIT_CHANNEL_2_MODE_0 0xb0 /* both bytes, output high at the end of the count */
#define PIT_HZ 1193182u
#define SYSTEM_PORT 0x61
#define SYSTEM_GATE_2 0x01
#define SYSTEM_SPEAKER 0x02
#define SYSTEM_OUTPUT_2 0x20
/* Without a timer we go on all the same: a read of an ISA port takes no less than 0.1 us, so this is more than 50 ms. */
#define TIMER_PATIENCE 500000

uint32_t spurious_interrupts;

static uint8_t line;
static void (*line_handler)(void);

static uint32_t in_service(void)
{
    outb(MASTER, OCW3_READ_IN_SERVICE);
    outb(SLAVE, OCW3_READ_IN_SERVICE);
    return inb(MASTER) | (uint32_t)inb(SLAVE) << 8;
}

static void dispatch(void)
{
    uint32_t serving = in_service();
    if (serving & 1u << line)
        line_handler();
    else
        spurious_interrupts++;
    if (line >= 8 && serving & 1u << line)
        outb(SLAVE, OCW2_SPECIFIC_EOI | (line - 8));
    else if (serving & 1u << line)
        outb(MASTER, OCW2_SPECIFIC_EOI | line);
    if (serving & 1u << CASCADE_IRQ)
        outb(MASTER, OCW2_SPECIFIC_EOI | CASCADE_IRQ); /* also for a spurious one of the slave: the master does not know */
}

void interrupts_start(uint8_t irq, void (*handler)(void))
{
    line = irq;
    line_handler = handler;
    outb(MASTER, ICW1_CASCADE_ICW4);
    outb(SLAVE, ICW1_CASCADE_ICW4);
    outb(MASTER + 1, FIRST_VECTOR);
    outb(SLAVE + 1, FIRST_VECTOR + 8);
    outb(MASTER + 1, 1 << CASCADE_IRQ);
    outb(SLAVE + 1, CASCADE_IRQ);
    outb(MASTER + 1, ICW4_8086);
    outb(SLAVE + 1, ICW4_8086);
    uint32_t open = 1u << irq | (irq >= 8 ? 1u << CASCADE_IRQ : 0);
    outb(MASTER + 1, (uint8_t)~open);
    outb(SLAVE + 1, (uint8_t)~(open >> 8));
    interrupt_route((uint8_t)(FIRST_VECTOR + irq), dispatch);
    interrupt_route(FIRST_VECTOR + 7, dispatch); /* the spurious ones of master and slave */
    interrupt_route(FIRST_VECTOR + 15, dispatch);
}

void interrupt_is_level(uint8_t irq)
{
    uint16_t port = (uint16_t)(ELCR + irq / 8);
    outb(port, (uint8_t)(inb(port) | 1u << irq % 8));
}

void wait_microseconds(uint32_t microseconds)
{
    uint32_t rest, count = (uint32_t)divide64((uint64_t)microseconds * PIT_HZ, 1000000, &rest) + 1;
    uint8_t system = inb(SYSTEM_PORT) & (uint8_t)~(SYSTEM_SPEAKER | SYSTEM_GATE_2);
    outb(SYSTEM_PORT, system | SYSTEM_GATE_2);
    outb(PIT_CONTROL, PIT_CHANNEL_2_MODE_0);
    outb(PIT_CHANNEL_2, (uint8_t)count);
    outb(PIT_CHANNEL_2, (uint8_t)(count >> 8));
    for (int reads = 0; reads < TIMER_PATIENCE && !(inb(SYSTEM_PORT) & SYSTEM_OUTPUT_2); reads++)
        pause();
    outb(SYSTEM_PORT, system);
}
