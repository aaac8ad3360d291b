/* What first-light can be told to do besides mode=disk (blkfront/disk.h), the default: mode=console, spin, crash, triple-fault, ring-nonsense. */
#ifndef MODES_H
#define MODES_H

/* A prompt on the console that answers typed lines until `exit`. */
void console_mode(void);

/* Hands nonsense to Xen, xenstore and the back end, and prints what each answers. */
void nonsense_mode(void);

#endif
