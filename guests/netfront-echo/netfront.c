#include "netfront.h"

#include "../lib/console.h"
#include "../lib/domain.h"
#include "../lib/events.h"
#include "../lib/grants.h"
#include "../lib/hypercall.h"
#include "../lib/ring.h"
#include "../lib/text.h"
#include "../lib/xenstore.h"

#define IP_PROTOCOL 9u
#define PROTOCOL_UDP 17
#define UDP_CHECKSUM 6u

/* There is one interface, so its pages are here. */
static uint8_t ring_pages[2][PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));
static uint8_t tx_pages[NET_BUFFERS][PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));
static uint8_t rx_pages[NET_BUFFERS][PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));
static uint8_t frame[FRAME_MAX];

/* ---- life ---- */

static bool refuse(const struct netfront *net, const char *why)
{
    print("%s: the back end %s: interface shut\n", net->bus.name, why);
    return false;
}

/* What the back end must not do: from now on nothing that it writes is looked at. */
static bool shut(struct netfront *net, const char *why)
{
    net->shut = true;
    return refuse(net, why);
}

static void on_event(void *context)
{
    struct netfront *net = context;
    net->event = true;
    net->counters.upcalls++;
}

/* Six bytes in hexadecimal between colons. */
static bool read_address(struct netfront *net)
{
    char path[96], text[24];
    format(path, sizeof path, "%s/mac", net->bus.frontend);
    if (xs_read(XS_NO_TRANSACTION, path, text, sizeof text) != 17)
        return false;
    for (uint32_t i = 0; i < 17; i++) {
        char c = text[i];
        uint32_t digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : 16;
        if (i % 3 == 2 ? c != ':' : digit > 15)
            return false;
        if (i % 3 != 2)
            net->address[i / 3] = (uint8_t)(net->address[i / 3] << 4 | digit);
    }
    return true;
}

static void post(struct netfront *net, uint16_t number)
{
    uint32_t slot = net->rx_prod++ % NETIF_RING_SIZE;
    net->posted[slot] = number;
    net->rx->ring[slot].req = (struct netif_rx_request){ number, 0, net->rx_refs[number] };
}

static void notify(const struct netfront *net, struct sring *ring, uint32_t produced)
{
    if (ring->req_prod != produced && ring_push(ring, produced))
        event_send(net->port);
}

static void publish(struct netfront *net)
{
    uint16_t to = net->bus.backend_domain;
    memset(ring_pages, 0, sizeof ring_pages);
    net->tx = (struct netif_tx_sring *)ring_pages[0];
    net->rx = (struct netif_rx_sring *)ring_pages[1];
    ring_init(&net->tx->sring);
    ring_init(&net->rx->sring);
    net->ring_refs[0] = grant_access(to, net->tx, false);
    net->ring_refs[1] = grant_access(to, net->rx, false);
    net->port = event_alloc_unbound(to);
    event_bind(net->port, on_event, net);
    for (uint16_t i = 0; i < NET_BUFFERS; i++) {
        net->tx_refs[i] = grant_access(to, tx_pages[i], true);
        net->rx_refs[i] = grant_access(to, rx_pages[i], false);
        net->free_ids[net->free_count++] = i;
        post(net, i);
    }
    ring_push(&net->rx->sring, net->rx_prod); /* nobody is there to be told */
    const struct xenbus_node nodes[] = {
        { "tx-ring-ref", NULL, net->ring_refs[0] }, { "rx-ring-ref", NULL, net->ring_refs[1] },
        { "event-channel", NULL, net->port },       { "request-rx-copy", NULL, 1 },
        { "feature-rx-notify", NULL, 1 },           { "feature-sg", NULL, 1 },
    };
    xenbus_publish(&net->bus, nodes, sizeof nodes / sizeof nodes[0]);
}

