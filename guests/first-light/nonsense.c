/*
 * The ring-nonsense mode: what a buggy or hostile guest might do, one thing at a time, and what it is told. Each answer is printed;
 * between and after them ordinary requests show that the machine still works. The last deed, a producer index far beyond the ring,
 * has no answer in the protocol: the back end is expected to stop serving this ring and nobody else to notice.
 */
#include "../blkfront/blkfront.h"
#include "../blkfront/disk.h"
#include "../lib/console.h"
#include "../lib/domain.h"
#include "../lib/events.h"
#include "../lib/grants.h"
#include "../lib/hypercall.h"
#include "../lib/text.h"
#include "../lib/xenstore.h"
#include "modes.h"

/* How long an answer may take: a slow disk needs some 10 ms. */
#define PATIENCE_NS 50000000ull

#define UNMAPPED ((void *)16)               /* page 0 is absent from our page tables */
#define NO_MEMORY ((void *)0xe0000000)      /* mapped by our page tables to an address where the domain has nothing */
#define MEMORY_END ((void *)0xfffffff8)     /* a structure here would go on after the last byte of the address space */
#define UNUSED_HYPERCALL 55
#define UNUSED_OPERATION 99
#define UNUSED_MESSAGE 99
#define BAD_PORT 4095
#define BAD_REF_UNUSED 511
#define BAD_REF_OUTSIDE 0xffffff00u
#define BAD_DOMAIN 0x1234

/* Well formed, but on a read-only page: Xen reads it and cannot put the answer back. */
static const struct xen_hvm_param read_only_param = { .domid = DOMID_SELF, .index = HVM_PARAM_STORE_PFN };

static struct vbd vbd;

static void show(const char *what, int32_t answer)
{
    print("  %s: %d\n", what, answer);
}

static void hypercalls(void)
{
    struct xen_add_to_physmap map = { .domid = DOMID_SELF, .space = UNUSED_OPERATION, .gpfn = 1 };
    struct xen_hvm_param param = { .domid = DOMID_SELF, .index = 1000 };
    struct xen_hvm_param other = { .domid = BAD_DOMAIN, .index = HVM_PARAM_STORE_PFN };
    struct evtchn_alloc_unbound alloc = { .dom = BAD_DOMAIN };
    struct evtchn_one_port port = { BAD_PORT };
    struct gnttab_query_size size = { .dom = BAD_DOMAIN };

    print("hypercalls:\n");
    show("unknown hypercall", hypercall(UNUSED_HYPERCALL, 0, 0, 0));
    show("memory_op, unknown operation", hypervisor_op(__HYPERVISOR_memory_op, UNUSED_OPERATION, &map));
    show("memory_op, structure on an absent page", hypervisor_op(__HYPERVISOR_memory_op, XENMEM_add_to_physmap, UNMAPPED));
    show("memory_op, structure where no memory is", hypervisor_op(__HYPERVISOR_memory_op, XENMEM_add_to_physmap, NO_MEMORY));
    show("memory_op, structure over the end of memory", hypervisor_op(__HYPERVISOR_memory_op, XENMEM_add_to_physmap, MEMORY_END));
    show("memory_op, unknown space", hypervisor_op(__HYPERVISOR_memory_op, XENMEM_add_to_physmap, &map));
    show("hvm_op, structure on an absent page", hypervisor_op(__HYPERVISOR_hvm_op, HVMOP_get_param, UNMAPPED));
    show("hvm_op, structure on a read-only page", hypervisor_op(__HYPERVISOR_hvm_op, HVMOP_get_param, &read_only_param));
    show("hvm_op, unknown parameter", hypervisor_op(__HYPERVISOR_hvm_op, HVMOP_get_param, &param));
    show("hvm_op, a domain that is not there", hypervisor_op(__HYPERVISOR_hvm_op, HVMOP_get_param, &other));
    show("event_channel_op, unknown operation", hypervisor_op(__HYPERVISOR_event_channel_op, UNUSED_OPERATION, &port));
    show("event_channel_op, structure on an absent page", hypervisor_op(__HYPERVISOR_event_channel_op, EVTCHNOP_send, UNMAPPED));
    show("event_channel_op, send to a port outside of the table", hypervisor_op(__HYPERVISOR_event_channel_op, EVTCHNOP_send, &port));
    show("event_channel_op, close of that port", hypervisor_op(__HYPERVISOR_event_channel_op, EVTCHNOP_close, &port));
    show("event_channel_op, a domain that is not there", hypervisor_op(__HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound, &alloc));
    show("grant_table_op, unknown operation", hypercall(__HYPERVISOR_grant_table_op, UNUSED_OPERATION, (uint32_t)&size, 1));
    show("grant_table_op, structure on an absent page", hypercall(__HYPERVISOR_grant_table_op, GNTTABOP_query_size, (uint32_t)UNMAPPED, 1));
    int32_t error = hypercall(__HYPERVISOR_grant_table_op, GNTTABOP_query_size, (uint32_t)&size, 1);
    print("  grant_table_op, a domain that is not there: %d, status %d\n", error, size.status);
    show("sched_op, unknown operation", hypervisor_op(__HYPERVISOR_sched_op, UNUSED_OPERATION, &port));
    show("sched_op, structure on an absent page", hypervisor_op(__HYPERVISOR_sched_op, SCHEDOP_shutdown, UNMAPPED));
}

