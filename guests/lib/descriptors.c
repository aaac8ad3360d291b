#include "descriptors.h"

#include "console.h"
#include "x86.h"

#define EXCEPTIONS 32
#define STUB_BYTES 16 /* exceptions.S aligns each to this */
#define PAGE_FAULT 14
#define GATE_INTERRUPT_32 0x8e00 /* present, DPL 0, 32-bit interrupt gate: SDM vol. 3A 6.11 */

struct tss {
    uint32_t link, esp0, ss0, unused[22];
    uint16_t trap, io_map_base;
};
_Static_assert(sizeof(struct tss) == 104, "SDM vol. 3A figure 7-2");

struct gate {
    uint16_t offset_low, selector, flags, offset_high;
};

struct table_pointer {
    uint16_t limit;
    uint32_t base;
} __attribute__((packed));

extern const uint8_t exception_stubs[], interrupt_stub[], boot_stack_top[];

void (*interrupt_handler)(void);

static void (*crash_handler)(void);
static struct tss tss;
static struct gate idt[256];
/* Flat code and data as the PVH entry state has them; the TSS descriptor's base is filled in below. */
static uint64_t gdt[] = { 0, 0x00cf9b000000ffffull, 0x00cf93000000ffffull, 0x0000890000000067ull };

static const char *const exception_names[EXCEPTIONS] = {
    "divide error", "debug", "NMI", "breakpoint", "overflow", "bound range", "invalid opcode", "device not available",
    "double fault", "coprocessor overrun", "invalid TSS", "segment not present", "stack fault", "general protection", "page fault",
    "vector 15", "x87 error", "alignment check", "machine check", "SIMD error", "virtualization", "control protection",
    "vector 22", "vector 23", "vector 24", "vector 25", "vector 26", "vector 27", "vector 28", "vector 29", "vector 30", "vector 31",
};

static void set_gate(uint32_t vector, const void *target)
{
    uint32_t offset = (uint32_t)target;
    idt[vector] = (struct gate){ (uint16_t)offset, SELECTOR_CODE, GATE_INTERRUPT_32, (uint16_t)(offset >> 16) };
}

void descriptors_load(void (*crash)(void))
{
    crash_handler = crash;
    uint64_t base = (uint32_t)&tss;
    gdt[SELECTOR_TSS / 8] |= (base & 0xffffff) << 16 | (base >> 24) << 56;
    tss.esp0 = (uint32_t)boot_stack_top;
    tss.ss0 = SELECTOR_DATA;
    tss.io_map_base = sizeof tss;
    for (uint32_t vector = 0; vector < EXCEPTIONS; vector++)
        set_gate(vector, exception_stubs + vector * STUB_BYTES);

    const struct table_pointer gdtr = { sizeof gdt - 1, (uint32_t)gdt }, idtr = { sizeof idt - 1, (uint32_t)idt };
    __asm__ volatile("lgdt %0\n\t"
                     "ljmp %2, $1f\n"
                     "1:\n\t"
                     "movl %3, %%eax\n\t"
                     "movw %%ax, %%ds\n\t"
                     "movw %%ax, %%es\n\t"
                     "movw %%ax, %%fs\n\t"
                     "movw %%ax, %%gs\n\t"
                     "movw %%ax, %%ss\n\t"
                     "movw %4, %%ax\n\t"
                     "ltr %%ax\n\t"
                     "lidt %1" ::"m"(gdtr),
                     "m"(idtr), "i"(SELECTOR_CODE), "i"(SELECTOR_DATA), "i"(SELECTOR_TSS)
                     : "eax", "memory");
}

void interrupt_route(uint8_t vector, void (*handler)(void))
{
    interrupt_handler = handler;
    set_gate(vector, interrupt_stub);
}

/* Called by exceptions.S. A second exception during the dump goes straight to the crash handler. */
void trap(const struct trap_frame *f)
{
    static int nested;
    if (nested++ == 0) {
        const char *name = f->vector < EXCEPTIONS ? exception_names[f->vector] : "?";
        print("\nexception %u (%s), error code %x\n", f->vector, name, f->error_code);
        if (f->vector == PAGE_FAULT)
            print("  %s of %08x: %s\n", f->error_code & 2 ? "write" : "read", read_cr2(),
                  f->error_code & 1 ? "not allowed by its page" : "page not present");
        print("  eax %08x  ebx %08x  ecx %08x  edx %08x\n", f->eax, f->ebx, f->ecx, f->edx);
        print("  esi %08x  edi %08x  ebp %08x  esp %08x\n", f->esi, f->edi, f->ebp, (uint32_t)(f + 1));
        print("  eip %08x  cs %04x  eflags %08x\n", f->eip, f->cs, f->eflags);
        print("  cr0 %08x  cr2 %08x  cr3 %08x  cr4 %08x\n", read_cr0(), read_cr2(), read_cr3(), read_cr4());
    }
    crash_handler();
    halt_forever();
}
