/* A client of xenstore over the domain's ring (io/xs_wire.h): one request at a time, asleep while waiting. */
#ifndef XENSTORE_H
#define XENSTORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Outside of a transaction. */
#define XS_NO_TRANSACTION 0

/* Finds the ring and binds its event channel. Panics when the domain has none. */
void xenstore_start(void);

/*
 * One request as raw message: type, `length` bytes of body. The reply's body is put into reply (cut at size - 1, NUL-terminated) and its
 * length returned, or a negative errno.
 */
int32_t xs_request(uint32_t type, uint32_t transaction, const char *body, size_t length, char *reply, size_t size);

/* The value at `path` into `value` (cut, NUL-terminated): its length or a negative errno (-2: no such node). */
int32_t xs_read(uint32_t transaction, const char *path, char *value, size_t size);

/* The value of `directory/node` as a decimal number, or `otherwise` when it is missing or no number. */
uint32_t xs_read_number(const char *directory, const char *node, uint32_t otherwise);

/* The children of `path`, NUL-terminated names one after the other: their total length or a negative errno. */
int32_t xs_directory(const char *path, char *names, size_t size);

/* Sets directory/node. 0 or a negative errno. */
int32_t xs_write(uint32_t transaction, const char *directory, const char *node, const char *value);
int32_t xs_write_number(uint32_t transaction, const char *directory, const char *node, uint32_t value);

/* The id of a new transaction (panics on failure), and its end: 0, or -11 (EAGAIN) when somebody else changed what it read or wrote. */
uint32_t xs_transaction_start(void);
int32_t xs_transaction_end(uint32_t transaction);

/* Is there a message of xenstore's that nobody has looked at? Of a sleeper's condition. */
bool xs_pending(void);

/* A watch fires once at once and then on every change below the path. One watch at a time: xs_wait sleeps until it has fired. */
void xs_watch(const char *path, const char *token);
void xs_unwatch(const char *path, const char *token);
void xs_wait(const char *token);

#endif
