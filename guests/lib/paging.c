#include "paging.h"

#include "x86.h"

#define ENTRIES 1024u
#define LARGE_SHIFT 22
#define PRESENT 0x01u
#define WRITABLE 0x02u
#define LARGE 0x80u

extern const char read_only_start[], read_only_end[];

static uint32_t page_directory[ENTRIES] __attribute__((aligned(PAGE_SIZE)));
static uint32_t first_page_table[ENTRIES] __attribute__((aligned(PAGE_SIZE)));

bool paging_enable(void)
{
    uint32_t a, b, c, d;
    cpuid(1, &a, &b, &c, &d);
    if (!(d & CPUID1_EDX_PSE))
        return false;
    for (uint32_t i = 1; i < ENTRIES; i++) {
        uint32_t address = i << PAGE_SHIFT;
        bool read_only = address >= (uint32_t)read_only_start && address < (uint32_t)read_only_end;
        first_page_table[i] = address | PRESENT | (read_only ? 0 : WRITABLE);
    }
    page_directory[0] = (uint32_t)first_page_table | PRESENT | WRITABLE;
    for (uint32_t i = 1; i < ENTRIES; i++)
        page_directory[i] = i << LARGE_SHIFT | PRESENT | WRITABLE | LARGE;
    write_cr4(read_cr4() | CR4_PSE);
    write_cr3((uint32_t)page_directory);
    write_cr0(read_cr0() | CR0_PG | CR0_WP);
    return true;
}
