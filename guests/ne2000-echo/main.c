/*
 * ne2000-echo: a host of its own behind a NE2000. It answers ARP, ICMP echo and UDP echo for one address, sleeping between interrupts, and
 * counts every frame. A datagram "stats" to the echo port prints the counts, "exit" prints them and ends.
 *
 * Under Xen the text goes to the console ring if the domain has one and the end is a shutdown. Elsewhere it goes to the serial port and the
 * debug port, and the end is a write to QEMU's isa-debug-exit (port 0xf4: 0 right, 1 wrong), then HLT with interrupts off.
 */
#include "../lib/console.h"
#include "../lib/descriptors.h"
#include "../lib/echo.h"
#include "../lib/hypercall.h"
#include "../lib/interrupts.h"
#include "../lib/options.h"
#include "../lib/text.h"
#include "../lib/x86.h"
#include "../lib/xen_console.h"
#include "nic.h"
#include "rtl8029.h"

#define DEBUG_EXIT_PORT 0xf4
#define COM1 0x3f8
#define COM1_LINE_CONTROL (COM1 + 3)
#define LINE_CONTROL_DIVISOR 0x80
#define LINE_CONTROL_8N1 0x03
#define ISA_PORTS 0x300
#define ISA_IRQ 9
#define PCI_IRQ 11 /* when no firmware has chosen one */

static bool on_xen;
static uint32_t slow;   /* instructions of idle work for each frame */
static uint32_t report; /* print the counts after so many frames; 0: when asked */
static uint32_t verdicts[VERDICTS];
static uint32_t refused; /* answers for which the queue had no room */
static bool report_due, leaving;

static void leave(bool right)
{
    if (on_xen)
        sched_shutdown(right ? SHUTDOWN_poweroff : SHUTDOWN_crash);
    outb(DEBUG_EXIT_PORT, right ? 0 : 1);
    halt_forever();
}

/* 115200 baud, 8 bits, no parity (16550D data sheet, 8.3 and 8.6): no firmware may have been there. */
static void serial_start(void)
{
    outb(COM1_LINE_CONTROL, LINE_CONTROL_DIVISOR);
    outb(COM1, 1);
    outb(COM1 + 1, 0);
    outb(COM1_LINE_CONTROL, LINE_CONTROL_8N1);
}

static void crash(void)
{
    leave(false);
}

static void fail(const char *why)
{
    print("ne2000-echo: %s\n", why);
    leave(false);
}

static void print_counts(void)
{
    nic_read_tallies();
    const struct nic_counters *n = &nic_counters;
    echo_print_frames(n->received, n->received_bytes, verdicts);
    print("answers: %u = %u sent (%u bytes) + %u failed + %u refused + %u lost + %u waiting; %u collisions\n",
          verdicts[ANSWERED_ARP] + verdicts[ANSWERED_ICMP] + verdicts[ANSWERED_UDP], n->sent, n->sent_bytes, n->failed, refused, n->lost,
          nic_waiting(), n->collisions);
    print("card: %u interrupts, %u spurious, %u overflows, %u resent, %u wraps, %u ring errors, %u dma errors, %u resets\n", n->interrupts,
          spurious_interrupts, n->overflows, n->resent, n->wraps, n->ring_errors, n->dma_errors, n->resets);
    print("errors: %u receive, %u alignment, %u crc, %u missed\n", n->receive_errors, n->alignment, n->crc, n->missed);
}

static void work(uint32_t instructions)
{
    uint32_t rounds = instructions / 2;
    if (rounds > 0)
        __asm__ volatile("1: decl %0\n\tjnz 1b" : "+r"(rounds)::"cc");
}

static void take(const uint8_t *frame, uint32_t length)
{
    static uint8_t nowhere[FRAME_MAX]; /* for the answer that cannot be queued */
    work(slow);
    uint8_t *queued = nic_next_frame();
    struct echo_result result = echo_frame(frame, length, queued != NULL ? queued : nowhere);
    verdicts[result.verdict]++;
    if (result.length > 0 && queued != NULL)
        nic_send(result.length);
    else if (result.length > 0)
        refused++;
    report_due = report_due || result.command == STATISTICS || (report != 0 && nic_counters.received % report == 0);
    leaving = leaving || result.command == EXIT;
}

/* The PCI card, unless io= asks for an ISA card. Returns the interrupt line. */
static uint8_t find_card(uint8_t address[ADDRESS_BYTES])
{
    uint32_t io = ISA_PORTS, irq = ISA_IRQ;
    struct rtl8029 pci;
    if (!option_number("io", &io) || io > 0xffe0 || !option_number("irq", &irq) || irq >= IRQS)
        fail("io= and irq= need the numbers of a port and of an interrupt line");
    bool is_pci = option_text("io") == NULL && rtl8029_find(option_text("irq") != NULL ? (uint8_t)irq : PCI_IRQ, &pci);
    if (is_pci) {
        io = pci.io;
        irq = pci.irq;
    }
    if (irq == 2)
        irq = 9; /* where the AT has put it */
    if (!nic_find((uint16_t)io, address)) {
        print("ne2000-echo: no NE2000 at 0x%x\n", io);
        leave(false);
    }
    if (is_pci)
        print("ne2000-echo: RTL8029 in PCI slot %u, ports 0x%x, IRQ %u", pci.device, io, irq);
    else
        print("ne2000-echo: NE2000 at 0x%x, IRQ %u", io, irq);
    print(", address %02x:%02x:%02x:%02x:%02x:%02x\n", address[0], address[1], address[2], address[3], address[4], address[5]);
    return (uint8_t)irq;
}

static void run(const void *boot_information)
{
    struct xen_identity xen;
    uint8_t address[ADDRESS_BYTES];
    options_read(boot_information);
    on_xen = xen_find(&xen);
    if (on_xen && xen_console_open()) {
        console_use(xen_console_write);
    } else {
        serial_start();
        console_use(serial_write);
    }
    descriptors_load(crash);
    if (!option_number("slow", &slow) || !option_number("report", &report))
        fail("slow= and report= need numbers");
    uint32_t ip = ECHO_IP;
    if (!option_ip("ip", &ip))
        fail("ip= needs an address like 10.0.0.2");
    uint8_t irq = find_card(address);
    echo_start(address, ip);
    interrupts_start(irq, nic_interrupt);
    nic_start();
    print("listening as %u.%u.%u.%u\n", ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255);

    while (!leaving || nic_waiting() > 0) {
        interrupts_off();
        if (!nic_needs_service()) {
            sleep_until_interrupt();
            continue;
        }
        interrupts_on();
        if (!nic_service(take))
            fail("the card does not work");
        if (report_due)
            print_counts();
        report_due = false;
    }
    interrupts_off();
    print_counts();
    print("done\n");
    leave(true);
}

void guest_main(const void *boot_information)
{
    run(boot_information);
}

void multiboot_main(const void *boot_information)
{
    run(boot_information);
}
