// Part: constants of Xen's public headers (Xen 4.17), by header under xen/include/public. scripts/abi-check.ts compares each with
// what the C preprocessor makes of it.

export const XEN_H = {
  __HYPERVISOR_memory_op: 12,
  __HYPERVISOR_set_timer_op: 15,
  __HYPERVISOR_xen_version: 17,
  __HYPERVISOR_console_io: 18,
  __HYPERVISOR_grant_table_op: 20,
  __HYPERVISOR_vm_assist: 21,
  __HYPERVISOR_vcpu_op: 24,
  __HYPERVISOR_sched_op: 29,
  __HYPERVISOR_event_channel_op: 32,
  __HYPERVISOR_physdev_op: 33,
  __HYPERVISOR_hvm_op: 34,
  __HYPERVISOR_dm_op: 41,
  VIRQ_TIMER: 0,
  VIRQ_DEBUG: 1,
  VIRQ_XENOPROF: 7,
  VIRQ_XENPMU: 13,
  NR_VIRQS: 24,
  CONSOLEIO_write: 0,
  CONSOLEIO_read: 1,
  DOMID_FIRST_RESERVED: 0x7ff0,
  DOMID_SELF: 0x7ff0,
  XEN_LEGACY_MAX_VCPUS: 32,
  VMASST_CMD_enable: 0,
  VMASST_CMD_disable: 1,
  VMASST_TYPE_runstate_update_flag: 5,
  XEN_PVCLOCK_TSC_STABLE_BIT: 1,
} as const;

export const ERRNO_H = {
  XEN_EPERM: 1,
  XEN_ENOENT: 2,
  XEN_ESRCH: 3,
  XEN_E2BIG: 7,
  XEN_ENOMEM: 12,
  XEN_EACCES: 13,
  XEN_EFAULT: 14,
  XEN_EBUSY: 16,
  XEN_EEXIST: 17,
  XEN_EINVAL: 22,
  XEN_ENOSPC: 28,
  XEN_ENOSYS: 38,
  XEN_ETIME: 62,
  XEN_EOPNOTSUPP: 95,
} as const;

export const EVENT_CHANNEL_H = {
  EVTCHNOP_bind_interdomain: 0,
  EVTCHNOP_bind_virq: 1,
  EVTCHNOP_bind_pirq: 2,
  EVTCHNOP_close: 3,
  EVTCHNOP_send: 4,
  EVTCHNOP_status: 5,
  EVTCHNOP_alloc_unbound: 6,
  EVTCHNOP_bind_ipi: 7,
  EVTCHNOP_bind_vcpu: 8,
  EVTCHNOP_unmask: 9,
  EVTCHNOP_reset: 10,
  EVTCHNOP_init_control: 11,
  EVTCHNSTAT_closed: 0,
  EVTCHNSTAT_unbound: 1,
  EVTCHNSTAT_interdomain: 2,
  EVTCHNSTAT_pirq: 3,
  EVTCHNSTAT_virq: 4,
  EVTCHNSTAT_ipi: 5,
} as const;

export const GRANT_TABLE_H = {
  GNTTAB_NR_RESERVED_ENTRIES: 8,
  GNTTAB_RESERVED_CONSOLE: 0,
  GNTTAB_RESERVED_XENSTORE: 1,
  GTF_invalid: 0,
  GTF_permit_access: 1,
  GTF_accept_transfer: 2,
  GTF_type_mask: 3,
  GTF_readonly: 4,
  GTF_reading: 8,
  GTF_writing: 16,
  GTF_PWT: 32,
  GTF_PCD: 64,
  GTF_PAT: 128,
  GNTTABOP_map_grant_ref: 0,
  GNTTABOP_unmap_grant_ref: 1,
  GNTTABOP_setup_table: 2,
  GNTTABOP_dump_table: 3,
  GNTTABOP_transfer: 4,
  GNTTABOP_copy: 5,
  GNTTABOP_query_size: 6,
  GNTTABOP_set_version: 8,
  GNTTABOP_get_version: 10,
  GNTCOPY_source_gref: 1,
  GNTCOPY_dest_gref: 2,
  GNTMAP_device_map: 1,
  GNTMAP_host_map: 2,
  GNTMAP_readonly: 4,
  GNTMAP_contains_pte: 16,
  GNTST_okay: 0,
  GNTST_general_error: -1,
  GNTST_bad_domain: -2,
  GNTST_bad_gntref: -3,
  GNTST_bad_handle: -4,
  GNTST_bad_virt_addr: -5,
  GNTST_permission_denied: -8,
  GNTST_bad_page: -9,
  GNTST_bad_copy_arg: -10,
  GNTST_no_space: -13,
} as const;

