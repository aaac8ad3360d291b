#include "blkfront.h"

#include "../lib/console.h"
#include "../lib/domain.h"
#include "../lib/events.h"
#include "../lib/grants.h"
#include "../lib/hypercall.h"
#include "../lib/ring.h"
#include "../lib/text.h"
#include "../lib/xenstore.h"

/* One device is connected at a time, so the ring and the slots' pages are here. */
static uint8_t ring_pages[1 << VBD_RING_ORDER_MAX][PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));
static uint8_t data_pages[VBD_DATA_PAGES][PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));
static struct blkif_request_segment indirect_pages[BLKIF_RING_SIZE][PAGE_SIZE / sizeof(struct blkif_request_segment)]
    __attribute__((aligned(PAGE_SIZE)));

/* Takes every answer out of the ring; runs as the upcall's handler. What the back end wrote is copied before it is judged. */
static void on_event(void *context)
{
    struct vbd *vbd = context;
    do {
        uint32_t produced = ring_responses(&vbd->ring->sring);
        if (produced - vbd->rsp_cons > vbd->in_flight)
            vbd->shut = "answered more requests than were in flight";
        for (; vbd->shut == NULL && vbd->rsp_cons != produced; vbd->rsp_cons++) {
            struct blkif_response response;
            memcpy(&response, &vbd->ring->ring[vbd->rsp_cons % vbd->ring_size].rsp, sizeof response);
            if (response.id >= vbd->slot_count || vbd->slots[response.id].state != SLOT_IN_FLIGHT) {
                vbd->shut = "answered a request that is not in flight";
                break;
            }
            struct vbd_slot *slot = &vbd->slots[response.id];
            slot->status = response.status;
            slot->state = SLOT_DONE;
            vbd->in_flight--;
            vbd->done++;
        }
    } while (vbd->shut == NULL && ring_final_check(&vbd->ring->sring, vbd->rsp_cons));
}

/* What the back end offers of the features wanted, and the slots that there are then. */
static void negotiate(struct vbd *vbd, struct vbd_features wanted)
{
    uint32_t order = xenbus_backend_number(&vbd->bus, "max-ring-page-order", 0);
    struct vbd_features *use = &vbd->features;
    use->persistent = wanted.persistent && xenbus_backend_number(&vbd->bus, "feature-persistent", 0) == 1;
    use->indirect = wanted.indirect && xenbus_backend_number(&vbd->bus, "feature-max-indirect-segments", 0) >= VBD_SEGMENTS;
    use->ring_order = wanted.ring_order < order ? wanted.ring_order : order;
    vbd->ring_size = BLKIF_RING_SIZE << use->ring_order;
    vbd->slot_count = use->ring_order > 0 && !use->indirect ? VBD_SLOTS : BLKIF_RING_SIZE;
    vbd->slot_pages = VBD_DATA_PAGES / vbd->slot_count;
    if (!use->indirect && vbd->slot_pages > BLKIF_MAX_SEGMENTS_PER_REQUEST)
        vbd->slot_pages = BLKIF_MAX_SEGMENTS_PER_REQUEST;
    vbd->request_sectors = vbd->slot_pages * SECTORS_PER_PAGE;
}

static void publish(struct vbd *vbd)
{
    static const char *const ring_names[] = { "ring-ref0", "ring-ref1", "ring-ref2", "ring-ref3" };
    struct xenbus_node nodes[8];
    uint32_t count = 0, pages = 1u << vbd->features.ring_order;
    memset(ring_pages, 0, sizeof ring_pages);
    vbd->ring = (struct blkif_sring *)ring_pages;
    ring_init(&vbd->ring->sring);
    for (uint32_t i = 0; i < pages; i++) {
        vbd->ring_refs[i] = grant_access(vbd->bus.backend_domain, ring_pages[i], false);
        nodes[count++] = (struct xenbus_node){ pages == 1 ? "ring-ref" : ring_names[i], NULL, vbd->ring_refs[i] };
    }
    vbd->port = event_alloc_unbound(vbd->bus.backend_domain);
    nodes[count++] = (struct xenbus_node){ "event-channel", NULL, vbd->port };
    nodes[count++] = (struct xenbus_node){ "protocol", XEN_IO_PROTO_ABI_X86_32, 0 };
    if (pages > 1)
        nodes[count++] = (struct xenbus_node){ "ring-page-order", NULL, vbd->features.ring_order };
    if (vbd->features.persistent)
        nodes[count++] = (struct xenbus_node){ "feature-persistent", NULL, 1 };
    xenbus_publish(&vbd->bus, nodes, count);
}

