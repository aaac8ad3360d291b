#include "xenbus.h"

#include "domain.h"
#include "text.h"
#include "xenstore.h"

/* A transaction that met somebody else's write is tried again; a toolstack writes a few nodes while a device connects, not hundreds. */
#define TRANSACTION_TRIES 16

static void state_path(const struct xenbus_device *device, char *path, size_t size)
{
    format(path, size, "%s/state", device->backend);
}

bool xenbus_open(struct xenbus_device *device, const char *kind, uint32_t handle)
{
    char path[160];
    format(device->frontend, sizeof device->frontend, "device/%s/%u", kind, handle);
    format(device->name, sizeof device->name, "%s %u", kind, handle);
    format(path, sizeof path, "%s/backend", device->frontend);
    if (xs_read(XS_NO_TRANSACTION, path, device->backend, sizeof device->backend) <= 0)
        return false;
    device->backend_domain = (uint16_t)xs_read_number(device->frontend, "backend-id", 0);
    state_path(device, path, sizeof path);
    xs_watch(path, XENBUS_TOKEN);
    return true;
}

void xenbus_switch(const struct xenbus_device *device, enum xenbus_state state)
{
    int32_t error = xs_write_number(XS_NO_TRANSACTION, device->frontend, "state", state);
    if (error != 0)
        panic("%s: cannot set our state to %u: error %d", device->name, state, error);
}

enum xenbus_state xenbus_backend_state(const struct xenbus_device *device)
{
    return (enum xenbus_state)xenbus_backend_number(device, "state", XenbusStateUnknown);
}

uint32_t xenbus_backend_number(const struct xenbus_device *device, const char *node, uint32_t otherwise)
{
    return xs_read_number(device->backend, node, otherwise);
}

bool xenbus_wait(const struct xenbus_device *device, enum xenbus_state wanted)
{
    for (;;) {
        enum xenbus_state state = xenbus_backend_state(device);
        if (wanted <= XenbusStateConnected && state > XenbusStateConnected)
            return false;
        if (state >= wanted || state == XenbusStateUnknown)
            return state >= wanted;
        xs_wait(XENBUS_TOKEN);
    }
}

void xenbus_publish(const struct xenbus_device *device, const struct xenbus_node *nodes, size_t count)
{
    for (int tries = 0; tries < TRANSACTION_TRIES; tries++) {
        uint32_t transaction = xs_transaction_start();
        int32_t error = 0;
        for (size_t i = 0; i < count && error == 0; i++)
            error = nodes[i].text != NULL ? xs_write(transaction, device->frontend, nodes[i].name, nodes[i].text)
                                          : xs_write_number(transaction, device->frontend, nodes[i].name, nodes[i].number);
        if (error == 0)
            error = xs_write_number(transaction, device->frontend, "state", XenbusStateInitialised);
        if (error != 0)
            panic("%s: cannot publish the ring: error %d", device->name, error);
        error = xs_transaction_end(transaction);
        if (error == 0)
            return;
        if (error != -XEN_EAGAIN)
            panic("%s: the transaction failed: error %d", device->name, error);
    }
    panic("%s: xenstore was too busy for a transaction", device->name);
}

void xenbus_close(const struct xenbus_device *device)
{
    char path[160];
    xenbus_switch(device, XenbusStateClosing);
    xenbus_wait(device, XenbusStateClosing);
    xenbus_switch(device, XenbusStateClosed);
    xenbus_wait(device, XenbusStateClosed);
    state_path(device, path, sizeof path);
    xs_unwatch(path, XENBUS_TOKEN);
}
