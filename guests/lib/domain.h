/*
 * What the guests that need Xen stand on: Xen found, paging on, event channels delivered by the callback that the command line names
 * (callback=vector, gsi or intx), the grant table and shared_info mapped.
 */
#ifndef DOMAIN_H
#define DOMAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "xen.h"

/* Brings all of it up, says so on the console. Ends the domain with a message, behind the program's name, when something is missing. */
void domain_start(const char *program, const struct hvm_start_info *start);

/* The value of a number option `name=N` on the command line, else `otherwise`. */
uint32_t number_option(const char *name, uint32_t otherwise);

/* Says why and ends the domain as crashed. */
void panic(const char *pattern, ...) __attribute__((format(printf, 1, 2), noreturn));

#endif
