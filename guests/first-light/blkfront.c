#include "blkfront.h"

#include "../lib/console.h"
#include "../lib/hypercall.h"
#include "../lib/text.h"
#include "xenstore.h"

#define WATCH_TOKEN "backend-state"
/* A transaction that met somebody else's write is tried again; a toolstack writes a few nodes while a device connects, not hundreds. */
#define TRANSACTION_TRIES 16

/* One device is connected at a time, so the ring and the slots' pages are here. */
static uint8_t ring_page[PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));
static uint8_t data_pages[VBD_SLOTS][SLOT_BYTES] __attribute__((aligned(PAGE_SIZE)));

enum xenbus_state vbd_backend_state(const struct vbd *vbd)
{
    return (enum xenbus_state)xs_read_number(vbd->backend, "state", XenbusStateUnknown);
}

/* Waits, by the watch, until the back end's state is at least `wanted`. A state beyond Connected while connecting is a refusal. */
static void wait_for_backend(const struct vbd *vbd, enum xenbus_state wanted)
{
    for (;;) {
        enum xenbus_state state = vbd_backend_state(vbd);
        if (wanted <= XenbusStateConnected && state > XenbusStateConnected)
            panic("%s: the back end closes instead of connecting", vbd->name);
        if (state >= wanted)
            return;
        xs_wait(WATCH_TOKEN);
    }
}

static void switch_state(const struct vbd *vbd, enum xenbus_state state)
{
    int32_t error = xs_write_number(XS_NO_TRANSACTION, vbd->frontend, "state", state);
    if (error != 0)
        panic("%s: cannot set our state to %u: error %d", vbd->name, state, error);
}

/* Ring, event channel, protocol and the new state appear together, so that the back end never sees one without the others. */
static void publish(const struct vbd *vbd)
{
    for (int tries = 0; tries < TRANSACTION_TRIES; tries++) {
        uint32_t transaction = xs_transaction_start();
        int32_t error = xs_write_number(transaction, vbd->frontend, "ring-ref", vbd->ring_ref);
        if (error == 0)
            error = xs_write_number(transaction, vbd->frontend, "event-channel", vbd->port);
        if (error == 0)
            error = xs_write(transaction, vbd->frontend, "protocol", XEN_IO_PROTO_ABI_X86_32);
        if (error == 0)
            error = xs_write_number(transaction, vbd->frontend, "state", XenbusStateInitialised);
        if (error != 0)
            panic("%s: cannot publish the ring: error %d", vbd->name, error);
        error = xs_transaction_end(transaction);
        if (error == 0)
            return;
        if (error != -XEN_EAGAIN)
            panic("%s: the transaction failed: error %d", vbd->name, error);
    }
    panic("%s: xenstore was too busy for a transaction", vbd->name);
}

/* Takes every answer out of the ring; runs as the upcall's handler. What the back end wrote is copied before it is judged. */
static void on_event(void *context)
{
    struct vbd *vbd = context;
    for (;;) {
        uint32_t produced = READ_ONCE(vbd->ring->rsp_prod);
        barrier();
        if (produced - vbd->rsp_cons > vbd->in_flight)
            panic("%s: the back end answered %u requests, %u were in flight", vbd->name, produced - vbd->rsp_cons, vbd->in_flight);
        for (; vbd->rsp_cons != produced; vbd->rsp_cons++) {
            struct blkif_response response = vbd->ring->ring[vbd->rsp_cons % BLKIF_RING_SIZE].rsp;
            barrier();
            if (response.id >= VBD_SLOTS || vbd->slots[response.id].state != SLOT_IN_FLIGHT)
                panic("%s: an answer to a request that nobody made", vbd->name);
            struct vbd_slot *slot = &vbd->slots[response.id];
            slot->status = response.status;
            slot->state = SLOT_DONE;
            vbd->in_flight--;
            vbd->done++;
        }
        vbd->ring->rsp_event = vbd->rsp_cons + 1; /* tell us about the next one ... */
        full_barrier();
        if (READ_ONCE(vbd->ring->rsp_prod) == vbd->rsp_cons) /* ... unless it came just now (ring.h, RING_FINAL_CHECK) */
            return;
    }
}

void vbd_connect(struct vbd *vbd, uint32_t handle)
{
    char path[96];
    memset(vbd, 0, sizeof *vbd);
    vbd->handle = handle;
    format(vbd->frontend, sizeof vbd->frontend, "device/vbd/%u", handle);
    format(vbd->name, sizeof vbd->name, "vbd %u", handle);
    format(path, sizeof path, "%s/backend", vbd->frontend);
    if (xs_read(XS_NO_TRANSACTION, path, vbd->backend, sizeof vbd->backend) <= 0)
        panic("%s: no back end", vbd->name);
    vbd->backend_domain = (uint16_t)xs_read_number(vbd->frontend, "backend-id", 0);
    format(path, sizeof path, "%s/state", vbd->backend);
    xs_watch(path, WATCH_TOKEN);
    switch_state(vbd, XenbusStateInitialising);
    wait_for_backend(vbd, XenbusStateInitWait);

    char name[16];
    char dev[160];
    format(dev, sizeof dev, "%s/dev", vbd->backend);
    if (xs_read(XS_NO_TRANSACTION, dev, name, sizeof name) > 0)
        format(vbd->name, sizeof vbd->name, "%s", name);

    vbd->ring = (struct blkif_sring *)ring_page;
    memset(vbd->ring, 0, PAGE_SIZE);
    vbd->ring->req_event = vbd->ring->rsp_event = 1;
    vbd->ring_ref = grant_access(vbd->backend_domain, vbd->ring, false);
    vbd->port = event_alloc_unbound(vbd->backend_domain);
    publish(vbd);
    wait_for_backend(vbd, XenbusStateConnected);

    vbd->sectors = xs_read_number(vbd->backend, "sectors", 0);
    vbd->read_only = xs_read_number(vbd->backend, "info", 0) & VDISK_READONLY;
    vbd->can_flush = xs_read_number(vbd->backend, "feature-flush-cache", 0) == 1;
    vbd->can_discard = xs_read_number(vbd->backend, "feature-discard", 0) == 1;
    uint32_t sector_bytes = xs_read_number(vbd->backend, "sector-size", SECTOR_BYTES);
    if (sector_bytes != SECTOR_BYTES)
        panic("%s: sectors of %u bytes were not asked for", vbd->name, sector_bytes);
    event_bind(vbd->port, on_event, vbd);
    switch_state(vbd, XenbusStateConnected);
    print("%s: %u sectors of %u bytes%s, backend state Connected\n", vbd->name, vbd->sectors, sector_bytes,
          vbd->read_only ? ", read-only" : "");
}

