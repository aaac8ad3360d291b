/*
 * The front end of a virtual block device (io/blkif.h, io/ring.h): connects over xenstore, keeps as many requests in flight as the ring holds,
 * is told of responses by an interrupt. One page is granted for each segment and taken back with the response, or granted once and for all.
 */
#ifndef BLKFRONT_H
#define BLKFRONT_H

#include <stdbool.h>
#include <stdint.h>

#include "../lib/x86.h"
#include "../lib/xen.h"
#include "../lib/xenbus.h"

#define SECTOR_BYTES 512u
#define SECTORS_PER_PAGE (PAGE_SIZE / SECTOR_BYTES)
#define VBD_SLOTS 64u       /* requests in flight; a ring of one page holds 32 */
#define VBD_DATA_PAGES 448u /* for the data of all requests: with the rest of what is granted, what one frame of the grant table has */
#define VBD_SEGMENTS 14u    /* of one request: a share of those pages for each slot of a ring of one page */
#define VBD_RING_ORDER_MAX 2u

/* What the front end uses where the back end offers it too. */
struct vbd_features {
    bool persistent; /* pages stay granted, the back end may keep them mapped */
    bool indirect;   /* segments beyond the eleventh, listed in a page of their own */
    uint32_t ring_order;
};

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
    uint32_t sectors; /* at most request_sectors - offset / 512 with data, any number for a discard */
    uint32_t offset;  /* below a page, a multiple of 512 */
    uint32_t tries;
    uint32_t segments;
    grant_ref_t refs[VBD_SEGMENTS];
    uint32_t granted;         /* with persistent grants: so many of refs are in force */
    grant_ref_t indirect_ref; /* of the page of segments; in force when its index is not 0 */
};

struct vbd {
    struct xenbus_device bus;
    char name[16];   /* the back end's word for it: xvda */
    uint32_t handle; /* the virtual device's number, as in its xenstore name */
    uint32_t sectors;
    bool read_only, can_flush, can_discard;
    struct vbd_features features; /* those in use */
    uint32_t slot_count, slot_pages, request_sectors;
    struct blkif_sring *ring;
    uint32_t ring_size;
    grant_ref_t ring_refs[1 << VBD_RING_ORDER_MAX];
    evtchn_port_t port;
    uint32_t req_prod_pvt, rsp_cons;
    volatile uint32_t in_flight, done; /* requests the back end has; requests answered and not yet looked at */
    uint32_t most_in_flight;
    const char *volatile shut; /* what the back end did that it must not: nothing that it writes is looked at any more */
    struct vbd_slot slots[VBD_SLOTS];
};

/*
 * Connects the device whose frontend directory is `device/vbd/<handle>`, with those of the wanted features that the back end offers; false, with the
 * reason on the console, when the back end does not come along.
 */
bool vbd_connect(struct vbd *vbd, uint32_t handle, struct vbd_features wanted);

/* Closes the device on both sides and takes ring and event channel back. */
void vbd_disconnect(struct vbd *vbd);

/* A free slot, or NULL when all are in use; its data pages are at vbd_data. */
struct vbd_slot *vbd_take(struct vbd *vbd);
uint8_t *vbd_data(const struct vbd *vbd, const struct vbd_slot *slot);

/* Puts a taken or done slot's request into the ring; the back end sees it with vbd_push. */
void vbd_send(struct vbd *vbd, struct vbd_slot *slot);

/* Shows the back end what vbd_send has put there, and notifies it if it asked for that. */
void vbd_push(struct vbd *vbd);

/*
 * An answered slot, asleep until there is one; only while requests are in flight or answered. NULL when the device is shut, because the back end
 * broke the rules or closes: vbd_disconnect says so on the console, and what is in flight has failed.
 */
struct vbd_slot *vbd_wait(struct vbd *vbd);

/* Gives the slot back. */
void vbd_release(struct vbd *vbd, struct vbd_slot *slot);

#endif
