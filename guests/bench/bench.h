/* A benchmark guest: one workload and its facts. The figures come from counts.h, by name of the guest. */
#ifndef BENCH_H
#define BENCH_H

#include <stdint.h>

/* The measured work: its instructions depend on `rounds` alone. The result is a checksum of all that it computed. */
uint32_t bench_workload(uint32_t rounds);

/* measure.S. *ticks: how far the time-stamp counter went meanwhile. */
uint32_t measure(uint32_t rounds, uint64_t *ticks);

/* Folds a value into a running checksum. */
static inline uint32_t fold(uint32_t checksum, uint32_t value)
{
    return (checksum << 5 | checksum >> 27) * 0x9e3779b1u + value;
}

static inline uint32_t next_random(uint32_t *state)
{
    return *state = *state * 1664525u + 1013904223u; /* Numerical Recipes' generator */
}

#endif
