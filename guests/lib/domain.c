#include "domain.h"

#include "console.h"
#include "descriptors.h"
#include "events.h"
#include "grants.h"
#include "hypercall.h"
#include "options.h"
#include "paging.h"
#include "text.h"
#include "x86.h"
#include "xen_console.h"

#define MEMORY_MAP_MAX 64 /* entries looked at; a domain builder writes about five */
#define LARGE_PAGE (4u << 20)

static const char *program;
static uint32_t ram_mib;

void panic(const char *pattern, ...)
{
    va_list arguments;
    va_start(arguments, pattern);
    print("%s: ", program);
    print_list(pattern, arguments);
    print("\n");
    va_end(arguments);
    sched_shutdown(SHUTDOWN_crash);
}

static void crash(void)
{
    sched_shutdown(SHUTDOWN_crash);
}

/* ---- command line ---- */

uint32_t number_option(const char *name, uint32_t otherwise)
{
    uint32_t value = otherwise;
    if (!option_number(name, &value))
        panic("option %s needs a number", name);
    return value;
}

static enum callback callback_option(void)
{
    static const char *const names[] = { "vector", "gsi", "intx" };
    for (uint32_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (option_is("callback", names[i]))
            return (enum callback)i;
    if (option_text("callback") != NULL)
        panic("callback= must be vector, gsi or intx");
    return CALLBACK_VECTOR;
}

/* ---- start ---- */

/*
 * Copies what the domain builder left in memory, before paging hides page 0, and finds the first 4 MiB boundary above all that the
 * memory map mentions below 3 GiB: a hole where shared_info and the grant table can appear.
 */
static uint32_t read_start_info(const struct hvm_start_info *start)
{
    if (start->magic != XEN_HVM_START_MAGIC_VALUE)
        panic("no hvm_start_info at %08x", (uint32_t)start);
    options_read(start);
    uint64_t ram = 0, top = 0;
    const struct hvm_memmap_table_entry *map = (void *)(uint32_t)start->memmap_paddr;
    uint32_t entries = start->version >= 1 ? start->memmap_entries : 0;
    if (entries == 0 || entries > MEMORY_MAP_MAX)
        panic("a memory map of %u entries is of no use", entries);
    for (uint32_t i = 0; i < entries; i++) {
        uint64_t end = map[i].addr + map[i].size;
        if (map[i].type == XEN_HVM_MEMMAP_TYPE_RAM)
            ram += map[i].size;
        if (end <= 0xc0000000u && end > top)
            top = end;
    }
    ram_mib = (uint32_t)((ram + (1u << 20) - 1) >> 20); /* the builder keeps a few pages for itself */
    return ((uint32_t)top + LARGE_PAGE - 1) & ~(LARGE_PAGE - 1);
}

void domain_start(const char *name, const struct hvm_start_info *start)
{
    struct xen_identity xen;
    char how[48];
    program = name;
    if (!xen_find(&xen)) {
        print("%s: this guest needs Xen, and there is none here\n", program);
        halt_forever();
    }
    uint32_t hole = read_start_info(start) >> PAGE_SHIFT;
    descriptors_load(crash);
    if (!paging_enable())
        panic("the processor has no 4 MiB pages");
    if (xen_console_open())
        console_use(xen_console_write);
    print("%s: Xen %u.%u found at cpuid 0x%x\n", program, xen.major, xen.minor, xen.leaf);
    events_start(hole, callback_option(), how, sizeof how);
    grants_start(hole + 1);
    print("memory: %u MiB, paging on; events arrive %s\n", ram_mib, how);
    if (options_line()[0] != 0)
        print("command line: %s\n", options_line());
}
