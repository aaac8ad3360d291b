#include "nic.h"

#include "dp8390.h"
#include "interrupts.h"
#include "text.h"
#include "x86.h"

/* Packet memory: two transmit buffers, so that one can be filled while the other is sent; the rest is the receive ring. */
#define TRANSMIT_BUFFERS 2u
#define TRANSMIT_PAGES 6u
#define RING_START (FIRST_PAGE + TRANSMIT_BUFFERS * TRANSMIT_PAGES)
#define RING_END END_PAGE
#define RING_PAGES (RING_END - RING_START)

#define HEADER_BYTES 4u
#define CHECK_SEQUENCE_BYTES 4u
#define QUEUE 16u
#define CAUSES (ISR_PRX | ISR_PTX | ISR_RXE | ISR_TXE | ISR_OVW | ISR_CNT)
/* DP8390D data sheet, section 7.0: the longest transmission or reception under way ends within this time. */
#define STOP_MICROSECONDS 1600
/* The card is as fast as the bus: a transfer is complete when its last word is, so this is generous by far. */
#define DMA_PATIENCE 10000
#define RESET_PATIENCE 100000
/* A card that needs more resets than this does not work. */
#define RESETS_MAX 100

struct nic_counters nic_counters;

static uint16_t io;
static uint8_t station[ADDRESS_BYTES];
static volatile bool interrupted = true; /* the first service opens the mask */
static bool broken; /* the card needs a reset */
static uint8_t next_page, current_page; /* the ring: where the next frame begins, and CURR when last read */

static struct {
    uint8_t bytes[FRAME_MAX];
    uint16_t length;
} queue[QUEUE];
static uint32_t queue_first, queue_count;

static uint16_t loaded_bytes[TRANSMIT_BUFFERS];
static uint32_t loaded_first, loaded_count;
static bool sending; /* the first loaded one */

static uint8_t in(uint16_t reg)
{
    return inb(io + reg);
}

static void out(uint16_t reg, uint32_t value)
{
    outb(io + reg, (uint8_t)value);
}

/* ---- remote DMA, section 9.0 ---- */

static void remote_begin(uint32_t direction, uint32_t address, uint32_t count)
{
    out(ISR, ISR_RDC);
    out(RBCR0, count);
    out(RBCR1, count >> 8);
    out(RSAR0, address);
    out(RSAR1, address >> 8);
    out(CR, direction | CR_STA);
}

static bool remote_end(void)
{
    for (int tries = 0; tries < DMA_PATIENCE; tries++)
        if (in(ISR) & ISR_RDC) {
            out(ISR, ISR_RDC);
            return true;
        }
    nic_counters.dma_errors++;
    broken = true;
    return false;
}

/* Both move whole words: an odd count moves one byte more. The card itself goes on at the ring's start when it comes to its end. */
static bool remote_read(uint32_t address, void *to, uint32_t count)
{
    count = (count + 1) & ~1u;
    remote_begin(CR_REMOTE_READ, address, count);
    insw(io + DATA_PORT, to, count / 2);
    return remote_end();
}

static bool remote_write(uint32_t address, const void *from, uint32_t count)
{
    count = (count + 1) & ~1u;
    remote_begin(CR_REMOTE_WRITE, address, count);
    outsw(io + DATA_PORT, from, count / 2);
    return remote_end();
}

/* ---- start, section 11.0 ("initialization") ---- */

static bool reset(void)
{
    out(RESET_PORT, in(RESET_PORT));
    for (int tries = 0; tries < RESET_PATIENCE; tries++)
        if (in(ISR) & ISR_RST)
            return true;
    return false;
}

bool nic_find(uint16_t ports, uint8_t address[ADDRESS_BYTES])
{
    uint8_t prom[PROM_BYTES];
    io = ports;
    if (!reset())
        return false;
    out(CR, CR_REMOTE_ABORT | CR_STP);
    if (in(CR) != (CR_REMOTE_ABORT | CR_STP))
        return false;
    out(DCR, DCR_WTS | DCR_LS | DCR_FIFO_8);
    out(RCR, RCR_MON);
    out(TCR, TCR_LOOPBACK_1);
    out(IMR, 0);
    if (!remote_read(0, prom, sizeof prom) || prom[PROM_BYTES - 2] != 'W' || prom[PROM_BYTES - 4] != 'W')
        return false;
    for (uint32_t i = 0; i < ADDRESS_BYTES; i++)
        address[i] = station[i] = prom[2 * i];
    return true;
}

