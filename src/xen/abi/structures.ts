// Part: the structures of Xen's public headers (Xen 4.17) that the hypervisor reads from and writes to guests.

import { type AnyStructure, structure } from "./layout.ts";

export const VCPU_TIME_INFO = structure("struct vcpu_time_info", "xen.h", {
  version: "u32",
  pad0: "u32",
  tsc_timestamp: "u64",
  system_time: "u64",
  tsc_to_system_mul: "u32",
  tsc_shift: "s8",
  flags: "u8",
  pad1: ["u8", 2],
});

export const VCPU_INFO = structure("struct vcpu_info", "xen.h", {
  evtchn_upcall_pending: "u8",
  evtchn_upcall_mask: "u8",
  evtchn_pending_sel: "ulong",
  arch: ["ulong", 6, 2],
  time: [VCPU_TIME_INFO, 1],
});

export const SHARED_INFO = structure("struct shared_info", "xen.h", {
  vcpu_info: [VCPU_INFO, 32],
  evtchn_pending: ["ulong", 32, 64],
  evtchn_mask: ["ulong", 32, 64],
  wc_version: "u32",
  wc_sec: "u32",
  wc_nsec: "u32",
  // The i386 layout has wc_sec_hi at the end of `arch` (arch-x86/xen.h).
  wc_sec_hi: ["u32", 0, 1],
  arch: ["ulong", 7, 6],
});

export const EVTCHN_ALLOC_UNBOUND = structure("struct evtchn_alloc_unbound", "event_channel.h", {
  dom: "u16",
  remote_dom: "u16",
  port: "u32",
});

export const EVTCHN_BIND_INTERDOMAIN = structure("struct evtchn_bind_interdomain", "event_channel.h", {
  remote_dom: "u16",
  remote_port: "u32",
  local_port: "u32",
});

export const EVTCHN_BIND_VIRQ = structure("struct evtchn_bind_virq", "event_channel.h", {
  virq: "u32",
  vcpu: "u32",
  port: "u32",
});

export const EVTCHN_BIND_IPI = structure("struct evtchn_bind_ipi", "event_channel.h", { vcpu: "u32", port: "u32" });

export const EVTCHN_CLOSE = structure("struct evtchn_close", "event_channel.h", { port: "u32" });
export const EVTCHN_SEND = structure("struct evtchn_send", "event_channel.h", { port: "u32" });
export const EVTCHN_UNMASK = structure("struct evtchn_unmask", "event_channel.h", { port: "u32" });

export const EVTCHN_STATUS = structure(
  "struct evtchn_status",
  "event_channel.h",
  {
    dom: "u16",
    port: "u32",
    status: "u32",
    vcpu: "u32",
    "u.interdomain.dom": "u16",
    "u.interdomain.port": "u32",
    "u.unbound.dom": "u16",
    "u.virq": "u32",
  },
  { "u.unbound.dom": "u.interdomain.dom", "u.virq": "u.interdomain.dom" },
);

export const EVTCHN_BIND_VCPU = structure("struct evtchn_bind_vcpu", "event_channel.h", { port: "u32", vcpu: "u32" });
export const EVTCHN_RESET = structure("struct evtchn_reset", "event_channel.h", { dom: "u16" });

export const GRANT_ENTRY_V1 = structure("struct grant_entry_v1", "grant_table.h", {
  flags: "u16",
  domid: "u16",
  frame: "u32",
});

export const GNTTAB_MAP_GRANT_REF = structure("struct gnttab_map_grant_ref", "grant_table.h", {
  host_addr: "u64",
  flags: "u32",
  ref: "u32",
  dom: "u16",
  status: "s16",
  handle: "u32",
  dev_bus_addr: "u64",
});

export const GNTTAB_UNMAP_GRANT_REF = structure("struct gnttab_unmap_grant_ref", "grant_table.h", {
  host_addr: "u64",
  dev_bus_addr: "u64",
  handle: "u32",
  status: "s16",
});

export const GNTTAB_SETUP_TABLE = structure("struct gnttab_setup_table", "grant_table.h", {
  dom: "u16",
  nr_frames: "u32",
  status: "s16",
  frame_list: "pointer",
});

export const GNTTAB_DUMP_TABLE = structure("struct gnttab_dump_table", "grant_table.h", { dom: "u16", status: "s16" });

export const GNTTAB_COPY_PTR = structure(
  "struct gnttab_copy_ptr",
  "grant_table.h",
  { "u.gmfn": "ulong", "u.ref": "u32", domid: "u16", offset: "u16" },
  { "u.ref": "u.gmfn" },
);