bool netfront_connect(struct netfront *net, uint32_t handle)
{
    memset(net, 0, sizeof *net);
    if (!xenbus_open(&net->bus, "vif", handle)) {
        print("%s: there is no such interface\n", net->bus.name);
        return false;
    }
    if (!read_address(net))
        return refuse(net, "gives no station address");
    xenbus_switch(&net->bus, XenbusStateInitialising);
    if (!xenbus_wait(&net->bus, XenbusStateInitWait))
        return refuse(net, "closes instead of connecting");
    if (xenbus_backend_number(&net->bus, "feature-rx-copy", 0) != 1)
        return refuse(net, "does not offer to receive by copy");
    publish(net);
    if (!xenbus_wait(&net->bus, XenbusStateConnected)) {
        netfront_disconnect(net);
        return refuse(net, "closes instead of connecting");
    }
    xenbus_switch(&net->bus, XenbusStateConnected);
    print("%s: address %02x:%02x:%02x:%02x:%02x:%02x, backend state Connected\n", net->bus.name, net->address[0], net->address[1],
          net->address[2], net->address[3], net->address[4], net->address[5]);
    return true;
}

/* A page that the back end still holds stays granted, and is not used any more: there is no second life. */
void netfront_disconnect(struct netfront *net)
{
    uint32_t held = 0;
    xenbus_close(&net->bus);
    event_close(net->port);
    for (uint32_t i = 0; i < 2; i++)
        held += !grant_end_access(net->ring_refs[i]);
    for (uint32_t i = 0; i < NET_BUFFERS; i++)
        held += !grant_end_access(net->tx_refs[i]) + !grant_end_access(net->rx_refs[i]);
    if (held > 0)
        print("%s: the back end closed and still holds %u pages\n", net->bus.name, held);
}

/* ---- sending ---- */

uint32_t netfront_frames_waiting(const struct netfront *net)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < NET_BUFFERS; i++)
        count += net->holds[i] == HOLDS_BEGINNING;
    return count;
}

bool netfront_send(struct netfront *net, const uint8_t *bytes, uint32_t length)
{
    uint32_t count = (length + PAGE_SIZE - 1) / PAGE_SIZE;
    if (length < FRAME_HEADER || length > FRAME_MAX || net->shut || net->free_count < count)
        return false;
    for (uint32_t i = 0, left = length; i < count; i++) {
        uint16_t id = net->free_ids[--net->free_count], size = (uint16_t)(left < PAGE_SIZE ? left : PAGE_SIZE);
        memcpy(tx_pages[id], bytes + i * PAGE_SIZE, size);
        left -= size;
        net->holds[id] = i == 0 ? HOLDS_BEGINNING : HOLDS_PART;
        net->lengths[id] = length;
        net->tx->ring[net->tx_prod++ % NETIF_RING_SIZE].req = (struct netif_tx_request){
            .gref = net->tx_refs[id], .flags = left > 0 ? NETTXF_more_data : 0, .id = id, .size = i == 0 ? (uint16_t)length : size
        };
    }
    net->counters.sent_slots += count;
    return true;
}

/* Takes the answers out of the transmit ring; sets *again when more have come meanwhile. */
static bool take_sent(struct netfront *net, bool *again)
{
    uint32_t produced = ring_responses(&net->tx->sring);
    if (produced - net->tx_cons > net->tx_prod - net->tx_cons)
        return shut(net, "answered more transmit requests than there were");
    for (; net->tx_cons != produced; net->tx_cons++) {
        struct netif_tx_response response;
        memcpy(&response, &net->tx->ring[net->tx_cons % NETIF_RING_SIZE].rsp, sizeof response);
        if (response.status == NETIF_RSP_NULL)
            return shut(net, "answered extra info that was not sent");
        if (response.id >= NET_BUFFERS || net->holds[response.id] == HOLDS_NOTHING)
            return shut(net, "answered a transmit request that is not in flight");
        if (net->holds[response.id] == HOLDS_BEGINNING && response.status == NETIF_RSP_OKAY) {
            net->counters.sent++;
            net->counters.sent_bytes += net->lengths[response.id];
        } else if (net->holds[response.id] == HOLDS_BEGINNING) {
            net->counters.failed++;
        }
        net->holds[response.id] = HOLDS_NOTHING;
        net->free_ids[net->free_count++] = response.id;
    }
    *again |= ring_final_check(&net->tx->sring, net->tx_cons);
    return true;
}

