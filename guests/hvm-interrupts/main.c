/*
 * hvm-interrupts: each way by which an interrupt reaches the processor of a Xen HVM domain wakes it from HLT: the timer through the 8259 pair, the
 * I/O APIC and the local APIC, and events by every kind of callback (hvm/params.h, HVM_PARAM_CALLBACK_IRQ). It prints a line for each on the
 * serial port, and ends with "done" and a shutdown for poweroff. A way that does not work leaves it asleep.
 *
 * It needs a PC with the Xen platform device and no firmware: what a BIOS sets up it sets up itself.
 */
#include "../lib/console.h"
#include "../lib/descriptors.h"
#include "../lib/hypercall.h"
#include "../lib/x86.h"

#define COM1 0x3f8
#define COM1_LINE_CONTROL (COM1 + 3)
#define LINE_CONTROL_DIVISOR 0x80
#define LINE_CONTROL_8N1 0x03

/* Intel 8259A data sheet: command words */
#define MASTER 0x20
#define SLAVE 0xa0
#define ICW1_CASCADE_ICW4 0x11
#define ICW4_8086 0x01
#define OCW2_EOI 0x20
#define CASCADE_IRQ 2
#define ELCR 0x4d0
#define FIRST_VECTOR 0x20

/* Intel 8254 data sheet: channel 0, both bytes, rate generator */
#define PIT_CHANNEL_0 0x40
#define PIT_CONTROL 0x43
#define PIT_CHANNEL_0_MODE_2 0x34
#define PIT_COUNT 11932 /* 100 Hz */

/* SDM vol. 3A table 11-1 */
#define LAPIC 0xfee00000u
#define LAPIC_EOI 0x0b0
#define LAPIC_SVR 0x0f0
#define LAPIC_LVT_TIMER 0x320
#define LAPIC_LINT0 0x350
#define LAPIC_INITIAL_COUNT 0x380
#define LAPIC_DIVIDE 0x3e0
#define SVR_ENABLED_FF 0x1ff
#define LVT_EXTINT 0x700
#define MASKED 0x10000u

/* Intel 82093AA data sheet: redirection entries; delivery to APIC id 0 */
#define IOAPIC 0xfec00000u
#define IOAPIC_WINDOW 0x10
#define IOAPIC_TABLE 0x10
#define LEVEL 0x8000u
#define PIT_INPUT 2

/* The platform device's place, its memory range for our shared_info, its INTA# by PIRQB and by its own GSI (Xen: hvm_pci_intx_gsi) */
#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA 0xcfc
#define CONFIG_ENABLE 0x80000000u
#define BRIDGE 1
#define PIIX3_ROUTES 0x60
#define PLATFORM 2
#define PLATFORM_ID 0x00015853u
#define BAR1 0x14
#define SHARED_INFO 0xf0000000u
#define INTX_IRQ 10
#define INTX_GSI (16 + 4 * PLATFORM)
#define GSI 5

#define HVMOP_set_evtchn_upcall_vector 23
#define EVTCHNOP_bind_virq 1
#define EVTCHNOP_bind_ipi 7
#define VIRQ_TIMER 0
#define __HYPERVISOR_vcpu_op 24
#define VCPUOP_set_singleshot_timer 8
#define MILLISECOND 1000000u
#define TIMES 3

struct evtchn_bind_virq {
    uint32_t virq, vcpu;
    evtchn_port_t port;
};

struct evtchn_bind_ipi {
    uint32_t vcpu;
    evtchn_port_t port;
};

struct vcpu_set_singleshot_timer {
    uint64_t timeout_abs_ns;
    uint32_t flags;
};

struct xen_hvm_evtchn_upcall_vector {
    uint32_t vcpu;
    uint8_t vector;
};

/* How an interrupt is ended. */
enum ending { END_NOTHING, END_LAPIC, END_MASTER, END_BOTH };

static struct shared_info *const shared = (struct shared_info *)SHARED_INFO;
static volatile uint32_t taken;
static enum ending ending;

static void fail(const char *what)
{
    print("hvm-interrupts: %s\n", what);
    sched_shutdown(SHUTDOWN_crash);
}

static void crash(void)
{
    sched_shutdown(SHUTDOWN_crash);
}

static void lapic_write(uint32_t offset, uint32_t value)
{
    *(volatile uint32_t *)(LAPIC + offset) = value;
}

