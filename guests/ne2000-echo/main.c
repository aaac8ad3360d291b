/*
 * ne2000-echo: a host of its own behind a NE2000. It answers ARP, ICMP echo and UDP echo for one address, sleeping between interrupts, and
 * counts every frame. A datagram "stats" to the echo port prints the counts, "exit" prints them and ends.
 */
#include "../lib/card.h"
#include "../lib/console.h"
#include "../lib/echo.h"
#include "../lib/interrupts.h"
#include "../lib/nic.h"
#include "../lib/options.h"
#include "../lib/program.h"
#include "../lib/text.h"
#include "../lib/x86.h"

static uint32_t slow;   /* instructions of idle work for each frame */
static uint32_t report; /* print the counts after so many frames; 0: when asked */
static uint32_t verdicts[VERDICTS];
static uint32_t refused; /* answers for which the queue had no room */
static bool report_due, leaving;

static void fail(const char *why)
{
    print("ne2000-echo: %s\n", why);
    program_end(false);
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

static void find_card(struct card *card)
{
    const char *problem = card_find(card);
    if (problem != NULL)
        fail(problem);
    if (card->is_pci)
        print("ne2000-echo: RTL8029 in PCI slot %u, ports 0x%x, IRQ %u", card->slot, card->io, card->irq);
    else
        print("ne2000-echo: NE2000 at 0x%x, IRQ %u", card->io, card->irq);
    const uint8_t *address = card->address;
    print(", address %02x:%02x:%02x:%02x:%02x:%02x\n", address[0], address[1], address[2], address[3], address[4], address[5]);
}

static void run(const void *boot_information)
{
    struct card card;
    program_start(boot_information);
    if (!option_number("slow", &slow) || !option_number("report", &report))
        fail("slow= and report= need numbers");
    uint32_t ip = ECHO_IP;
    if (!option_ip("ip", &ip))
        fail("ip= needs an address like 10.0.0.2");
    find_card(&card);
    echo_start(card.address, ip);
    interrupts_start(card.irq, nic_interrupt);
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
    program_end(true);
}

void guest_main(const void *boot_information)
{
    run(boot_information);
}

void multiboot_main(const void *boot_information)
{
    run(boot_information);
}