static bool refuse(const struct vbd *vbd, const char *why)
{
    print("%s: the back end %s\n", vbd->name, why);
    return false;
}

bool vbd_connect(struct vbd *vbd, uint32_t handle, struct vbd_features wanted)
{
    memset(vbd, 0, sizeof *vbd);
    vbd->handle = handle;
    format(vbd->name, sizeof vbd->name, "vbd %u", handle);
    if (!xenbus_open(&vbd->bus, "vbd", handle))
        return refuse(vbd, "is not there");
    xenbus_switch(&vbd->bus, XenbusStateInitialising);
    if (!xenbus_wait(&vbd->bus, XenbusStateInitWait))
        return refuse(vbd, "closes instead of connecting");

    char name[16], dev[160];
    format(dev, sizeof dev, "%s/dev", vbd->bus.backend);
    if (xs_read(XS_NO_TRANSACTION, dev, name, sizeof name) > 0)
        format(vbd->name, sizeof vbd->name, "%s", name);
    negotiate(vbd, wanted);
    publish(vbd);
    bool connected = xenbus_wait(&vbd->bus, XenbusStateConnected);
    uint32_t sector_bytes = xenbus_backend_number(&vbd->bus, "sector-size", SECTOR_BYTES);
    if (!connected || sector_bytes != SECTOR_BYTES) {
        vbd_disconnect(vbd);
        return refuse(vbd, connected ? "has sectors of another size than 512 bytes" : "closes instead of connecting");
    }

    vbd->sectors = xenbus_backend_number(&vbd->bus, "sectors", 0);
    vbd->read_only = xenbus_backend_number(&vbd->bus, "info", 0) & VDISK_READONLY;
    vbd->can_flush = xenbus_backend_number(&vbd->bus, "feature-flush-cache", 0) == 1;
    vbd->can_discard = xenbus_backend_number(&vbd->bus, "feature-discard", 0) == 1;
    event_bind(vbd->port, on_event, vbd);
    xenbus_switch(&vbd->bus, XenbusStateConnected);
    print("%s: %u sectors of %u bytes%s, backend state Connected\n", vbd->name, vbd->sectors, sector_bytes,
          vbd->read_only ? ", read-only" : "");
    if (vbd->features.persistent || vbd->features.indirect || vbd->features.ring_order > 0)
        print("%s: ring of %u slots, %u segments a request%s\n", vbd->name, vbd->ring_size, vbd->slot_pages,
              vbd->features.persistent ? ", persistent grants" : "");
    return true;
}

/* Takes back what a slot has lent; the number of pages that the back end still holds, which stay granted. */
static uint32_t take_back(const struct vbd *vbd, struct vbd_slot *slot)
{
    uint32_t held = 0, count = vbd->features.persistent ? slot->granted : slot->segments;
    for (uint32_t i = count; i > 0; i--)
        held += !grant_end_access(slot->refs[i - 1]);
    slot->granted = slot->segments = 0;
    return held;
}

void vbd_disconnect(struct vbd *vbd)
{
    uint32_t held = 0;
    if (vbd->shut != NULL)
        print("%s: the back end %s: device shut\n", vbd->name, vbd->shut);
    xenbus_close(&vbd->bus);
    event_close(vbd->port);
    for (uint32_t i = 0; i < 1u << vbd->features.ring_order; i++)
        held += !grant_end_access(vbd->ring_refs[i]);
    for (struct vbd_slot *slot = vbd->slots; slot < vbd->slots + vbd->slot_count; slot++) {
        held += take_back(vbd, slot);
        if (slot->indirect_ref != 0)
            held += !grant_end_access(slot->indirect_ref);
    }
    if (held > 0)
        print("%s: the back end closed and still holds %u pages\n", vbd->name, held);
}

struct vbd_slot *vbd_take(struct vbd *vbd)
{
    for (struct vbd_slot *slot = vbd->slots; slot < vbd->slots + vbd->slot_count; slot++)
        if (slot->state == SLOT_FREE) {
            slot->tries = slot->offset = 0;
            slot->state = SLOT_TAKEN;
            return slot;
        }
    return NULL;
}

uint8_t *vbd_data(const struct vbd *vbd, const struct vbd_slot *slot)
{
    return data_pages[(uint32_t)(slot - vbd->slots) * vbd->slot_pages] + slot->offset;
}

