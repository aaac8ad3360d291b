/*
 * A program for any PC, with Xen underneath or not. Under Xen the text goes to the console ring if the domain has one, and the end is a
 * shutdown. Elsewhere it goes to the serial port and the debug port, and the end is a write to QEMU's isa-debug-exit (port 0xf4: 0 right,
 * 1 wrong), then HLT with interrupts off.
 */
#ifndef PROGRAM_H
#define PROGRAM_H

#include <stdbool.h>

/* Reads the options, opens the console, loads the descriptor tables. Takes what EBX pointed at on entry (options.h). */
void program_start(const void *boot_information);

/* Does not return. */
void program_end(bool right);

#endif
