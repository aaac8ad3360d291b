/*
 * The front end's side of a shared ring's header (io/ring.h). Indices run freely and wrap at 2^32. The back end may write to all of it at any
 * time: an index is fetched once and checked before it is believed.
 */
#ifndef RING_H
#define RING_H

#include <stdbool.h>
#include <stdint.h>

#include "x86.h"
#include "xen.h"

/* SHARED_RING_INIT, of pages that are zero. */
static inline void ring_init(struct sring *ring)
{
    ring->req_event = ring->rsp_event = 1;
}

/* Publishes the requests before index `produced`; does the back end ask to be told of one (RING_PUSH_REQUESTS_AND_CHECK_NOTIFY)? */
static inline bool ring_push(struct sring *ring, uint32_t produced)
{
    uint32_t before = ring->req_prod;
    barrier(); /* the requests are there before the index says so */
    WRITE_ONCE(ring->req_prod, produced);
    full_barrier(); /* and the index before we look whether the back end waits for it */
    return produced - READ_ONCE(ring->req_event) < produced - before;
}

/* Index behind the responses; what it says is no more than that somebody wrote it. */
static inline uint32_t ring_responses(struct sring *ring)
{
    uint32_t produced = READ_ONCE(ring->rsp_prod);
    barrier(); /* the responses are looked at after the index */
    return produced;
}

/* Asks to be told of the response at `consumed`; is it there by now (RING_FINAL_CHECK_FOR_RESPONSES)? */
static inline bool ring_final_check(struct sring *ring, uint32_t consumed)
{
    WRITE_ONCE(ring->rsp_event, consumed + 1);
    full_barrier();
    return READ_ONCE(ring->rsp_prod) != consumed;
}

#endif
