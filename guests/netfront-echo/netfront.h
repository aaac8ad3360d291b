/*
 * The front end of a virtual network interface (io/netif.h, io/ring.h): connects over xenstore, is told of responses by an event, receives by
 * copy. Frames of up to 65,535 bytes go through in several slots, both ways. The pages of frames are granted once; frames are copied into them and
 * out of them. Nothing that the back end writes is believed: what cannot be shuts the interface, with a line on the console.
 */
#ifndef NETFRONT_H
#define NETFRONT_H

#include <stdbool.h>
#include <stdint.h>

#include "../lib/x86.h"
#include "../lib/xen.h"
#include "../lib/xenbus.h"

#define FRAME_MAX XEN_NETIF_MAX_TX_SIZE
#define FRAME_HEADER 14u
#define FRAME_PAGES ((FRAME_MAX + PAGE_SIZE - 1) / PAGE_SIZE)
#define NET_BUFFERS 64u /* pages of each direction: four of the longest frames */

struct net_counters {
    uint32_t upcalls, received, received_bytes, received_slots, extras, damaged, sent, sent_bytes, sent_slots, failed;
};

/* What a page for sending holds. */
enum net_holds { HOLDS_NOTHING, HOLDS_BEGINNING, HOLDS_PART };

struct netfront {
    struct xenbus_device bus;
    uint8_t address[6];
    evtchn_port_t port;
    grant_ref_t ring_refs[2];
    volatile bool event; /* the back end has notified us since the rings were looked at */
    bool shut;           /* the back end has broken the rules */
    struct net_counters counters;

    struct netif_tx_sring *tx;
    uint32_t tx_prod, tx_cons;
    grant_ref_t tx_refs[NET_BUFFERS];
    uint16_t free_ids[NET_BUFFERS];
    uint32_t free_count;
    enum net_holds holds[NET_BUFFERS];
    uint32_t lengths[NET_BUFFERS]; /* of the frame that begins there */

    struct netif_rx_sring *rx;
    uint32_t rx_prod, rx_cons;
    grant_ref_t rx_refs[NET_BUFFERS];
    uint16_t posted[NETIF_RING_SIZE]; /* by slot: the page that was posted there */
    uint32_t length, slots;           /* of the frame whose last slot has not come */
    bool in_frame, in_extras, is_damaged, is_blank, more_data;
};

/* Connects `device/vif/<handle>`; false, with the reason on the console, when that cannot be done. */
bool netfront_connect(struct netfront *net, uint32_t handle);

/* A frame that has come, at least a header long; it may be answered by netfront_send, which has room for one frame then. */
typedef void net_receiver(const uint8_t *frame, uint32_t length);

/* Takes everything out of both rings, and shows the back end what there is for it. False when the interface is shut. */
bool netfront_service(struct netfront *net, net_receiver *receive);

/* Puts a frame of 14 to 65,535 bytes into the ring; false when there is no room. The back end sees it at the end of netfront_service. */
bool netfront_send(struct netfront *net, const uint8_t *frame, uint32_t length);

/* Frames that the back end has not answered yet. */
uint32_t netfront_frames_waiting(const struct netfront *net);

/* Closes the interface on both sides and takes all pages back. */
void netfront_disconnect(struct netfront *net);

#endif