export const GNTTAB_COPY = structure("struct gnttab_copy", "grant_table.h", {
  source: [GNTTAB_COPY_PTR, 1],
  dest: [GNTTAB_COPY_PTR, 1],
  len: "u16",
  flags: "u16",
  status: "s16",
});

export const GNTTAB_QUERY_SIZE = structure("struct gnttab_query_size", "grant_table.h", {
  dom: "u16",
  nr_frames: "u32",
  max_nr_frames: "u32",
  status: "s16",
});

export const GNTTAB_SET_VERSION = structure("struct gnttab_set_version", "grant_table.h", { version: "u32" });
export const GNTTAB_GET_VERSION = structure("struct gnttab_get_version", "grant_table.h", {
  dom: "u16",
  pad: "u16",
  version: "u32",
});

export const XEN_MEMORY_RESERVATION = structure("struct xen_memory_reservation", "memory.h", {
  extent_start: "pointer",
  nr_extents: "ulong",
  extent_order: "u32",
  mem_flags: "u32",
  domid: "u16",
});

export const XEN_ADD_TO_PHYSMAP = structure("struct xen_add_to_physmap", "memory.h", {
  domid: "u16",
  size: "u16",
  space: "u32",
  idx: "ulong",
  gpfn: "ulong",
});

export const XEN_REMOVE_FROM_PHYSMAP = structure("struct xen_remove_from_physmap", "memory.h", {
  domid: "u16",
  gpfn: "ulong",
});

export const XEN_MEMORY_MAP = structure("struct xen_memory_map", "memory.h", { nr_entries: "u32", buffer: "pointer" });
export const XEN_MEMORY_DOMAIN = structure("struct xen_memory_domain", "memory.h", { domid: "u16" });

export const XEN_HVM_PARAM = structure("struct xen_hvm_param", "hvm/hvm_op.h", {
  domid: "u16",
  pad: "u16",
  index: "u32",
  value: "u64",
});

export const XEN_HVM_GET_TIME = structure("struct xen_hvm_get_time", "hvm/hvm_op.h", { now: "u64" });

export const XEN_HVM_EVTCHN_UPCALL_VECTOR = structure("struct xen_hvm_evtchn_upcall_vector", "hvm/hvm_op.h", {
  vcpu: "u32",
  vector: "u8",
});

export const SCHED_SHUTDOWN = structure("struct sched_shutdown", "sched.h", { reason: "u32" });
export const SCHED_REMOTE_SHUTDOWN = structure("struct sched_remote_shutdown", "sched.h", {
  domain_id: "u16",
  reason: "u32",
});
export const SCHED_WATCHDOG = structure("struct sched_watchdog", "sched.h", { id: "u32", timeout: "u32" });
export const SCHED_POLL = structure("struct sched_poll", "sched.h", {
  ports: "pointer",
  nr_ports: "u32",
  timeout: "u64",
});

export const VCPU_REGISTER_VCPU_INFO = structure("struct vcpu_register_vcpu_info", "vcpu.h", {
  mfn: "u64",
  offset: "u32",
  rsvd: "u32",
});

export const VCPU_RUNSTATE_INFO = structure("struct vcpu_runstate_info", "vcpu.h", {
  state: "u32",
  state_entry_time: "u64",
  time: ["u64", 4],
});
/** A guest handle in a union of eight bytes. */
export const VCPU_REGISTER_RUNSTATE_MEMORY_AREA = structure(
  "struct vcpu_register_runstate_memory_area",
  "vcpu.h",
  { "addr.h": "pointer", "addr.p": "u64" },
  { "addr.p": "addr.h" },
);

export const VCPU_SET_PERIODIC_TIMER = structure("struct vcpu_set_periodic_timer", "vcpu.h", { period_ns: "u64" });
export const VCPU_SET_SINGLESHOT_TIMER = structure("struct vcpu_set_singleshot_timer", "vcpu.h", {
  timeout_abs_ns: "u64",
  flags: "u32",
});

export const XEN_COMPILE_INFO = structure("struct xen_compile_info", "version.h", {
  compiler: ["u8", 64],
  compile_by: ["u8", 16],
  compile_domain: ["u8", 32],
  compile_date: ["u8", 32],
});

export const XEN_FEATURE_INFO = structure("struct xen_feature_info", "version.h", { submap_idx: "u32", submap: "u32" });

export const HVM_START_INFO = structure("struct hvm_start_info", "arch-x86/hvm/start_info.h", {
  magic: "u32",
  version: "u32",
  flags: "u32",
  nr_modules: "u32",
  modlist_paddr: "u64",
  cmdline_paddr: "u64",
  rsdp_paddr: "u64",
  memmap_paddr: "u64",
  memmap_entries: "u32",
  reserved: "u32",
});