static void redirect(uint32_t input, uint32_t low)
{
    volatile uint32_t *select = (volatile uint32_t *)IOAPIC, *window = (volatile uint32_t *)(IOAPIC + IOAPIC_WINDOW);
    *select = IOAPIC_TABLE + 2 * input + 1;
    *window = 0;
    *select = IOAPIC_TABLE + 2 * input;
    *window = low;
}

static uint32_t config_read(uint32_t device, uint32_t offset)
{
    outl(CONFIG_ADDRESS, CONFIG_ENABLE | device << 11 | offset);
    return inl(CONFIG_DATA);
}

static void config_write(uint32_t device, uint32_t offset, uint32_t value)
{
    outl(CONFIG_ADDRESS, CONFIG_ENABLE | device << 11 | offset);
    outl(CONFIG_DATA, value);
}

static void pics_mask(uint32_t masked)
{
    outb(MASTER + 1, (uint8_t)masked);
    outb(SLAVE + 1, (uint8_t)(masked >> 8));
}

static void pics_start(void)
{
    outb(MASTER, ICW1_CASCADE_ICW4);
    outb(SLAVE, ICW1_CASCADE_ICW4);
    outb(MASTER + 1, FIRST_VECTOR);
    outb(SLAVE + 1, FIRST_VECTOR + 8);
    outb(MASTER + 1, 1 << CASCADE_IRQ);
    outb(SLAVE + 1, CASCADE_IRQ);
    outb(MASTER + 1, ICW4_8086);
    outb(SLAVE + 1, ICW4_8086);
    pics_mask(~0u);
    /* The lines of callbacks are levels. */
    outb(ELCR + GSI / 8, 1 << GSI % 8);
    outb(ELCR + INTX_IRQ / 8, 1 << INTX_IRQ % 8);
}

/* Takes what is pending (xen.h): the upcall first, then the words, then their bits. */
static void take_events(void)
{
    exchange((volatile uint32_t *)&shared->vcpu_info[0].evtchn_upcall_pending, 0);
    uint32_t words = exchange(&shared->vcpu_info[0].evtchn_pending_sel, 0);
    for (uint32_t word = 0; word < 32; word++)
        if (words >> word & 1)
            exchange(&shared->evtchn_pending[word], 0);
}

static void interrupt(void)
{
    taken++;
    take_events();
    if (ending == END_LAPIC)
        lapic_write(LAPIC_EOI, 0);
    if (ending == END_BOTH)
        outb(SLAVE, OCW2_EOI);
    if (ending == END_MASTER || ending == END_BOTH)
        outb(MASTER, OCW2_EOI);
}

static void expect(uint8_t vector, enum ending how)
{
    taken = 0;
    ending = how;
    interrupt_route(vector, interrupt);
}

static void sleep_until(uint32_t count)
{
    for (;;) {
        interrupts_off();
        if (taken >= count)
            return;
        sleep_until_interrupt();
    }
}

static void show(const char *way, uint32_t wanted)
{
    print("%s: %u interrupts\n", way, taken);
    if (taken != wanted)
        fail("too many");
}

static uint64_t system_time(void)
{
    const struct vcpu_time_info *time = &shared->vcpu_info[0].time;
    uint64_t passed = rdtsc() - time->tsc_timestamp;
    passed = time->tsc_shift < 0 ? passed >> -time->tsc_shift : passed << time->tsc_shift;
    return time->system_time + (passed * time->tsc_to_system_mul >> 32);
}

/* Events that we send ourselves, with interrupts on, and then one of the timer's, asleep. */
static void events(const char *way, evtchn_port_t port)
{
    for (uint32_t sent = 1; sent < TIMES; sent++) {
        event_send(port);
        interrupts_on();
        while (taken < sent)
            pause();
        interrupts_off();
    }
    struct vcpu_set_singleshot_timer timer = { .timeout_abs_ns = system_time() + MILLISECOND };
    if (hypercall(__HYPERVISOR_vcpu_op, VCPUOP_set_singleshot_timer, 0, (uint32_t)&timer) != 0)
        fail("no timer");
    if (taken >= TIMES)
        fail("the timer does not wait");
    sleep_until(TIMES);
    show(way, TIMES);
}

