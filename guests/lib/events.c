#include "events.h"

#include <stdbool.h>

#include "descriptors.h"
#include "domain.h"
#include "hypercall.h"
#include "interrupts.h"
#include "pci.h"
#include "text.h"
#include "x86.h"

#define UPCALL_VECTOR 0xf3
#define UPCALL_GSI 5
#define INTX_IRQ 10 /* when no firmware has chosen one */
#define ID_PLATFORM 0x00015853u /* 5853:0001, Xen's docs/misc/hvm-unplug */

static struct shared_info *shared_info;

static struct {
    event_handler *handler;
    void *context;
} bindings[EVTCHN_2L_NR_CHANNELS];

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

static uint64_t by_vector(char *how, size_t size)
{
    interrupt_route(UPCALL_VECTOR, upcall);
    format(how, size, "on vector 0x%x", UPCALL_VECTOR);
    return HVM_PARAM_CALLBACK_TYPE_VECTOR << HVM_PARAM_CALLBACK_TYPE_SHIFT | UPCALL_VECTOR;
}

static uint64_t by_gsi(char *how, size_t size)
{
    interrupts_start(UPCALL_GSI, upcall);
    interrupt_is_level(UPCALL_GSI);
    format(how, size, "by GSI %u", UPCALL_GSI);
    return HVM_PARAM_CALLBACK_TYPE_GSI << HVM_PARAM_CALLBACK_TYPE_SHIFT | UPCALL_GSI;
}

static uint64_t by_intx(char *how, size_t size)
{
    uint32_t device;
    if (!pci_find(ID_PLATFORM, &device))
        panic("callback=intx needs the Xen platform device");
    uint8_t irq = pci_interrupt_line(device, INTX_IRQ);
    interrupts_start(irq, upcall);
    interrupt_is_level(irq);
    format(how, size, "by INTA# of PCI device %u, IRQ %u", device, irq);
    return HVM_PARAM_CALLBACK_TYPE_PCI_INTX << HVM_PARAM_CALLBACK_TYPE_SHIFT | device << 3 << 8; /* function 0, INTA */
}

void events_start(uint32_t frame, enum callback callback, char *how, size_t size)
{
    static uint64_t (*const choose[])(char *, size_t) = { by_vector, by_gsi, by_intx };
    int32_t error = add_to_physmap(XENMAPSPACE_shared_info, 0, frame);
    if (error != 0)
        panic("cannot map shared_info: error %d", error);
    shared_info = (struct shared_info *)(frame << PAGE_SHIFT);
    memset(shared_info->evtchn_mask, 0xff, sizeof shared_info->evtchn_mask);
    shared_info->vcpu_info[0].evtchn_upcall_mask = 0;
    error = hvm_set_param(HVM_PARAM_CALLBACK_IRQ, choose[callback](how, size));
    if (error != 0)
        panic("no upcall %s: error %d", how, error);
    interrupts_on();
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
