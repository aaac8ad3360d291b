/* What first-light can be told to do: mode=disk (the default), console, spin, crash, triple-fault, ring-nonsense. */
#ifndef MODES_H
#define MODES_H

#include <stddef.h>
#include <stdint.h>

/* More disks than this are left alone; a domain of ours has one or two. */
#define DISKS_MAX 8

/* Finds the handles of all virtual block devices under device/vbd: their number, at most DISKS_MAX. */
uint32_t find_disks(uint32_t *handles);

/* Formats, writes, reads back and verifies every writable disk; reads the others. Options: sectors=N seed=N. */
void disk_mode(void);

/* A prompt on the console that answers typed lines until `exit`. */
void console_mode(void);

/* Hands nonsense to Xen, xenstore and the back end, and prints what each answers. */
void nonsense_mode(void);

#endif