void vbd_disconnect(struct vbd *vbd)
{
    switch_state(vbd, XenbusStateClosing);
    wait_for_backend(vbd, XenbusStateClosing);
    switch_state(vbd, XenbusStateClosed);
    wait_for_backend(vbd, XenbusStateClosed);
    char path[160];
    format(path, sizeof path, "%s/state", vbd->backend);
    xs_unwatch(path, WATCH_TOKEN);
    event_close(vbd->port);
    if (!grant_end_access(vbd->ring_ref))
        panic("%s: the back end closed and still holds the ring", vbd->name);
}

struct vbd_slot *vbd_take(struct vbd *vbd)
{
    for (uint32_t i = 0; i < VBD_SLOTS; i++)
        if (vbd->slots[i].state == SLOT_FREE) {
            memset(&vbd->slots[i], 0, sizeof vbd->slots[i]);
            vbd->slots[i].state = SLOT_TAKEN;
            return &vbd->slots[i];
        }
    return NULL;
}

uint8_t *vbd_data(const struct vbd *vbd, const struct vbd_slot *slot)
{
    return data_pages[slot - vbd->slots] + slot->offset;
}

void vbd_send(struct vbd *vbd, struct vbd_slot *slot)
{
    union blkif_sring_entry *entry = &vbd->ring->ring[vbd->req_prod_pvt++ % BLKIF_RING_SIZE];
    uint64_t id = (uint64_t)(slot - vbd->slots);
    slot->tries++;
    slot->segments = 0;
    if (slot->operation == BLKIF_OP_DISCARD) {
        entry->discard = (struct blkif_request_discard){ slot->operation, 0, (uint16_t)vbd->handle, id, slot->sector, slot->sectors };
    } else {
        struct blkif_request *request = &entry->req;
        uint32_t first = slot->offset / SECTOR_BYTES, left = slot->operation == BLKIF_OP_FLUSH_DISKCACHE ? 0 : slot->sectors;
        for (; left > 0; first = 0) {
            uint32_t count = SECTORS_PER_PAGE - first < left ? SECTORS_PER_PAGE - first : left, n = slot->segments++;
            const uint8_t *page = data_pages[id] + n * PAGE_SIZE;
            slot->refs[n] = grant_access(vbd->backend_domain, page, slot->operation == BLKIF_OP_WRITE);
            request->seg[n] = (struct blkif_request_segment){ slot->refs[n], (uint8_t)first, (uint8_t)(first + count - 1) };
            left -= count;
        }
        request->operation = slot->operation;
        request->nr_segments = (uint8_t)slot->segments;
        request->handle = (uint16_t)vbd->handle;
        request->id = id;
        request->sector_number = slot->sector;
    }
    interrupts_off();
    if (slot->state == SLOT_DONE)
        vbd->done--;
    slot->state = SLOT_IN_FLIGHT;
    if (++vbd->in_flight > vbd->most_in_flight)
        vbd->most_in_flight = vbd->in_flight;
    interrupts_on();
}

void vbd_push(struct vbd *vbd)
{
    uint32_t old = vbd->ring->req_prod, new = vbd->req_prod_pvt;
    barrier(); /* the requests are there before the index says so */
    WRITE_ONCE(vbd->ring->req_prod, new);
    full_barrier(); /* and the index before we look whether the back end waits for it */
    if (new - READ_ONCE(vbd->ring->req_event) < new - old)
        event_send(vbd->port);
}

struct vbd_slot *vbd_wait(struct vbd *vbd)
{
    sleep_until(vbd->done > 0);
    for (struct vbd_slot *slot = vbd->slots; slot < vbd->slots + VBD_SLOTS; slot++) {
        if (slot->state != SLOT_DONE)
            continue;
        for (; slot->segments > 0; slot->segments--)
            if (!grant_end_access(slot->refs[slot->segments - 1]))
                panic("%s: the back end answered and still holds a page", vbd->name);
        return slot;
    }
    panic("%s: an answered request went missing", vbd->name);
}

void vbd_release(struct vbd *vbd, struct vbd_slot *slot)
{
    interrupts_off();
    if (slot->state == SLOT_DONE)
        vbd->done--;
    slot->state = SLOT_FREE;
    interrupts_on();
}
