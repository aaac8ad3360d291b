/* A front end's end of the xenbus (io/xenbus.h): the device's directories, both ends' states, and what the front end tells of itself. */
#ifndef XENBUS_H
#define XENBUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xen.h"

/* One device is in use at a time: its watch's token. */
#define XENBUS_TOKEN "backend-state"

struct xenbus_device {
    char frontend[64], backend[128], name[24];
    uint16_t backend_domain;
};

/* A node of the front end's directory: a text, or without one a number. */
struct xenbus_node {
    const char *name, *text;
    uint32_t number;
};

/* Finds `device/<kind>/<handle>` and its back end, watches that one's state; false when the toolstack has given no such device. */
bool xenbus_open(struct xenbus_device *device, const char *kind, uint32_t handle);

/* Our own state. */
void xenbus_switch(const struct xenbus_device *device, enum xenbus_state state);

/* The back end's state as it stands in xenstore, and a number of its directory. */
enum xenbus_state xenbus_backend_state(const struct xenbus_device *device);
uint32_t xenbus_backend_number(const struct xenbus_device *device, const char *node, uint32_t otherwise);

/* Sleeps until the back end's state is at least `wanted`; false when it closes, or is gone, instead of connecting. */
bool xenbus_wait(const struct xenbus_device *device, enum xenbus_state wanted);

/* Writes nodes and the state Initialised in one transaction, so that the back end never sees one without the others. */
void xenbus_publish(const struct xenbus_device *device, const struct xenbus_node *nodes, size_t count);

/* Closes both ends and takes the watch back; nothing may be in flight. */
void xenbus_close(const struct xenbus_device *device);

#endif