static void callback(uint64_t type, uint32_t via)
{
    if (hvm_set_param(HVM_PARAM_CALLBACK_IRQ, type << HVM_PARAM_CALLBACK_TYPE_SHIFT | via) != 0)
        fail("the callback is refused");
}

static evtchn_port_t start(void)
{
    if (config_read(PLATFORM, 0) != PLATFORM_ID)
        fail("no Xen platform device");
    config_write(PLATFORM, BAR1, SHARED_INFO);
    if (add_to_physmap(XENMAPSPACE_shared_info, 0, SHARED_INFO >> PAGE_SHIFT) != 0)
        fail("no shared_info");
    struct evtchn_bind_virq timer = { .virq = VIRQ_TIMER };
    struct evtchn_bind_ipi own = { .vcpu = 0 };
    if (hypervisor_op(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_virq, &timer) != 0 ||
        hypervisor_op(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_ipi, &own) != 0)
        fail("no event channels");
    take_events();
    return own.port;
}

static void timers(void)
{
    expect(FIRST_VECTOR, END_MASTER);
    pics_mask(~1u);
    outb(PIT_CONTROL, PIT_CHANNEL_0_MODE_2);
    outb(PIT_CHANNEL_0, PIT_COUNT & 0xff);
    outb(PIT_CHANNEL_0, PIT_COUNT >> 8);
    sleep_until(TIMES);
    pics_mask(~0u);
    show("PIT by the 8259 pair", TIMES);

    lapic_write(LAPIC_SVR, SVR_ENABLED_FF);
    lapic_write(LAPIC_LINT0, MASKED);
    expect(0x40, END_LAPIC);
    redirect(PIT_INPUT, 0x40);
    sleep_until(TIMES);
    redirect(PIT_INPUT, MASKED);
    show("PIT by the I/O APIC", TIMES);

    expect(0x41, END_LAPIC);
    lapic_write(LAPIC_DIVIDE, 0xb);
    lapic_write(LAPIC_LVT_TIMER, 0x41);
    lapic_write(LAPIC_INITIAL_COUNT, 1000);
    sleep_until(1);
    show("local APIC timer", 1);
    lapic_write(LAPIC_LINT0, LVT_EXTINT);
}

static void callbacks(evtchn_port_t port)
{
    expect(FIRST_VECTOR + GSI, END_MASTER);
    pics_mask(~(1u << GSI));
    callback(HVM_PARAM_CALLBACK_TYPE_GSI, GSI);
    events("events by GSI 5", port);

    expect(FIRST_VECTOR + INTX_IRQ, END_BOTH);
    pics_mask(~(1u << INTX_IRQ | 1u << CASCADE_IRQ));
    config_write(BRIDGE, PIIX3_ROUTES, 0x80800080u | INTX_IRQ << 8);
    callback(HVM_PARAM_CALLBACK_TYPE_PCI_INTX, PLATFORM << 3 << 8);
    events("events by the platform device's INTA# and its link", port);

    pics_mask(~0u);
    expect(0x42, END_LAPIC);
    redirect(INTX_GSI, LEVEL | 0x42);
    events("events by the platform device's INTA# and the I/O APIC", port);
    redirect(INTX_GSI, MASKED);

    expect(0x43, END_NOTHING);
    callback(HVM_PARAM_CALLBACK_TYPE_VECTOR, 0x43);
    events("events by a vector", port);

    expect(0x44, END_LAPIC);
    callback(0, 0);
    struct xen_hvm_evtchn_upcall_vector upcall = { .vcpu = 0, .vector = 0x44 };
    if (hypervisor_op(__HYPERVISOR_hvm_op, HVMOP_set_evtchn_upcall_vector, &upcall) != 0)
        fail("the upcall vector is refused");
    events("events by the vCPU's own vector", port);
}

void guest_main(const void *start_info)
{
    struct xen_identity xen;
    (void)start_info;
    outb(COM1_LINE_CONTROL, LINE_CONTROL_DIVISOR);
    outb(COM1, 1);
    outb(COM1 + 1, 0);
    outb(COM1_LINE_CONTROL, LINE_CONTROL_8N1);
    console_use(serial_write);
    if (!xen_find(&xen)) {
        print("hvm-interrupts: no Xen\n");
        halt_forever();
    }
    descriptors_load(crash);
    evtchn_port_t port = start();
    pics_start();
    timers();
    callbacks(port);
    print("done\n");
    sched_shutdown(SHUTDOWN_poweroff);
}
