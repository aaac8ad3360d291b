/*
 * The part of Xen's public ABI that these guests use, 32-bit x86 layout. Names of structures, fields and constants are those of Xen's
 * public headers (Debian's libxen-dev 4.17, xen/include/public/...), named before each group.
 */
#ifndef XEN_H
#define XEN_H

#include <stddef.h>
#include <stdint.h>

/* xen.h: hypercall numbers, domain names */
#define __HYPERVISOR_memory_op 12
#define __HYPERVISOR_grant_table_op 20
#define __HYPERVISOR_sched_op 29
#define __HYPERVISOR_event_channel_op 32
#define __HYPERVISOR_hvm_op 34
#define DOMID_SELF 0x7ff0

/* errno.h */
#define XEN_ENOENT 2
#define XEN_EIO 5
#define XEN_EAGAIN 11
#define XEN_EACCES 13
#define XEN_EFAULT 14
#define XEN_EEXIST 17
#define XEN_EINVAL 22
#define XEN_ENOSYS 38

/* arch-x86/cpuid.h */
#define XEN_CPUID_FIRST_LEAF 0x40000000
#define XEN_CPUID_LEAF_STEP 0x100 /* other hypervisors' leaves may come first */
#define XEN_CPUID_LAST_BASE 0x4000ff00
#define XEN_CPUID_SIGNATURE_EBX 0x566e6558 /* "XenV" */
#define XEN_CPUID_SIGNATURE_ECX 0x65584d4d /* "MMXe" */
#define XEN_CPUID_SIGNATURE_EDX 0x4d4d566e /* "nVMM" */

/* arch-x86/hvm/start_info.h */
#define XEN_HVM_START_MAGIC_VALUE 0x336ec578
#define XEN_HVM_MEMMAP_TYPE_RAM 1

struct hvm_start_info {
    uint32_t magic, version, flags, nr_modules;
    uint64_t modlist_paddr, cmdline_paddr, rsdp_paddr;
    uint64_t memmap_paddr; /* version 1 and newer */
    uint32_t memmap_entries, reserved;
};
_Static_assert(sizeof(struct hvm_start_info) == 56, "start_info.h");

struct hvm_memmap_table_entry {
    uint64_t addr, size;
    uint32_t type, reserved;
};
_Static_assert(sizeof(struct hvm_memmap_table_entry) == 24, "start_info.h");

/* memory.h */
#define XENMEM_add_to_physmap 7
#define XENMAPSPACE_shared_info 0
#define XENMAPSPACE_grant_table 1

struct xen_add_to_physmap {
    uint16_t domid, size;
    uint32_t space, idx, gpfn;
};

/* hvm/hvm_op.h, hvm/params.h */
#define HVMOP_set_param 0
#define HVMOP_get_param 1
#define HVM_PARAM_CALLBACK_IRQ 0
#define HVM_PARAM_STORE_PFN 1
#define HVM_PARAM_STORE_EVTCHN 2
#define HVM_PARAM_CONSOLE_PFN 17
#define HVM_PARAM_CONSOLE_EVTCHN 18
#define HVM_PARAM_CALLBACK_TYPE_GSI 0ull
#define HVM_PARAM_CALLBACK_TYPE_PCI_INTX 1ull
#define HVM_PARAM_CALLBACK_TYPE_VECTOR 2ull
#define HVM_PARAM_CALLBACK_TYPE_SHIFT 56

struct xen_hvm_param {
    uint16_t domid, pad;
    uint32_t index;
    uint64_t value;
};
_Static_assert(sizeof(struct xen_hvm_param) == 16, "hvm_op.h");

/* sched.h */
#define SCHEDOP_yield 0
#define SCHEDOP_shutdown 2
#define SHUTDOWN_poweroff 0
#define SHUTDOWN_crash 3

struct sched_shutdown {
    uint32_t reason;
};

/* event_channel.h; the 2-level ABI has 32 * 32 channels for a 32-bit guest */
#define EVTCHNOP_close 3
#define EVTCHNOP_send 4
#define EVTCHNOP_alloc_unbound 6
#define EVTCHNOP_unmask 9
#define EVTCHN_2L_NR_CHANNELS 1024
typedef uint32_t evtchn_port_t;

