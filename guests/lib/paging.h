/*
 * 32-bit paging (SDM vol. 3A 4.3), every linear address mapped to the same physical one: the first 4 MiB by 4 KiB pages with page 0
 * absent and the program's text and constants read-only (CR0.WP makes that hold for us too), the rest of the 4 GiB by 4 MiB pages.
 */
#ifndef PAGING_H
#define PAGING_H

#include <stdbool.h>

/* Turns paging on; false, with nothing changed, when the processor has no 4 MiB pages. */
bool paging_enable(void);

#endif
