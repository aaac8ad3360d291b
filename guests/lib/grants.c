#include "grants.h"

#include "domain.h"
#include "hypercall.h"
#include "x86.h"

#define GRANT_REFS (PAGE_SIZE / sizeof(struct grant_entry_v1)) /* of one frame */
static volatile struct grant_entry_v1 *grant_table;
static grant_ref_t free_refs[GRANT_REFS];
static uint32_t free_ref_count;

void grants_start(uint32_t frame)
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
