/*
 * A driver of the NE2000, on ISA or PCI. The interrupt handler only silences the card, by its mask register; all other accesses are
 * nic_service's, which runs with the mask closed and opens it when nothing is left to do. So nothing needs a lock, and the time that the
 * program takes for a frame fills the card's receive ring, as on a real machine.
 */
#ifndef NIC_H
#define NIC_H

#include <stdbool.h>
#include <stdint.h>

#define ADDRESS_BYTES 6
#define FRAME_MIN 60u
#define FRAME_MAX 1514u

struct nic_counters {
    uint32_t interrupts;
    uint32_t received, received_bytes; /* intact frames taken from the ring */
    uint32_t sent, sent_bytes;         /* transmitted without error, as the card says */
    uint32_t failed;                   /* given up by the card after collisions or an underrun */
    uint32_t lost;                     /* on the card when it had to be reset */
    uint32_t collisions;
    uint32_t receive_errors;           /* times that the card told of an error */
    uint32_t overflows, resent;        /* recoveries, and transmissions that those had cut off */
    uint32_t wraps;                    /* frames that lay across the end of the ring */
    uint32_t ring_errors;              /* headers in the ring that made no sense */
    uint32_t dma_errors;               /* remote DMA that did not complete */
    uint32_t resets;
    uint32_t alignment, crc, missed;   /* the card's tallies */
};

extern struct nic_counters nic_counters;

/* Takes a frame without check sequence; its memory is the driver's again afterwards. */
typedef void nic_frame_handler(const uint8_t *frame, uint32_t length);

/* Looks for a NE2000 with a 16-bit bus at these ports and reads its address; false when there is none. */
bool nic_find(uint16_t io, uint8_t address[ADDRESS_BYTES]);

/* Starts the card that nic_find found, its interrupts still masked. */
void nic_start(void);

/* The card's interrupt handler. */
void nic_interrupt(void);

/* True once for any number of interrupts, and at first; interrupts must be off. */
bool nic_needs_service(void);

/* The same without an interrupt, for frames to send when none is on its way that would end with one. */
void nic_wake(void);

/*
 * Hands all received frames to `take`, sends what can be sent, recovers from what went wrong, and opens the card's interrupt mask. Only
 * after nic_needs_service has said so: with the mask open an interrupt could come between any two accesses. False when the card had to be
 * reset so often that it cannot be working.
 */
bool nic_service(nic_frame_handler *take);

/* Room for FRAME_MAX bytes of the next frame to send, to be called from `take` or between services; NULL when the queue is full. */
uint8_t *nic_next_frame(void);

/* Queues what was written there; up to FRAME_MIN bytes it is filled up with zeros. */
void nic_send(uint32_t length);

/* Frames that are still to be sent. */
uint32_t nic_waiting(void);

/* Brings the tallies up to date; not from `take`. */
void nic_read_tallies(void);

#endif
