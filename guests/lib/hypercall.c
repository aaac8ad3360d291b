#include "hypercall.h"

#include "x86.h"

#define HYPERCALL_ENTRY_BYTES 32

static uint8_t hypercall_page[PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));

bool xen_find(struct xen_identity *found)
{
    for (uint32_t base = XEN_CPUID_FIRST_LEAF; base <= XEN_CPUID_LAST_BASE; base += XEN_CPUID_LEAF_STEP) {
        uint32_t a, b, c, d;
        cpuid(base, &a, &b, &c, &d);
        if (b != XEN_CPUID_SIGNATURE_EBX || c != XEN_CPUID_SIGNATURE_ECX || d != XEN_CPUID_SIGNATURE_EDX || a < base + 2)
            continue;
        cpuid(base + 1, &a, &b, &c, &d);
        *found = (struct xen_identity){ base, a >> 16, a & 0xffff };
        cpuid(base + 2, &a, &b, &c, &d); /* EBX: the MSR that takes the address of the page to fill */
        wrmsr(b, (uint32_t)hypercall_page, 0);
        return true;
    }
    return false;
}

int32_t hypercall(uint32_t number, uint32_t argument0, uint32_t argument1, uint32_t argument2)
{
    int32_t result;
    __asm__ volatile("call *%%eax"
                     : "=a"(result), "+b"(argument0), "+c"(argument1), "+d"(argument2)
                     : "0"(hypercall_page + number * HYPERCALL_ENTRY_BYTES)
                     : "memory", "cc");
    return result;
}

int32_t hvm_get_param(uint32_t index, uint64_t *value)
{
    struct xen_hvm_param param = { .domid = DOMID_SELF, .index = index };
    int32_t error = hypervisor_op(__HYPERVISOR_hvm_op, HVMOP_get_param, &param);
    *value = param.value;
    return error;
}

int32_t hvm_set_param(uint32_t index, uint64_t value)
{
    struct xen_hvm_param param = { .domid = DOMID_SELF, .index = index, .value = value };
    return hypervisor_op(__HYPERVISOR_hvm_op, HVMOP_set_param, &param);
}

int32_t add_to_physmap(uint32_t space, uint32_t idx, uint32_t gpfn)
{
    struct xen_add_to_physmap request = { .domid = DOMID_SELF, .space = space, .idx = idx, .gpfn = gpfn };
    return hypervisor_op(__HYPERVISOR_memory_op, XENMEM_add_to_physmap, &request);
}

int32_t event_send(evtchn_port_t port)
{
    struct evtchn_one_port send = { port };
    return hypervisor_op(__HYPERVISOR_event_channel_op, EVTCHNOP_send, &send);
}

void sched_yield(void)
{
    hypercall(__HYPERVISOR_sched_op, SCHEDOP_yield, 0, 0);
}

void sched_shutdown(uint32_t reason)
{
    struct sched_shutdown shutdown = { reason };
    hypervisor_op(__HYPERVISOR_sched_op, SCHEDOP_shutdown, &shutdown);
    halt_forever();
    __builtin_unreachable();
}
