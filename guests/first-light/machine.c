#include "machine.h"

#include "../lib/console.h"
#include "../lib/descriptors.h"
#include "../lib/hypercall.h"
#include "../lib/paging.h"
#include "../lib/text.h"
#include "../lib/x86.h"
#include "../lib/xen_console.h"

#define UPCALL_VECTOR 0xf3
#define COMMAND_LINE_MAX 512 /* longer ones are cut */
#define MEMORY_MAP_MAX 64    /* entries looked at; a domain builder writes about five */
#define LARGE_PAGE (4u << 20)

static char command_line[COMMAND_LINE_MAX];
static uint32_t ram_mib;

static struct shared_info *shared_info;

static struct {
    event_handler *handler;
    void *context;
} bindings[EVTCHN_2L_NR_CHANNELS];

#define GRANT_REFS (PAGE_SIZE / sizeof(struct grant_entry_v1)) /* one frame of the table */
static volatile struct grant_entry_v1 *grant_table;
static grant_ref_t free_refs[GRANT_REFS];
static uint32_t free_ref_count;

void panic(const char *pattern, ...)
{
    va_list arguments;
    va_start(arguments, pattern);
    print("first-light: ");
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

static const char *option(const char *name)
{
    size_t length = strlen(name);
    const char *at = command_line;
    while (*at != 0) {
        if (text_starts_with(at, name) && at[length] == '=')
            return at + length + 1;
        while (*at != 0 && *at != ' ')
            at++;
        while (*at == ' ')
            at++;
    }
    return NULL;
}

bool option_given(const char *name)
{
    return option(name) != NULL;
}

uint32_t option_number(const char *name, uint32_t otherwise)
{
    const char *text = option(name);
    uint32_t value;
    if (text == NULL)
        return otherwise;
    if (!parse_u32(&text, &value) || (*text != 0 && *text != ' '))
        panic("option %s needs a number", name);
    return value;
}

bool option_is(const char *name, const char *value)
{
    const char *text = option(name);
    size_t length = strlen(value);
    return text != NULL && text_starts_with(text, value) && (text[length] == 0 || text[length] == ' ');
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
    if (start->cmdline_paddr != 0)
        format(command_line, sizeof command_line, "%s", (const char *)(uint32_t)start->cmdline_paddr);
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

static void upcall(void)
{
    struct vcpu_info *vcpu = &shared_info->vcpu_info[0];
    WRITE_ONCE(vcpu->evtchn_upcall_pending, 0); /* before looking, so that a new event raises the line again */
    uint32_t words = exchange(&vcpu->evtchn_pending_sel, 0);
    while (words != 0) {
        uint32_t word = (uint32_t)__builtin_ctz(words);
        words &= words - 1;
        uint32_t bits = READ_ONCE(shared_info->evtchn_pending[word]) & ~shared_info->evtchn_mask[word];
        while (bits != 0) {
            uint32_t port = word * 32 + (uint32_t)__builtin_ctz(bits);
            bits &= bits - 1;
            __asm__ volatile("lock; btrl %1, %0" : "+m"(shared_info->evtchn_pending[word]) : "r"(port % 32) : "memory", "cc");
            if (bindings[port].handler != NULL)
                bindings[port].handler(bindings[port].context);
        }
    }
}

static void events_start(uint32_t frame)
{
    int32_t error = add_to_physmap(XENMAPSPACE_shared_info, 0, frame);
    if (error != 0)
        panic("cannot map shared_info: error %d", error);
    shared_info = (struct shared_info *)(frame << PAGE_SHIFT);
    memset(shared_info->evtchn_mask, 0xff, sizeof shared_info->evtchn_mask);
    shared_info->vcpu_info[0].evtchn_upcall_mask = 0;
    interrupt_route(UPCALL_VECTOR, upcall);
    error = hvm_set_param(HVM_PARAM_CALLBACK_IRQ, HVM_PARAM_CALLBACK_TYPE_VECTOR << HVM_PARAM_CALLBACK_TYPE_SHIFT | UPCALL_VECTOR);
    if (error != 0)
        panic("no upcall by vector: error %d", error);
    interrupts_on();
}

static void grants_start(uint32_t frame)
{
    struct gnttab_set_version version = { 1 };
    struct gnttab_query_size size = { .dom = DOMID_SELF };
    int32_t error = hypercall(__HYPERVISOR_grant_table_op, GNTTABOP_set_version, (uint32_t)&version, 1);
    if (error == 0)
        error = hypercall(__HYPERVISOR_grant_table_op, GNTTABOP_query_size, (uint32_t)&size, 1);
    if (error == 0)
        error = size.status;
    if (error == 0)
        error = add_to_physmap(XENMAPSPACE_grant_table, 0, frame);
    if (error != 0)
        panic("no grant table: error %d", error);
    grant_table = (volatile struct grant_entry_v1 *)(frame << PAGE_SHIFT);
    for (grant_ref_t ref = GRANT_REFS; ref-- > GNTTAB_NR_RESERVED_ENTRIES;)
        free_refs[free_ref_count++] = ref;
}

void machine_start(const struct hvm_start_info *start)
{
    struct xen_identity xen;
    if (!xen_find(&xen)) {
        print("first-light: this guest needs Xen, and there is none here\n");
        halt_forever();
    }
    uint32_t hole = read_start_info(start) >> PAGE_SHIFT;
    descriptors_load(crash);
    if (!paging_enable())
        panic("the processor has no 4 MiB pages");
    if (xen_console_open())
        console_use(xen_console_write);
    print("first-light: Xen %u.%u found at cpuid 0x%x\n", xen.major, xen.minor, xen.leaf);
    events_start(hole);
    grants_start(hole + 1);
    print("memory: %u MiB, paging on; events arrive on vector 0x%x\n", ram_mib, UPCALL_VECTOR);
    if (command_line[0] != 0)
        print("command line: %s\n", command_line);
}

uint64_t system_time_ns(void)
{
    const struct vcpu_time_info *time = &shared_info->vcpu_info[0].time;
    uint64_t ns;
    uint32_t version;
    do {
        version = READ_ONCE(time->version) & ~1u;
        barrier();
        uint64_t ticks = rdtsc() - time->tsc_timestamp;
        ticks = time->tsc_shift >= 0 ? ticks << time->tsc_shift : ticks >> -time->tsc_shift;
        uint64_t mul = time->tsc_to_system_mul;
        ns = time->system_time + (ticks >> 32) * mul + ((ticks & 0xffffffffu) * mul >> 32);
        barrier();
    } while (READ_ONCE(time->version) != version);
    return ns;
}

/* ---- event channels ---- */

void event_bind(evtchn_port_t port, event_handler *handler, void *context)
{
    if (port >= EVTCHN_2L_NR_CHANNELS)
        panic("event channel %u is outside of the table", port);
    bindings[port].handler = handler;
    bindings[port].context = context;
    struct evtchn_one_port unmask = { port };
    int32_t error = hypervisor_op(__HYPERVISOR_event_channel_op, EVTCHNOP_unmask, &unmask);
    if (error != 0)
        panic("cannot unmask event channel %u: error %d", port, error);
}

evtchn_port_t event_alloc_unbound(uint16_t remote)
{
    struct evtchn_alloc_unbound alloc = { .dom = DOMID_SELF, .remote_dom = remote };
    int32_t error = hypervisor_op(__HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound, &alloc);
    if (error != 0)
        panic("no event channel for domain %u: error %d", remote, error);
    return alloc.port;
}

void event_close(evtchn_port_t port)
{
    __asm__ volatile("lock; btsl %1, %0" : "+m"(shared_info->evtchn_mask[port / 32]) : "r"(port % 32) : "memory", "cc");
    bindings[port].handler = NULL;
    struct evtchn_one_port close = { port };
    hypervisor_op(__HYPERVISOR_event_channel_op, EVTCHNOP_close, &close);
}

/* ---- grants ---- */

grant_ref_t grant_access(uint16_t to, const void *page, bool read_only)
{
    if (free_ref_count == 0)
        panic("out of grant references");
    grant_ref_t ref = free_refs[--free_ref_count];
    grant_table[ref].frame = (uint32_t)page >> PAGE_SHIFT;
    grant_table[ref].domid = to;
    barrier(); /* the entry is valid only when whole */
    grant_table[ref].flags = GTF_permit_access | (read_only ? GTF_readonly : 0);
    return ref;
}

bool grant_end_access(grant_ref_t ref)
{
    uint16_t flags = grant_table[ref].flags, seen;
    do {
        if (flags & (GTF_reading | GTF_writing))
            return false;
        seen = flags;
        __asm__ volatile("lock; cmpxchgw %2, %1" : "+a"(flags), "+m"(grant_table[ref].flags) : "r"((uint16_t)GTF_invalid) : "memory", "cc");
    } while (flags != seen);
    free_refs[free_ref_count++] = ref;
    return true;
}