export const MEMORY_H = {
  XENMEM_increase_reservation: 0,
  XENMEM_decrease_reservation: 1,
  XENMEM_maximum_ram_page: 2,
  XENMEM_current_reservation: 3,
  XENMEM_maximum_reservation: 4,
  XENMEM_populate_physmap: 6,
  XENMEM_add_to_physmap: 7,
  XENMEM_memory_map: 9,
  XENMEM_set_memory_map: 13,
  XENMEM_maximum_gpfn: 14,
  XENMEM_remove_from_physmap: 15,
  XENMEM_add_to_physmap_batch: 23,
  XENMAPSPACE_shared_info: 0,
  XENMAPSPACE_grant_table: 1,
  XENMAPSPACE_gmfn: 2,
  XENMAPIDX_grant_table_status: 0x8000_0000,
} as const;

export const SCHED_H = {
  SCHEDOP_yield: 0,
  SCHEDOP_block: 1,
  SCHEDOP_shutdown: 2,
  SCHEDOP_poll: 3,
  SCHEDOP_remote_shutdown: 4,
  SCHEDOP_shutdown_code: 5,
  SCHEDOP_watchdog: 6,
  SCHEDOP_pin_override: 7,
  SHUTDOWN_poweroff: 0,
  SHUTDOWN_reboot: 1,
  SHUTDOWN_suspend: 2,
  SHUTDOWN_crash: 3,
  SHUTDOWN_watchdog: 4,
  SHUTDOWN_soft_reset: 5,
  SHUTDOWN_MAX: 5,
} as const;

export const VCPU_H = {
  VCPUOP_initialise: 0,
  VCPUOP_up: 1,
  VCPUOP_down: 2,
  VCPUOP_is_up: 3,
  VCPUOP_get_runstate_info: 4,
  VCPUOP_register_runstate_memory_area: 5,
  VCPUOP_set_periodic_timer: 6,
  VCPUOP_stop_periodic_timer: 7,
  VCPUOP_set_singleshot_timer: 8,
  VCPUOP_stop_singleshot_timer: 9,
  VCPUOP_register_vcpu_info: 10,
  VCPUOP_register_vcpu_time_memory_area: 13,
  VCPU_SSHOTTMR_future: 1,
  RUNSTATE_running: 0,
  RUNSTATE_runnable: 1,
  RUNSTATE_blocked: 2,
  RUNSTATE_offline: 3,
} as const;

export const VERSION_H = {
  XENVER_version: 0,
  XENVER_extraversion: 1,
  XENVER_compile_info: 2,
  XENVER_capabilities: 3,
  XENVER_changeset: 4,
  XENVER_platform_parameters: 5,
  XENVER_get_features: 6,
  XENVER_pagesize: 7,
  XENVER_guest_handle: 8,
  XENVER_commandline: 9,
  XENVER_build_id: 10,
} as const;

export const FEATURES_H = {
  XENFEAT_writable_page_tables: 0,
  XENFEAT_auto_translated_physmap: 2,
  XENFEAT_supervisor_mode_kernel: 3,
  XENFEAT_hvm_callback_vector: 8,
  XENFEAT_hvm_safe_pvclock: 9,
  XENFEAT_memory_op_vnode_supported: 13,
} as const;

