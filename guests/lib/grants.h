/* The grant table (grant_table.h), version 1, one frame of it: 504 references of our own. */
#ifndef GRANTS_H
#define GRANTS_H

#include <stdbool.h>
#include <stdint.h>

#include "xen.h"

/* Maps the table at guest frame `frame`; panics when Xen refuses. */
void grants_start(uint32_t frame);

/* Lets domain `to` access the page; the reference to hand out. Panics when all are in use. */
grant_ref_t grant_access(uint16_t to, const void *page, bool read_only);

/* Takes the access back; false, and nothing changed, while the other domain still has the page mapped. */
bool grant_end_access(grant_ref_t ref);

#endif
