/* The command line, from whichever boot protocol started us: NAME=VALUE words between spaces. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Keeps a copy of the command line (at most 511 characters) of what EBX pointed at on entry: hvm_start_info, told by its magic, or else
 * the multiboot information; NULL is an empty command line.
 */
void options_read(const void *boot_information);

/* The command line as it was given. */
const char *options_line(void);

/* The text behind NAME=, up to the end of the command line; NULL when the option is not given. */
const char *option_text(const char *name);

/* True when the command line holds `name=value`. */
bool option_is(const char *name, const char *value);

/* A number option; false when it is given and its value is not a number. Without the option *value stays. */
bool option_number(const char *name, uint32_t *value);

/* An IPv4 address option as a number, first byte highest; false when it is given and its value is none. Without the option *ip stays. */
bool option_ip(const char *name, uint32_t *ip);

/* Is this the end of an option's value? */
bool option_ends(const char *at);

#endif
