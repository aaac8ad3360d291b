#include "xenstore.h"

#include "domain.h"
#include "events.h"
#include "hypercall.h"
#include "text.h"
#include "x86.h"

#define PATH_BYTES 256 /* our paths are below 64 characters */
#define FIRED_MAX 16   /* watch events not yet waited for; more of them mean no more than these do */

static struct xenstore_domain_interface *ring;
static evtchn_port_t port;
static uint32_t last_request;
static char body_buffer[XENSTORE_PAYLOAD_MAX + 1];
static char fired[FIRED_MAX][PATH_BYTES];
static uint32_t fired_count;

static const struct {
    const char *name;
    int32_t number;
} error_names[] = {
    { "ENOENT", XEN_ENOENT }, { "EAGAIN", XEN_EAGAIN }, { "EACCES", XEN_EACCES }, { "EINVAL", XEN_EINVAL },
    { "EEXIST", XEN_EEXIST }, { "ENOSYS", XEN_ENOSYS },
};

static void on_event(void *context)
{
    (void)context; /* waking up is all: the sleeper looks at the ring itself */
}

void xenstore_start(void)
{
    uint64_t frame, channel;
    if (hvm_get_param(HVM_PARAM_STORE_PFN, &frame) != 0 || hvm_get_param(HVM_PARAM_STORE_EVTCHN, &channel) != 0 || frame == 0)
        panic("the domain has no xenstore ring");
    ring = (struct xenstore_domain_interface *)((uint32_t)frame << PAGE_SHIFT);
    port = (evtchn_port_t)channel;
    event_bind(port, on_event, NULL);
}

static uint32_t request_room(void)
{
    return XENSTORE_RING_SIZE - (ring->req_prod - READ_ONCE(ring->req_cons));
}

static uint32_t reply_bytes(void)
{
    return READ_ONCE(ring->rsp_prod) - ring->rsp_cons;
}

static void send(const void *bytes, size_t length)
{
    const char *from = bytes;
    while (length > 0) {
        sleep_until(request_room() != 0);
        uint32_t room = request_room(), produced = ring->req_prod;
        if (room > XENSTORE_RING_SIZE)
            panic("xenstore's request index is wrong");
        for (; room > 0 && length > 0; room--, length--)
            ring->req[produced++ % XENSTORE_RING_SIZE] = *from++;
        barrier();
        WRITE_ONCE(ring->req_prod, produced);
        event_send(port);
    }
}

static void receive(void *bytes, size_t length)
{
    char *to = bytes;
    while (length > 0) {
        sleep_until(reply_bytes() != 0);
        uint32_t available = reply_bytes(), consumed = ring->rsp_cons;
        if (available > XENSTORE_RING_SIZE)
            panic("xenstore's reply index is wrong");
        barrier();
        for (; available > 0 && length > 0; available--, length--)
            *to++ = READ_ONCE(ring->rsp[consumed++ % XENSTORE_RING_SIZE]);
        full_barrier();
        WRITE_ONCE(ring->rsp_cons, consumed);
        event_send(port);
    }
}

/* Receives one message into body_buffer, NUL-terminated. A watch event's token is put aside. */
static struct xsd_sockmsg receive_message(void)
{
    struct xsd_sockmsg header;
    receive(&header, sizeof header);
    if (header.len > XENSTORE_PAYLOAD_MAX)
        panic("xenstore sent a message of %u bytes", header.len);
    receive(body_buffer, header.len);
    body_buffer[header.len] = 0;
    const char *token = body_buffer + strlen(body_buffer) + 1;
    if (header.type == XS_WATCH_EVENT && token < body_buffer + header.len && fired_count < FIRED_MAX)
        format(fired[fired_count++], PATH_BYTES, "%s", token);
    return header;
}

int32_t xs_request(uint32_t type, uint32_t transaction, const char *body, size_t length, char *reply, size_t size)
{
    struct xsd_sockmsg header = { type, ++last_request, transaction, length };
    send(&header, sizeof header);
    send(body, length);
    do
        header = receive_message();
    while (header.type == XS_WATCH_EVENT || header.req_id != last_request);
    if (header.type == XS_ERROR) {
        for (size_t i = 0; i < sizeof error_names / sizeof error_names[0]; i++)
            if (text_equal(body_buffer, error_names[i].name))
                return -error_names[i].number;
        return -XEN_EIO;
    }
    if (size > 0) {
        size_t count = header.len < size - 1 ? header.len : size - 1;
        memcpy(reply, body_buffer, count);
        reply[count] = 0;
        return (int32_t)count;
    }
    return 0;
}

int32_t xs_read(uint32_t transaction, const char *path, char *value, size_t size)
{
    return xs_request(XS_READ, transaction, path, strlen(path) + 1, value, size);
}

uint32_t xs_read_number(const char *directory, const char *node, uint32_t otherwise)
{
    char path[PATH_BYTES], text[16];
    const char *at = text;
    uint32_t value;
    format(path, sizeof path, "%s/%s", directory, node);
    if (xs_read(XS_NO_TRANSACTION, path, text, sizeof text) < 0 || !parse_u32(&at, &value) || *at != 0)
        return otherwise;
    return value;
}

int32_t xs_directory(const char *path, char *names, size_t size)
{
    return xs_request(XS_DIRECTORY, XS_NO_TRANSACTION, path, strlen(path) + 1, names, size);
}

int32_t xs_write(uint32_t transaction, const char *directory, const char *node, const char *value)
{
    char body[2 * PATH_BYTES];
    size_t path = format(body, sizeof body, "%s/%s", directory, node) + 1;
    size_t length = format(body + path, sizeof body - path, "%s", value); /* no NUL after the value */
    return xs_request(XS_WRITE, transaction, body, path + length, NULL, 0);
}

int32_t xs_write_number(uint32_t transaction, const char *directory, const char *node, uint32_t value)
{
    char text[12];
    format(text, sizeof text, "%u", value);
    return xs_write(transaction, directory, node, text);
}

uint32_t xs_transaction_start(void)
{
    char text[16];
    const char *at = text;
    uint32_t id;
    if (xs_request(XS_TRANSACTION_START, XS_NO_TRANSACTION, "", 1, text, sizeof text) < 0 || !parse_u32(&at, &id))
        panic("xenstore starts no transaction");
    return id;
}

int32_t xs_transaction_end(uint32_t transaction)
{
    return xs_request(XS_TRANSACTION_END, transaction, "T", 2, NULL, 0);
}

static int32_t watch_request(uint32_t type, const char *path, const char *token)
{
    char body[2 * PATH_BYTES];
    size_t length = format(body, sizeof body, "%s", path) + 1;
    length += format(body + length, sizeof body - length, "%s", token) + 1;
    return xs_request(type, XS_NO_TRANSACTION, body, length, NULL, 0);
}

void xs_watch(const char *path, const char *token)
{
    int32_t error = watch_request(XS_WATCH, path, token);
    if (error != 0)
        panic("cannot watch %s: error %d", path, error);
}

void xs_unwatch(const char *path, const char *token)
{
    watch_request(XS_UNWATCH, path, token);
    fired_count = 0;
}

bool xs_pending(void)
{
    return fired_count > 0 || reply_bytes() != 0;
}

void xs_wait(const char *token)
{
    for (;;) {
        bool found = false;
        for (uint32_t i = 0; i < fired_count; i++)
            found |= text_equal(fired[i], token);
        fired_count = 0;
        if (found)
            return;
        receive_message(); /* nothing is outstanding: what comes now is a watch event */
    }
}