void nic_start(void)
{
    out(CR, CR_REMOTE_ABORT | CR_STP);
    out(DCR, DCR_WTS | DCR_LS | DCR_FIFO_8);
    out(RBCR0, 0);
    out(RBCR1, 0);
    out(RCR, RCR_AB);
    out(TCR, TCR_LOOPBACK_1);
    out(PSTART, RING_START);
    out(PSTOP, RING_END);
    out(BNRY, RING_START);
    out(ISR, 0xff);
    out(IMR, 0);
    out(CR, CR_PAGE_1 | CR_REMOTE_ABORT | CR_STP);
    for (uint16_t i = 0; i < ADDRESS_BYTES; i++)
        out(PAR0 + i, station[i]);
    for (uint16_t i = 0; i < 8; i++)
        out(MAR0 + i, 0);
    next_page = current_page = RING_START + 1;
    out(CURR, next_page);
    out(CR, CR_REMOTE_ABORT | CR_STA);
    out(TCR, TCR_NORMAL);
}

/* Begins anew after an error that the data sheet knows no way out of. Frames that were on the card are gone. */
static void restart(void)
{
    nic_read_tallies();
    nic_counters.lost += loaded_count;
    loaded_count = 0;
    sending = broken = false;
    nic_counters.resets++;
    reset();
    nic_start();
}

/* ---- sending, section 8.0 ---- */

uint8_t *nic_next_frame(void)
{
    return queue_count < QUEUE ? queue[(queue_first + queue_count) % QUEUE].bytes : NULL;
}

void nic_send(uint32_t length)
{
    uint32_t at = (queue_first + queue_count) % QUEUE;
    if (length < FRAME_MIN) {
        memset(queue[at].bytes + length, 0, FRAME_MIN - length);
        length = FRAME_MIN;
    }
    queue[at].length = (uint16_t)length;
    queue_count++;
}

uint32_t nic_waiting(void)
{
    return queue_count + loaded_count;
}

/* Loads what fits from the queue, and transmits the first loaded frame unless one is on its way. */
static void transmit(void)
{
    while (queue_count > 0 && loaded_count < TRANSMIT_BUFFERS && !broken) {
        uint32_t buffer = (loaded_first + loaded_count) % TRANSMIT_BUFFERS;
        uint16_t length = queue[queue_first].length;
        if (!remote_write((FIRST_PAGE + buffer * TRANSMIT_PAGES) * PAGE_BYTES, queue[queue_first].bytes, length))
            return;
        loaded_bytes[buffer] = length;
        loaded_count++;
        queue_first = (queue_first + 1) % QUEUE;
        queue_count--;
    }
    if (sending || loaded_count == 0)
        return;
    out(TPSR, FIRST_PAGE + loaded_first * TRANSMIT_PAGES);
    out(TBCR0, loaded_bytes[loaded_first]);
    out(TBCR1, (uint32_t)loaded_bytes[loaded_first] >> 8);
    out(CR, CR_REMOTE_ABORT | CR_TXP | CR_STA);
    sending = true;
}

static void transmitted(bool well)
{
    if (!sending)
        return;
    nic_counters.collisions += in(NCR) & NCR_COUNT;
    if (well) {
        nic_counters.sent++;
        nic_counters.sent_bytes += loaded_bytes[loaded_first];
    } else {
        nic_counters.failed++;
    }
    loaded_first = (loaded_first + 1) % TRANSMIT_BUFFERS;
    loaded_count--;
    sending = false;
}

/* ---- receiving, section 7.0 ---- */

static bool ring_is_empty(void)
{
    if (next_page != current_page)
        return false;
    out(CR, CR_PAGE_1 | CR_REMOTE_ABORT | CR_STA);
    uint8_t current = in(CURR);
    out(CR, CR_REMOTE_ABORT | CR_STA);
    if (current >= RING_START && current < RING_END) {
        current_page = current;
    } else {
        nic_counters.ring_errors++;
        broken = true;
    }
    return next_page == current_page;
}

static uint32_t ring_page(uint32_t page)
{
    return page < RING_END ? page : page - RING_PAGES;
}

struct ring_header {
    uint8_t status, next;
    uint16_t count; /* of the frame with its check sequence */
};

