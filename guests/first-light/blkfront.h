/*
 * The front end of a virtual block device (io/blkif.h, io/ring.h): connects over xenstore, keeps up to 32 requests of up to 11 segments
 * in flight, is told of responses by an interrupt. One page is granted for each segment and taken back with the response.
 */
#ifndef BLKFRONT_H
#define BLKFRONT_H

#include <stdbool.h>
#include <stdint.h>

#include "../lib/x86.h"
#include "../lib/xen.h"
#include "machine.h"

#define SECTOR_BYTES 512u
#define SECTORS_PER_PAGE (PAGE_SIZE / SECTOR_BYTES)
#define VBD_SLOTS BLKIF_RING_SIZE
#define SLOT_BYTES (BLKIF_MAX_SEGMENTS_PER_REQUEST * PAGE_SIZE)

enum slot_state {
    SLOT_FREE,
    SLOT_TAKEN,     /* being filled by the caller */
    SLOT_IN_FLIGHT, /* the back end has it */
    SLOT_DONE,      /* answered: look at status, then release or send again */
};

/* One request. Its data lie in its own pages, from byte `offset` on. */
struct vbd_slot {
    volatile enum slot_state state;
    int16_t status; /* BLKIF_RSP_... when done */
    uint8_t operation;
    uint64_t sector;
    uint32_t sectors; /* at most 88 - offset / 512 with data, any number for a discard */
    uint32_t offset;  /* below a page, a multiple of 512 */
    uint32_t tries;
    uint32_t segments;
    grant_ref_t refs[BLKIF_MAX_SEGMENTS_PER_REQUEST];
};

struct vbd {
    char frontend[64], backend[128], name[16];
    uint32_t handle; /* the virtual device's number, as in its xenstore name */
    uint16_t backend_domain;
    uint32_t sectors;
    bool read_only, can_flush, can_discard;
    struct blkif_sring *ring;
    grant_ref_t ring_ref;
    evtchn_port_t port;
    uint32_t req_prod_pvt, rsp_cons;
    volatile uint32_t in_flight, done; /* requests the back end has; requests answered and not yet looked at */
    uint32_t most_in_flight;
    struct vbd_slot slots[VBD_SLOTS];
};

/* Connects the device whose frontend directory is `device/vbd/<handle>`; panics when the back end does not come along. */
void vbd_connect(struct vbd *vbd, uint32_t handle);

/* Closes the device on both sides and takes ring and event channel back. */
void vbd_disconnect(struct vbd *vbd);

/* A free slot, or NULL when all are in use; its data pages are at vbd_data. */
struct vbd_slot *vbd_take(struct vbd *vbd);
uint8_t *vbd_data(const struct vbd *vbd, const struct vbd_slot *slot);

/* Puts a taken or done slot's request into the ring; the back end sees it with vbd_push. */
void vbd_send(struct vbd *vbd, struct vbd_slot *slot);

/* Shows the back end what vbd_send has put there, and notifies it if it asked for that. */
void vbd_push(struct vbd *vbd);

/* An answered slot, asleep until there is one; only while requests are in flight or answered. */
struct vbd_slot *vbd_wait(struct vbd *vbd);

/* Gives the slot back. */
void vbd_release(struct vbd *vbd, struct vbd_slot *slot);

/* The state of the back end as it stands in xenstore. */
enum xenbus_state vbd_backend_state(const struct vbd *vbd);

#endif