static void messages(void)
{
    char reply[64];
    print("xenstore:\n");
    show("unknown message", xs_request(UNUSED_MESSAGE, XS_NO_TRANSACTION, "x", 2, reply, sizeof reply));
    show("read of a node that is not there", xs_read(XS_NO_TRANSACTION, "device/no-such-node", reply, sizeof reply));
    show("read of a path with a forbidden character", xs_read(XS_NO_TRANSACTION, "device/*", reply, sizeof reply));
    show("read of nothing", xs_request(XS_READ, XS_NO_TRANSACTION, "", 0, reply, sizeof reply));
    show("write without a value's separator", xs_request(XS_WRITE, XS_NO_TRANSACTION, "device", 6, reply, sizeof reply));
    show("write into another domain's directory", xs_write(XS_NO_TRANSACTION, "/local/domain/0", "ours", "1"));
    show("read in a transaction that is not there", xs_read(12345, "name", reply, sizeof reply));
    show("end of a transaction that is not there", xs_transaction_end(12345));
}

/* Each spoils one field of a good read of sector 0 with one segment. */
static void spoil_sector(struct blkif_request *r) { r->sector_number = vbd.sectors; }
static void spoil_huge_sector(struct blkif_request *r) { r->sector_number = 1ull << 63; }
static void spoil_wrapping_sector(struct blkif_request *r) { r->sector_number = ~0ull; }
static void spoil_no_segments(struct blkif_request *r) { r->nr_segments = 0; }
static void spoil_many_segments(struct blkif_request *r) { r->nr_segments = BLKIF_MAX_SEGMENTS_PER_REQUEST + 1; }
static void spoil_255_segments(struct blkif_request *r) { r->nr_segments = 255; }
static void spoil_order(struct blkif_request *r) { r->seg[0].first_sect = 5, r->seg[0].last_sect = 2; }
static void spoil_last(struct blkif_request *r) { r->seg[0].last_sect = SECTORS_PER_PAGE; }
static void spoil_ref_unused(struct blkif_request *r) { r->seg[0].gref = BAD_REF_UNUSED; }
static void spoil_ref_outside(struct blkif_request *r) { r->seg[0].gref = BAD_REF_OUTSIDE; }
static void spoil_operation(struct blkif_request *r) { r->operation = UNUSED_OPERATION; }
/* The slot's pages are granted read-only for a write; a read would have to write into them. */
static void spoil_direction(struct blkif_request *r) { r->operation = BLKIF_OP_READ; }
static void spoil_nothing(struct blkif_request *r) { (void)r; }

static const struct {
    const char *what;
    uint8_t operation;
    void (*spoil)(struct blkif_request *request);
} requests[] = {
    { "nothing wrong", BLKIF_OP_READ, spoil_nothing },
    { "the sector after the last", BLKIF_OP_READ, spoil_sector },
    { "sector 2^63", BLKIF_OP_READ, spoil_huge_sector },
    { "sector 2^64 - 1", BLKIF_OP_READ, spoil_wrapping_sector },
    { "no segments", BLKIF_OP_READ, spoil_no_segments },
    { "12 segments", BLKIF_OP_READ, spoil_many_segments },
    { "255 segments", BLKIF_OP_READ, spoil_255_segments },
    { "a segment that ends before it begins", BLKIF_OP_READ, spoil_order },
    { "a segment over the end of its page", BLKIF_OP_READ, spoil_last },
    { "an unused grant", BLKIF_OP_READ, spoil_ref_unused },
    { "a grant outside of the table", BLKIF_OP_READ, spoil_ref_outside },
    { "a read into a page granted read-only", BLKIF_OP_WRITE, spoil_direction },
    { "an unknown operation", BLKIF_OP_READ, spoil_operation },
    { "nothing wrong again", BLKIF_OP_READ, spoil_nothing },
};

/* Waits for an answer, for PATIENCE_NS at most. Polls: with no answer there is no interrupt to wake up for. */
static bool answered(void)
{
    uint64_t deadline = system_time_ns() + PATIENCE_NS;
    while (vbd.done == 0 && system_time_ns() < deadline)
        pause();
    return vbd.done > 0;
}

/* Sends a request after spoiling it; prints the status. False when no answer came. */
static bool try_request(const char *what, uint8_t operation, void (*spoil)(struct blkif_request *request))
{
    struct vbd_slot *slot = vbd_take(&vbd);
    slot->operation = operation;
    slot->sectors = 1;
    vbd_send(&vbd, slot);
    spoil(&vbd.ring->ring[(vbd.req_prod_pvt - 1) % BLKIF_RING_SIZE].req);
    vbd_push(&vbd);
    if (!answered()) {
        print("  %s: no answer\n", what);
        return false;
    }
    slot = vbd_wait(&vbd);
    if (slot == NULL)
        return false;
    print("  %s: status %d\n", what, slot->status);
    vbd_release(&vbd, slot);
    return true;
}

static void ring(void)
{
    uint32_t handles[DISKS_MAX];
    if (find_disks(handles) == 0) {
        print("no disk to send nonsense to\n");
        return;
    }
    if (!vbd_connect(&vbd, handles[0], (struct vbd_features){ false, false, 0 }))
        return;
    print("%s, requests:\n", vbd.name);
    for (uint32_t i = 0; i < sizeof requests / sizeof requests[0]; i++)
        if (!try_request(requests[i].what, requests[i].operation, requests[i].spoil))
            return;

    print("%s, a producer index 1000 beyond the ring:\n", vbd.name);
    WRITE_ONCE(vbd.ring->sring.req_prod, vbd.req_prod_pvt + 1000);
    full_barrier();
    event_send(vbd.port);
    uint64_t deadline = system_time_ns() + PATIENCE_NS;
    while (READ_ONCE(vbd.ring->sring.rsp_prod) == vbd.rsp_cons && system_time_ns() < deadline)
        pause();
    print("  %s\n", READ_ONCE(vbd.ring->sring.rsp_prod) == vbd.rsp_cons ? "no answer, as it should be" : "an answer to nothing");
}

void nonsense_mode(void)
{
    hypercalls();
    messages();
    ring();
    print("still alive\n");
}
