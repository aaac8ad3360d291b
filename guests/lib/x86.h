/*
 * The processor: the instructions a bare-metal program needs and C does not have.
 * Source: Intel SDM vol. 2 (instructions), vol. 3A 2.5 (control registers).
 */
#ifndef X86_H
#define X86_H

#include <stdint.h>

#define PAGE_SHIFT 12
#define PAGE_SIZE 4096u

#define CR0_WP (1u << 16)
#define CR0_PG (1u << 31)
#define CR4_PSE (1u << 4)
#define CPUID1_EDX_PSE (1u << 3)

/* Segment selectors of our own GDT (descriptors.c). */
#define SELECTOR_CODE 0x08
#define SELECTOR_DATA 0x10
#define SELECTOR_TSS 0x18

/* Keeps the compiler from moving memory accesses over this point. x86 keeps stores in order by itself (SDM vol. 3A 8.2.2). */
#define barrier() __asm__ volatile("" ::: "memory")
/* Orders our store before our next load, which x86 alone does not. */
#define full_barrier() __asm__ volatile("lock; addl $0, (%%esp)" ::: "memory", "cc")

/* One access to memory that somebody else writes: neither repeated nor merged by the compiler. */
#define READ_ONCE(lvalue) (*(volatile __typeof__(lvalue) *)&(lvalue))
#define WRITE_ONCE(lvalue, value) (*(volatile __typeof__(lvalue) *)&(lvalue) = (value))

static inline void cpuid(uint32_t leaf, uint32_t *a, uint32_t *b, uint32_t *c, uint32_t *d)
{
    __asm__ volatile("cpuid" : "=a"(*a), "=b"(*b), "=c"(*c), "=d"(*d) : "0"(leaf), "2"(0));
}

static inline void wrmsr(uint32_t msr, uint32_t low, uint32_t high)
{
    __asm__ volatile("wrmsr" ::"c"(msr), "a"(low), "d"(high) : "memory");
}

static inline uint64_t rdtsc(void)
{
    uint64_t ticks;
    __asm__ volatile("rdtsc" : "=A"(ticks)::"memory");
    return ticks;
}

static inline uint32_t read_cr0(void)
{
    uint32_t value;
    __asm__ volatile("movl %%cr0, %0" : "=r"(value));
    return value;
}

static inline uint32_t read_cr2(void)
{
    uint32_t value;
    __asm__ volatile("movl %%cr2, %0" : "=r"(value));
    return value;
}

static inline uint32_t read_cr3(void)
{
    uint32_t value;
    __asm__ volatile("movl %%cr3, %0" : "=r"(value));
    return value;
}

static inline uint32_t read_cr4(void)
{
    uint32_t value;
    __asm__ volatile("movl %%cr4, %0" : "=r"(value));
    return value;
}

static inline void write_cr0(uint32_t value)
{
    __asm__ volatile("movl %0, %%cr0" ::"r"(value) : "memory");
}

static inline void write_cr3(uint32_t value)
{
    __asm__ volatile("movl %0, %%cr3" ::"r"(value) : "memory");
}

static inline void write_cr4(uint32_t value)
{
    __asm__ volatile("movl %0, %%cr4" ::"r"(value) : "memory");
}

static inline void outb(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port));
}

static inline uint8_t inb(uint16_t port)
{
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline void outw(uint16_t port, uint16_t value)
{
    __asm__ volatile("outw %0, %1" ::"a"(value), "Nd"(port));
}

static inline uint32_t inl(uint16_t port)
{
    uint32_t value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

/* `count` words from the port to memory, and from memory to the port. */
static inline void insw(uint16_t port, void *to, uint32_t count)
{
    __asm__ volatile("rep insw" : "+D"(to), "+c"(count) : "d"(port) : "memory");
}

static inline void outsw(uint16_t port, const void *from, uint32_t count)
{
    __asm__ volatile("rep outsw" : "+S"(from), "+c"(count) : "d"(port) : "memory");
}

static inline void outl(uint16_t port, uint32_t value)
{
    __asm__ volatile("outl %0, %1" ::"a"(value), "Nd"(port));
}

static inline void interrupts_off(void)
{
    __asm__ volatile("cli" ::: "memory");
}

static inline void interrupts_on(void)
{
    __asm__ volatile("sti" ::: "memory");
}

/* Sleeps until an interrupt. STI takes effect after HLT has begun (SDM vol. 2B, STI), so no wake-up is lost between them. */
static inline void sleep_until_interrupt(void)
{
    __asm__ volatile("sti; hlt" ::: "memory");
}

static inline void halt_forever(void)
{
    for (;;)
        __asm__ volatile("cli; hlt" ::: "memory");
}

static inline void pause(void)
{
    __asm__ volatile("pause" ::: "memory");
}

static inline uint32_t exchange(volatile uint32_t *where, uint32_t value)
{
    __asm__ volatile("xchgl %0, %1" : "+r"(value), "+m"(*where)::"memory");
    return value;
}

/* dividend / divisor and the remainder, for a quotient of any size, without the compiler's run-time library. */
static inline uint64_t divide64(uint64_t dividend, uint32_t divisor, uint32_t *remainder)
{
    uint32_t high = (uint32_t)(dividend >> 32), low = (uint32_t)dividend;
    uint32_t quotient_high = high / divisor, rest = high % divisor, quotient_low;
    __asm__("divl %4" : "=a"(quotient_low), "=d"(rest) : "0"(low), "1"(rest), "rm"(divisor) : "cc");
    *remainder = rest;
    return (uint64_t)quotient_high << 32 | quotient_low;
}

#endif