/* ---- receiving ---- */

/*
 * The checksum of a frame that never left the machine may be blank (NETRXF_csum_blank): it holds the sum of the pseudo header alone. Of a UDP
 * datagram we make that "none" (RFC 768).
 */
static void clear_blank_checksum(uint32_t length)
{
    uint32_t checksum = FRAME_HEADER + (frame[FRAME_HEADER] & 15u) * 4 + UDP_CHECKSUM;
    if (frame[12] == 0x08 && frame[13] == 0x00 && frame[FRAME_HEADER + IP_PROTOCOL] == PROTOCOL_UDP && checksum + 2 <= length)
        frame[checksum] = frame[checksum + 1] = 0;
}

/* Copies a slot's bytes behind those of the slots before; false when the response cannot be. */
static bool keep(struct netfront *net, const struct netif_rx_response *response, uint16_t number)
{
    if (response->id != number)
        return shut(net, "answered a receive request out of turn");
    if (!net->in_frame) {
        net->in_frame = true;
        net->length = net->slots = 0;
        net->is_damaged = false;
        net->in_extras = response->flags & NETRXF_extra_info;
        net->is_blank = response->flags & NETRXF_csum_blank;
    }
    uint32_t size = response->status < 0 ? 0 : (uint32_t)response->status;
    if (size > PAGE_SIZE || response->offset > PAGE_SIZE - size)
        return shut(net, "received more than a page holds");
    if (++net->slots > XEN_NETIF_NR_SLOTS_MIN + 1)
        return shut(net, "received a frame in too many slots");
    if (size > FRAME_MAX - net->length)
        return shut(net, "received a frame that is too long");
    memcpy(frame + net->length, rx_pages[number] + response->offset, size);
    net->length += size;
    net->is_damaged |= response->status < 0;
    net->more_data = response->flags & NETRXF_more_data;
    net->counters.received_slots++;
    return true;
}

static void deliver(struct netfront *net, net_receiver *receive)
{
    net->in_frame = false;
    if (net->is_damaged || net->length < FRAME_HEADER) {
        net->counters.damaged++;
        return;
    }
    if (net->is_blank)
        clear_blank_checksum(net->length);
    net->counters.received++;
    net->counters.received_bytes += net->length;
    receive(frame, net->length);
}

/* Takes what has come, and posts its pages again. A frame is not begun while there is no room for the longest answer. */
static bool take_received(struct netfront *net, net_receiver *receive, bool *again)
{
    uint32_t produced = ring_responses(&net->rx->sring);
    if (produced - net->rx_cons > net->rx_prod - net->rx_cons)
        return shut(net, "answered more receive requests than there were");
    for (; net->rx_cons != produced && (net->in_frame || net->free_count >= FRAME_PAGES); net->rx_cons++) {
        uint32_t slot = net->rx_cons % NETIF_RING_SIZE;
        uint16_t number = net->posted[slot];
        if (net->in_extras) {
            net->in_extras = READ_ONCE(net->rx->ring[slot].extra.flags) & XEN_NETIF_EXTRA_FLAG_MORE;
            net->counters.extras++;
        } else {
            struct netif_rx_response response;
            memcpy(&response, &net->rx->ring[slot].rsp, sizeof response);
            if (!keep(net, &response, number))
                return false;
        }
        post(net, number);
        if (!net->in_extras && !net->more_data)
            deliver(net, receive);
    }
    if (net->rx_cons == produced)
        *again |= ring_final_check(&net->rx->sring, net->rx_cons);
    return true;
}

bool netfront_service(struct netfront *net, net_receiver *receive)
{
    bool again = true;
    while (again && !net->shut) {
        again = net->event = false;
        if (!take_sent(net, &again) || !take_received(net, receive, &again))
            break;
        notify(net, &net->rx->sring, net->rx_prod);
        notify(net, &net->tx->sring, net->tx_prod);
    }
    return !net->shut;
}
