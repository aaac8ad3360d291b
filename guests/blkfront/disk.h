/* The disk workload, and where the disks are found. */
#ifndef DISK_H
#define DISK_H

#include <stdint.h>

/* More disks than this are left alone; a domain of ours has one or two. */
#define DISKS_MAX 8

/* Finds the handles of all virtual block devices under device/vbd: their number, at most DISKS_MAX. */
uint32_t find_disks(uint32_t *handles);

/* Formats, writes, reads back and verifies every writable disk; reads the others. Options: sectors=N seed=N features=... */
void disk_mode(void);

#endif
