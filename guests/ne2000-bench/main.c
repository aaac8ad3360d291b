/*
 * ne2000-bench: transmits frames as fast as the card takes them, or takes in as many and looks at every byte of them; prints one line and ends.
 *
 * A frame that is received has the length `size`; its 32-bit words, lowest byte first and the last one filled up with zeros, add up to zero;
 * and the word at NUMBER_AT tells how many came before it. Frames that are transmitted are of the same kind, for everybody.
 */
#include "../lib/card.h"
#include "../lib/console.h"
#include "../lib/interrupts.h"
#include "../lib/nic.h"
#include "../lib/options.h"
#include "../lib/program.h"
#include "../lib/text.h"
#include "../lib/x86.h"

#define TYPE_AT 12
#define TYPE_EXPERIMENT 0xb588 /* IEEE 802-2014, 9.2.4: local experimental EtherType 1, 88B5h in the frame's byte order */
#define NUMBER_AT 16
#define CHECK_AT 20
#define DATA_AT 24
#define FRAMES_OTHERWISE 1000

static uint32_t frames = FRAMES_OTHERWISE, size = FRAME_MIN;
static uint32_t received, wrong;

static void fail(const char *why)
{
    print("ne2000-bench: %s\n", why);
    program_end(false);
}

/* `bytes` is aligned to 4 and has room for a whole last word. */
static uint32_t sum(const uint8_t *bytes, uint32_t count)
{
    const uint32_t *words = (const uint32_t *)bytes;
    uint32_t total = 0;
    for (; count >= 4; count -= 4)
        total += *words++;
    return count > 0 ? total + (*words & ((1u << 8 * count) - 1)) : total;
}

static void put32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, sizeof value);
}

static uint32_t get32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static void take(const uint8_t *frame, uint32_t length)
{
    if (length != size || get32(frame + NUMBER_AT) != received || sum(frame, length) != 0)
        wrong++;
    received++;
}

/* Sleeps until the card has something to tell, then hears it. */
static void service(void)
{
    interrupts_off();
    while (!nic_needs_service()) {
        sleep_until_interrupt();
        interrupts_off();
    }
    interrupts_on();
    if (!nic_service(take))
        fail("the card does not work");
}

static void transmit(const uint8_t address[ADDRESS_BYTES])
{
    static uint8_t frame[FRAME_MAX + 2] __attribute__((aligned(4)));
    uint16_t type = TYPE_EXPERIMENT;
    memset(frame, 0xff, ADDRESS_BYTES);
    memcpy(frame + ADDRESS_BYTES, address, ADDRESS_BYTES);
    memcpy(frame + TYPE_AT, &type, sizeof type);
    for (uint32_t at = DATA_AT; at < size; at++)
        frame[at] = (uint8_t)at;
    uint32_t rest = sum(frame, size), number = 0;
    while (number < frames || nic_waiting() > 0) {
        uint8_t *queued;
        if (nic_waiting() == 0)
            nic_wake();
        for (; number < frames && (queued = nic_next_frame()) != NULL; number++) {
            put32(frame + NUMBER_AT, number);
            put32(frame + CHECK_AT, 0 - rest - number);
            memcpy(queued, frame, size);
            nic_send(size);
        }
        service();
    }
}

static void receive(void)
{
    while (received < frames)
        service();
}

static void run(const void *boot_information)
{
    struct card card;
    program_start(boot_information);
    if (!option_number("frames", &frames) || !option_number("size", &size) || size < FRAME_MIN || size > FRAME_MAX)
        fail("frames= and size= need numbers, size from 60 to 1514");
    bool transmits = option_is("mode", "transmit");
    if (!transmits && !option_is("mode", "receive"))
        fail("mode=transmit or mode=receive?");
    const char *problem = card_find(&card);
    if (problem != NULL)
        fail(problem);
    interrupts_start(card.irq, nic_interrupt);
    nic_start();
    if (transmits)
        transmit(card.address);
    else
        receive();
    interrupts_off();
    const struct nic_counters *n = &nic_counters;
    print("ne2000-bench: %u frames of %u bytes, %u sent, %u received, %u wrong, %u failed, %u lost\n", frames, size, n->sent, received,
          wrong, n->failed + n->lost, n->overflows + n->missed);
    bool right = transmits ? n->sent == frames : received == frames && wrong == 0;
    print("ne2000-bench: %s\n", right ? "done" : "WRONG");
    program_end(right);
}

void guest_main(const void *boot_information)
{
    run(boot_information);
}

void multiboot_main(const void *boot_information)
{
    run(boot_information);
}