export const HVM_OP_H = {
  HVMOP_set_param: 0,
  HVMOP_get_param: 1,
  HVMOP_flush_tlbs: 5,
  HVMOP_pagetable_dying: 9,
  HVMOP_get_time: 10,
  HVMOP_guest_request_vm_event: 24,
  HVMOP_set_evtchn_upcall_vector: 23,
} as const;

export const PARAMS_H = {
  HVM_PARAM_CALLBACK_IRQ: 0,
  HVM_PARAM_STORE_PFN: 1,
  HVM_PARAM_STORE_EVTCHN: 2,
  HVM_PARAM_IOREQ_PFN: 5,
  HVM_PARAM_BUFIOREQ_PFN: 6,
  HVM_PARAM_CONSOLE_PFN: 17,
  HVM_PARAM_CONSOLE_EVTCHN: 18,
  HVM_PARAM_BUFIOREQ_EVTCHN: 26,
  HVM_NR_PARAMS: 39,
  HVM_PARAM_CALLBACK_TYPE_GSI: 0,
  HVM_PARAM_CALLBACK_TYPE_PCI_INTX: 1,
  HVM_PARAM_CALLBACK_TYPE_VECTOR: 2,
} as const;

export const START_INFO_H = {
  XEN_HVM_START_MAGIC_VALUE: 0x336e_c578,
  XEN_HVM_MEMMAP_TYPE_RAM: 1,
  XEN_HVM_MEMMAP_TYPE_RESERVED: 2,
} as const;

export const CPUID_H = {
  XEN_CPUID_FIRST_LEAF: 0x4000_0000,
  XEN_CPUID_SIGNATURE_EBX: 0x566e_6558,
  XEN_CPUID_SIGNATURE_ECX: 0x6558_4d4d,
  XEN_CPUID_SIGNATURE_EDX: 0x4d4d_566e,
  XEN_HVM_CPUID_VCPU_ID_PRESENT: 8,
  XEN_HVM_CPUID_DOMID_PRESENT: 16,
  XEN_HVM_CPUID_UPCALL_VECTOR: 64,
} as const;

export const ELFNOTE_H = {
  XEN_ELFNOTE_PHYS32_ENTRY: 18,
} as const;

export const PHYSDEV_H = {
  PHYSDEVOP_eoi: 12,
  PHYSDEVOP_irq_status_query: 5,
  PHYSDEVOP_map_pirq: 13,
  PHYSDEVOP_unmap_pirq: 14,
  PHYSDEVOP_get_free_pirq: 23,
} as const;

export const IOREQ_H = {
  IOREQ_READ: 1,
  IOREQ_WRITE: 0,
  STATE_IOREQ_NONE: 0,
  STATE_IOREQ_READY: 1,
  STATE_IOREQ_INPROCESS: 2,
  STATE_IORESP_READY: 3,
  IOREQ_TYPE_PIO: 0,
  IOREQ_TYPE_COPY: 1,
  IOREQ_BUFFER_SLOT_NUM: 511,
} as const;

export const DM_OP_H = {
  XEN_DMOP_set_pci_intx_level: 8,
  XEN_DMOP_set_isa_irq_level: 9,
  XEN_DMOP_set_pci_link_route: 10,
} as const;

/** Every group by its header, for the check. */
export const CONSTANTS: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  "xen.h": XEN_H,
  "errno.h": ERRNO_H,
  "event_channel.h": EVENT_CHANNEL_H,
  "grant_table.h": GRANT_TABLE_H,
  "memory.h": MEMORY_H,
  "sched.h": SCHED_H,
  "vcpu.h": VCPU_H,
  "version.h": VERSION_H,
  "features.h": FEATURES_H,
  "hvm/hvm_op.h": HVM_OP_H,
  "hvm/params.h": PARAMS_H,
  "arch-x86/hvm/start_info.h": START_INFO_H,
  "arch-x86/cpuid.h": CPUID_H,
  "elfnote.h": ELFNOTE_H,
  "physdev.h": PHYSDEV_H,
  "hvm/ioreq.h": IOREQ_H,
  "hvm/dm_op.h": DM_OP_H,
};