export const HVM_MODLIST_ENTRY = structure("struct hvm_modlist_entry", "arch-x86/hvm/start_info.h", {
  paddr: "u64",
  size: "u64",
  cmdline_paddr: "u64",
  reserved: "u64",
});

export const HVM_MEMMAP_TABLE_ENTRY = structure("struct hvm_memmap_table_entry", "arch-x86/hvm/start_info.h", {
  addr: "u64",
  size: "u64",
  type: "u32",
  reserved: "u32",
});

export const XENCONS_INTERFACE = structure("struct xencons_interface", "io/console.h", {
  in: ["u8", 1024],
  out: ["u8", 2048],
  in_cons: "u32",
  in_prod: "u32",
  out_cons: "u32",
  out_prod: "u32",
});

export const XENSTORE_DOMAIN_INTERFACE = structure("struct xenstore_domain_interface", "io/xs_wire.h", {
  req: ["u8", 1024],
  rsp: ["u8", 1024],
  req_cons: "u32",
  req_prod: "u32",
  rsp_cons: "u32",
  rsp_prod: "u32",
  server_features: "u32",
  connection: "u32",
  error: "u32",
});

export const XSD_SOCKMSG = structure("struct xsd_sockmsg", "io/xs_wire.h", {
  type: "u32",
  req_id: "u32",
  tx_id: "u32",
  len: "u32",
});

/** `#control` is the byte of the bit-fields state:4, data_is_ptr:1, dir:1, df:1. */
export const IOREQ = structure("struct ioreq", "hvm/ioreq.h", {
  addr: "u64",
  data: "u64",
  count: "u32",
  size: "u32",
  vp_eport: "u32",
  _pad0: "u16",
  "#control": "u8",
  type: "u8",
});

/** `#request` holds the bit-fields type:8, pad:1, dir:1, size:2, addr:20. */
export const BUF_IOREQ = structure("struct buf_ioreq", "hvm/ioreq.h", { "#request": "u32", data: "u32" });

export const BUFFERED_IOPAGE = structure("struct buffered_iopage", "hvm/ioreq.h", {
  read_pointer: "u32",
  write_pointer: "u32",
  buf_ioreq: [BUF_IOREQ, 511],
});

export const STRUCTURES: readonly AnyStructure[] = [
  VCPU_TIME_INFO,
  VCPU_INFO,
  SHARED_INFO,
  EVTCHN_ALLOC_UNBOUND,
  EVTCHN_BIND_INTERDOMAIN,
  EVTCHN_BIND_VIRQ,
  EVTCHN_BIND_IPI,
  EVTCHN_CLOSE,
  EVTCHN_SEND,
  EVTCHN_UNMASK,
  EVTCHN_STATUS,
  EVTCHN_BIND_VCPU,
  EVTCHN_RESET,
  GRANT_ENTRY_V1,
  GNTTAB_MAP_GRANT_REF,
  GNTTAB_UNMAP_GRANT_REF,
  GNTTAB_SETUP_TABLE,
  GNTTAB_DUMP_TABLE,
  GNTTAB_COPY_PTR,
  GNTTAB_COPY,
  GNTTAB_QUERY_SIZE,
  GNTTAB_SET_VERSION,
  GNTTAB_GET_VERSION,
  XEN_MEMORY_RESERVATION,
  XEN_ADD_TO_PHYSMAP,
  XEN_REMOVE_FROM_PHYSMAP,
  XEN_MEMORY_MAP,
  XEN_MEMORY_DOMAIN,
  XEN_HVM_PARAM,
  XEN_HVM_GET_TIME,
  XEN_HVM_EVTCHN_UPCALL_VECTOR,
  SCHED_SHUTDOWN,
  SCHED_REMOTE_SHUTDOWN,
  SCHED_WATCHDOG,
  SCHED_POLL,
  VCPU_REGISTER_VCPU_INFO,
  VCPU_RUNSTATE_INFO,
  VCPU_REGISTER_RUNSTATE_MEMORY_AREA,
  VCPU_SET_PERIODIC_TIMER,
  VCPU_SET_SINGLESHOT_TIMER,
  XEN_COMPILE_INFO,
  XEN_FEATURE_INFO,
  HVM_START_INFO,
  HVM_MODLIST_ENTRY,
  HVM_MEMMAP_TABLE_ENTRY,
  XENCONS_INTERFACE,
  XENSTORE_DOMAIN_INTERFACE,
  XSD_SOCKMSG,
  IOREQ,
  BUF_IOREQ,
  BUFFERED_IOPAGE,
];
