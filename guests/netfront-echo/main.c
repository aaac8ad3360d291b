/*
 * netfront-echo: a host of its own behind Xen's network interface. It answers ARP, ICMP echo and UDP echo for one address, sleeping between
 * events, and counts every frame. A datagram "stats" to the echo port prints the counts, "exit" prints them and ends.
 */
#include "../lib/console.h"
#include "../lib/domain.h"
#include "../lib/echo.h"
#include "../lib/events.h"
#include "../lib/hypercall.h"
#include "../lib/options.h"
#include "../lib/text.h"
#include "../lib/xenstore.h"
#include "netfront.h"

static struct netfront net;
static uint32_t verdicts[VERDICTS];
static uint32_t refused; /* answers for which there was no room */
static bool report_due, leaving;

static void print_counts(void)
{
    const struct net_counters *n = &net.counters;
    echo_print_frames(n->received, n->received_bytes, verdicts);
    print("answers: %u = %u sent (%u bytes) + %u failed + %u refused + %u waiting\n",
          verdicts[ANSWERED_ARP] + verdicts[ANSWERED_ICMP] + verdicts[ANSWERED_UDP], n->sent, n->sent_bytes, n->failed, refused,
          netfront_frames_waiting(&net));
    print("interface: %u upcalls, %u slots received, %u slots sent, %u extra slots, %u damaged\n", n->upcalls, n->received_slots,
          n->sent_slots, n->extras, n->damaged);
}

static void take(const uint8_t *frame, uint32_t length)
{
    static uint8_t answer[FRAME_MAX];
    struct echo_result result = echo_frame(frame, length, answer);
    verdicts[result.verdict]++;
    if (result.length > 0 && !netfront_send(&net, answer, result.length))
        refused++;
    report_due |= result.command == STATISTICS;
    leaving |= result.command == EXIT;
}

/* Answers until it is asked to end, or the interface is taken away or shut. */
static void listen(void)
{
    while (!leaving || netfront_frames_waiting(&net) > 0) {
        sleep_until(net.event || xs_pending());
        if (net.event && !netfront_service(&net, take))
            return;
        if (report_due)
            print_counts();
        report_due = false;
        if (!xs_pending())
            continue;
        xs_wait(XENBUS_TOKEN);
        if (xenbus_backend_state(&net.bus) != XenbusStateConnected) {
            print("%s: the back end closes\n", net.bus.name);
            return;
        }
    }
}

void guest_main(const struct hvm_start_info *start)
{
    uint32_t ip = ECHO_IP;
    domain_start("netfront-echo", start);
    if (!option_ip("ip", &ip))
        panic("ip= needs an address like 10.0.0.2");
    xenstore_start();
    if (netfront_connect(&net, 0)) {
        echo_start(net.address, ip);
        print("listening as %u.%u.%u.%u\n", ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255);
        listen();
        netfront_disconnect(&net);
        print_counts();
    }
    print("done\n");
    sched_shutdown(SHUTDOWN_poweroff);
}