/* The chip is known to use one buffer more than needed where header and frame just fill the last one. */
static bool header_is_good(const struct ring_header *header)
{
    if (!(header->status & RECEIVE_STATUS_PRX) || header->count < FRAME_MIN + CHECK_SEQUENCE_BYTES ||
        header->count > FRAME_MAX + CHECK_SEQUENCE_BYTES)
        return false;
    uint32_t pages = (HEADER_BYTES + header->count + PAGE_BYTES - 1) / PAGE_BYTES;
    return header->next == ring_page(next_page + pages) || header->next == ring_page(next_page + pages + 1);
}

/* From a ring that is not empty. */
static void receive_one(nic_frame_handler *take)
{
    static uint8_t frame[FRAME_MAX + 1] __attribute__((aligned(4)));
    struct ring_header header;
    if (!remote_read(next_page * PAGE_BYTES, &header, sizeof header))
        return;
    if (!header_is_good(&header)) {
        nic_counters.ring_errors++;
        broken = true;
        return;
    }
    uint32_t length = header.count - CHECK_SEQUENCE_BYTES;
    if (!remote_read(next_page * PAGE_BYTES + HEADER_BYTES, frame, length))
        return;
    if (header.next < next_page && header.next != RING_START)
        nic_counters.wraps++;
    next_page = header.next;
    out(BNRY, next_page == RING_START ? RING_END - 1 : next_page - 1u);
    nic_counters.received++;
    nic_counters.received_bytes += length;
    take(frame, length);
}

/* The steps of "buffer ring overflow" in section 7.0. */
static void recover_from_overflow(nic_frame_handler *take)
{
    nic_counters.overflows++;
    bool was_transmitting = in(CR) & CR_TXP;                                        /* 1 */
    out(CR, CR_REMOTE_ABORT | CR_STP);                                              /* 2 */
    wait_microseconds(STOP_MICROSECONDS);                                           /* 3 */
    out(RBCR0, 0);                                                                  /* 4 */
    out(RBCR1, 0);
    bool resend = was_transmitting && !(in(ISR) & (ISR_PTX | ISR_TXE));             /* 5 */
    out(TCR, TCR_LOOPBACK_1);                                                       /* 6 */
    out(CR, CR_REMOTE_ABORT | CR_STA);                                              /* 7 */
    while (!broken && !ring_is_empty()) {                                           /* 8 */
        receive_one(take);
        if (queue_count == QUEUE)
            break;
    }
    out(ISR, ISR_OVW);                                                              /* 9 */
    out(TCR, TCR_NORMAL);                                                           /* 10 */
    if (resend) {
        nic_counters.resent++;
        out(CR, CR_REMOTE_ABORT | CR_TXP | CR_STA);                                 /* 11 */
    }
}

/* ---- interrupts ---- */

void nic_interrupt(void)
{
    nic_counters.interrupts++;
    out(IMR, 0);
    interrupted = true;
}

bool nic_needs_service(void)
{
    bool yes = interrupted;
    interrupted = false;
    return yes;
}

void nic_wake(void)
{
    out(IMR, 0);
    interrupted = true;
}

void nic_read_tallies(void)
{
    nic_counters.alignment += in(CNTR0);
    nic_counters.crc += in(CNTR1);
    nic_counters.missed += in(CNTR2);
}

bool nic_service(nic_frame_handler *take)
{
    for (;;) {
        uint8_t causes = in(ISR) & CAUSES;
        out(ISR, causes & ~(uint32_t)ISR_OVW); /* step 9 of the recovery clears that one */
        if (causes & (ISR_PTX | ISR_TXE)) {
            transmitted(causes & ISR_PTX);
            transmit(); /* makes room in the queue, which a recovery needs */
        }
        if (causes & ISR_CNT)
            nic_read_tallies();
        if (causes & ISR_RXE)
            nic_counters.receive_errors++;
        bool idle = causes == 0;
        if (causes & ISR_OVW) {
            /* With a full queue the frame on its way out comes first: a stop would have it begin anew, and nothing could be taken in. */
            if (queue_count < QUEUE)
                recover_from_overflow(take);
        } else if (queue_count < QUEUE && !ring_is_empty() && !broken) {
            receive_one(take);
            idle = false;
        }
        if (broken)
            restart();
        if (nic_counters.resets > RESETS_MAX)
            return false;
        transmit();
        if (idle)
            break;
    }
    out(IMR, CAUSES); /* what has come up since raises the line now */
    return true;
}