struct evtchn_alloc_unbound {
    uint16_t dom, remote_dom;
    evtchn_port_t port;
};

struct evtchn_one_port { /* evtchn_send, evtchn_close and evtchn_unmask alike */
    evtchn_port_t port;
};

/* xen.h: shared_info and its time records */
struct vcpu_time_info {
    uint32_t version, pad0;
    uint64_t tsc_timestamp, system_time;
    uint32_t tsc_to_system_mul;
    int8_t tsc_shift;
    uint8_t flags, pad1[2];
};

struct vcpu_info {
    uint8_t evtchn_upcall_pending, evtchn_upcall_mask;
    uint32_t evtchn_pending_sel;
    uint32_t arch[6];
    struct vcpu_time_info time;
};
_Static_assert(sizeof(struct vcpu_info) == 64, "xen.h");

struct shared_info {
    struct vcpu_info vcpu_info[32];
    uint32_t evtchn_pending[32];
    uint32_t evtchn_mask[32];
    uint32_t wc_version, wc_sec, wc_nsec;
};
_Static_assert(offsetof(struct shared_info, evtchn_pending) == 2048, "xen.h");

/* grant_table.h, version 1 */
#define GNTTABOP_query_size 6
#define GNTTABOP_set_version 8
#define GTF_invalid 0
#define GTF_permit_access 1
#define GTF_readonly 4
#define GTF_reading 8
#define GTF_writing 16
#define GNTTAB_NR_RESERVED_ENTRIES 8 /* the domain builder's own: console, xenstore, ... */
typedef uint32_t grant_ref_t;

struct grant_entry_v1 {
    uint16_t flags, domid;
    uint32_t frame;
};

struct gnttab_query_size {
    uint16_t dom;
    uint32_t nr_frames, max_nr_frames;
    int16_t status;
};
_Static_assert(sizeof(struct gnttab_query_size) == 16, "grant_table.h");

struct gnttab_set_version {
    uint32_t version;
};

/* io/console.h */
#define XENCONS_IN_SIZE 1024u
#define XENCONS_OUT_SIZE 2048u

struct xencons_interface {
    char in[XENCONS_IN_SIZE], out[XENCONS_OUT_SIZE];
    uint32_t in_cons, in_prod, out_cons, out_prod;
};

/* io/xs_wire.h */
#define XENSTORE_RING_SIZE 1024u
#define XENSTORE_PAYLOAD_MAX 4096u

enum xsd_sockmsg_type {
    XS_DIRECTORY = 1,
    XS_READ = 2,
    XS_WATCH = 4,
    XS_UNWATCH = 5,
    XS_TRANSACTION_START = 6,
    XS_TRANSACTION_END = 7,
    XS_WRITE = 11,
    XS_WATCH_EVENT = 15,
    XS_ERROR = 16,
};

struct xsd_sockmsg {
    uint32_t type, req_id, tx_id, len;
};

struct xenstore_domain_interface {
    char req[XENSTORE_RING_SIZE], rsp[XENSTORE_RING_SIZE];
    uint32_t req_cons, req_prod, rsp_cons, rsp_prod;
};

/* io/xenbus.h */
enum xenbus_state {
    XenbusStateUnknown = 0,
    XenbusStateInitialising = 1,
    XenbusStateInitWait = 2,
    XenbusStateInitialised = 3,
    XenbusStateConnected = 4,
    XenbusStateClosing = 5,
    XenbusStateClosed = 6,
};

/* io/ring.h: what a shared ring begins with; its slots follow */
struct sring {
    uint32_t req_prod, req_event, rsp_prod, rsp_event;
    uint8_t pad[48];
};
_Static_assert(sizeof(struct sring) == 64, "ring.h");

/* io/blkif.h, layout "x86_32-abi" (io/protocols.h); io/ring.h for blkif_sring */
#define XEN_IO_PROTO_ABI_X86_32 "x86_32-abi"
#define BLKIF_OP_READ 0
#define BLKIF_OP_WRITE 1
#define BLKIF_OP_FLUSH_DISKCACHE 3
#define BLKIF_OP_DISCARD 5
#define BLKIF_OP_INDIRECT 6
#define BLKIF_MAX_SEGMENTS_PER_REQUEST 11
#define BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST 8
#define BLKIF_RSP_EOPNOTSUPP (-2)
#define BLKIF_RSP_ERROR (-1)
#define BLKIF_RSP_OKAY 0
#define VDISK_READONLY 4

