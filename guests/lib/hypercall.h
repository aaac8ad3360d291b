/*
 * Finding Xen, and calling it. Registers: EAX number, EBX ECX EDX arguments; the result is >= 0 or a negative errno
 * (arch-x86/xen-x86_32.h).
 */
#ifndef HYPERCALL_H
#define HYPERCALL_H

#include <stdbool.h>
#include <stdint.h>

#include "xen.h"

struct xen_identity {
    uint32_t leaf; /* the base CPUID leaf */
    uint32_t major, minor;
};

/* Looks for Xen's CPUID leaves; when there, has Xen fill our hypercall page. False: this is another machine. */
bool xen_find(struct xen_identity *found);

/* One hypercall by number (0 to 127) with up to three arguments. Only after xen_find was true. */
int32_t hypercall(uint32_t number, uint32_t argument0, uint32_t argument1, uint32_t argument2);

static inline int32_t hypervisor_op(uint32_t number, uint32_t sub_operation, const volatile void *structure)
{
    return hypercall(number, sub_operation, (uint32_t)structure, 0);
}

/* hvm_op get_param and set_param of our own domain: 0 or a negative errno. */
int32_t hvm_get_param(uint32_t index, uint64_t *value);
int32_t hvm_set_param(uint32_t index, uint64_t value);

/* Has `idx` of `space` appear at guest frame `gpfn`: 0 or a negative errno. */
int32_t add_to_physmap(uint32_t space, uint32_t idx, uint32_t gpfn);

int32_t event_send(evtchn_port_t port);
void sched_yield(void);
void sched_shutdown(uint32_t reason) __attribute__((noreturn));

#endif