/* Fills in the segments of a slot's data, with their pages granted: the number of segments. */
static uint32_t fill_segments(const struct vbd *vbd, struct vbd_slot *slot, struct blkif_request_segment *segments)
{
    const uint8_t *page = data_pages[(uint32_t)(slot - vbd->slots) * vbd->slot_pages];
    uint32_t count = 0, first = slot->offset / SECTOR_BYTES;
    for (uint32_t left = slot->sectors; left > 0; first = 0, page += PAGE_SIZE, count++) {
        uint32_t sectors = SECTORS_PER_PAGE - first < left ? SECTORS_PER_PAGE - first : left;
        bool persistent = vbd->features.persistent;
        if (!persistent || count == slot->granted) {
            slot->refs[count] = grant_access(vbd->bus.backend_domain, page, !persistent && slot->operation == BLKIF_OP_WRITE);
            slot->granted += persistent;
        }
        segments[count] = (struct blkif_request_segment){ slot->refs[count], (uint8_t)first, (uint8_t)(first + sectors - 1) };
        left -= sectors;
    }
    return count;
}

/*
 * Too many segments for a slot of the ring: they go into a page of their own, which stays granted; writable with persistent grants, since Linux's
 * back end maps all pages alike then.
 */
static void send_indirect(const struct vbd *vbd, struct vbd_slot *slot, uint64_t id, struct blkif_request_indirect *request)
{
    if (slot->indirect_ref == 0)
        slot->indirect_ref = grant_access(vbd->bus.backend_domain, indirect_pages[id], !vbd->features.persistent);
    slot->segments = fill_segments(vbd, slot, indirect_pages[id]);
    *request = (struct blkif_request_indirect){ BLKIF_OP_INDIRECT, slot->operation, (uint16_t)slot->segments, id, slot->sector,
                                                (uint16_t)vbd->handle, { slot->indirect_ref } };
}

void vbd_send(struct vbd *vbd, struct vbd_slot *slot)
{
    union blkif_sring_entry *entry = &vbd->ring->ring[vbd->req_prod_pvt++ % vbd->ring_size];
    uint64_t id = (uint64_t)(slot - vbd->slots);
    slot->tries++;
    slot->segments = 0;
    if (slot->operation == BLKIF_OP_DISCARD) {
        entry->discard = (struct blkif_request_discard){ slot->operation, 0, (uint16_t)vbd->handle, id, slot->sector, slot->sectors };
    } else if (slot->operation == BLKIF_OP_FLUSH_DISKCACHE) {
        entry->req = (struct blkif_request){ .operation = slot->operation, .handle = (uint16_t)vbd->handle, .id = id };
    } else if (slot->offset / SECTOR_BYTES + slot->sectors > BLKIF_MAX_SEGMENTS_PER_REQUEST * SECTORS_PER_PAGE) {
        send_indirect(vbd, slot, id, &entry->indirect);
    } else {
        struct blkif_request *request = &entry->req;
        slot->segments = fill_segments(vbd, slot, request->seg);
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
    if (ring_push(&vbd->ring->sring, vbd->req_prod_pvt))
        event_send(vbd->port);
}

/* Asleep until a request is answered, looking up when xenstore says that the back end's state has changed; false when the device is shut. */
static bool wait_for_answer(struct vbd *vbd)
{
    for (;;) {
        sleep_until(vbd->done > 0 || vbd->shut != NULL || xs_pending());
        if (vbd->shut != NULL || vbd->done > 0)
            return vbd->shut == NULL;
        xs_wait(XENBUS_TOKEN);
        if (xenbus_backend_state(&vbd->bus) != XenbusStateConnected)
            vbd->shut = "closes with requests in flight";
    }
}

struct vbd_slot *vbd_wait(struct vbd *vbd)
{
    if (!wait_for_answer(vbd))
        return NULL;
    struct vbd_slot *slot = vbd->slots;
    while (slot->state != SLOT_DONE) /* there is one: `done` counts them */
        slot++;
    if (!vbd->features.persistent && take_back(vbd, slot) > 0) {
        vbd->shut = "answered a request and still holds its pages";
        return NULL;
    }
    return slot;
}

void vbd_release(struct vbd *vbd, struct vbd_slot *slot)
{
    interrupts_off();
    if (slot->state == SLOT_DONE)
        vbd->done--;
    slot->state = SLOT_FREE;
    interrupts_on();
}