struct blkif_request_segment {
    grant_ref_t gref;
    uint8_t first_sect, last_sect; /* inclusive, in units of 512 bytes */
};

struct blkif_request {
    uint8_t operation, nr_segments;
    uint16_t handle;
    uint64_t id, sector_number;
    struct blkif_request_segment seg[BLKIF_MAX_SEGMENTS_PER_REQUEST];
};
_Static_assert(sizeof(struct blkif_request) == 108, "blkif.h for i386");
_Static_assert(offsetof(struct blkif_request, sector_number) == 12, "blkif.h for i386");

struct blkif_request_discard {
    uint8_t operation, flag;
    uint16_t handle;
    uint64_t id, sector_number, nr_sectors;
};

struct blkif_request_indirect {
    uint8_t operation, indirect_op;
    uint16_t nr_segments;
    uint64_t id, sector_number;
    uint16_t handle;
    grant_ref_t indirect_grefs[BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST]; /* of pages full of segments */
};
_Static_assert(offsetof(struct blkif_request_indirect, indirect_grefs) == 24, "blkif.h for i386");

struct blkif_response {
    uint64_t id;
    uint8_t operation;
    int16_t status;
};
_Static_assert(sizeof(struct blkif_response) == 12, "blkif.h for i386");

union blkif_sring_entry {
    struct blkif_request req;
    struct blkif_request_discard discard;
    struct blkif_request_indirect indirect;
    struct blkif_response rsp;
};

#define BLKIF_RING_SIZE 32u /* of one page: the largest power of two of 108-byte entries after the 64-byte header */

struct blkif_sring {
    struct sring sring;
    union blkif_sring_entry ring[];
};
_Static_assert(sizeof(struct blkif_sring) + BLKIF_RING_SIZE * sizeof(union blkif_sring_entry) <= 4096, "ring.h");

/* io/netif.h; io/ring.h for both rings */
#define NETTXF_csum_blank 1
#define NETTXF_data_validated 2
#define NETTXF_more_data 4
#define NETTXF_extra_info 8
#define NETRXF_data_validated 1
#define NETRXF_csum_blank 2
#define NETRXF_more_data 4
#define NETRXF_extra_info 8
#define XEN_NETIF_EXTRA_FLAG_MORE 1
#define XEN_NETIF_MAX_TX_SIZE 0xffffu
#define XEN_NETIF_NR_SLOTS_MIN 18u
#define NETIF_RSP_NULL 1
#define NETIF_RSP_OKAY 0

struct netif_tx_request {
    grant_ref_t gref;
    uint16_t offset, flags, id, size; /* of a packet's first slot: the whole packet's size */
};
_Static_assert(sizeof(struct netif_tx_request) == 12, "netif.h");

struct netif_tx_response {
    uint16_t id;
    int16_t status;
};

struct netif_rx_request {
    uint16_t id, pad;
    grant_ref_t gref;
};

struct netif_rx_response {
    uint16_t id, offset, flags;
    int16_t status; /* bytes in the slot's page, or a negative NETIF_RSP_ */
};

struct netif_extra_info {
    uint8_t type, flags;
    uint16_t data[3];
};

union netif_tx_sring_entry {
    struct netif_tx_request req;
    struct netif_tx_response rsp;
};

union netif_rx_sring_entry {
    struct netif_rx_request req;
    struct netif_rx_response rsp;
    struct netif_extra_info extra;
};
_Static_assert(sizeof(union netif_rx_sring_entry) == 8, "netif.h");

#define NETIF_RING_SIZE 256u /* of either ring: the largest power of two of 12-byte and of 8-byte entries in a page after the header */

struct netif_tx_sring {
    struct sring sring;
    union netif_tx_sring_entry ring[NETIF_RING_SIZE];
};

struct netif_rx_sring {
    struct sring sring;
    union netif_rx_sring_entry ring[NETIF_RING_SIZE];
};
_Static_assert(sizeof(struct netif_tx_sring) <= 4096 && sizeof(struct netif_rx_sring) <= 4096, "ring.h");

#endif
