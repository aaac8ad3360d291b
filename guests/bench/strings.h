/*
 * The string instructions, one REP each. In a build with COUNT_REP they also keep the three counts that the note of measure.S states;
 * the images are built without. ECX is never 0.
 */
#ifndef STRINGS_H
#define STRINGS_H

#include <stdint.h>

#ifdef COUNT_REP
extern uint64_t rep_instructions, rep_iterations, rep_early_exits;
#define COUNTED(iterations, early) (rep_instructions++, rep_iterations += (iterations), rep_early_exits += (early))
#else
#define COUNTED(iterations, early) ((void)0)
#endif

static inline void rep_movsb(void *to, const void *from, uint32_t count)
{
    COUNTED(count, 0);
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count)::"memory");
}

static inline void rep_movsl(void *to, const void *from, uint32_t count)
{
    COUNTED(count, 0);
    __asm__ volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(count)::"memory");
}

static inline void rep_stosb(void *to, uint8_t value, uint32_t count)
{
    COUNTED(count, 0);
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(value) : "memory");
}

static inline void rep_stosl(void *to, uint32_t value, uint32_t count)
{
    COUNTED(count, 0);
    __asm__ volatile("rep stosl" : "+D"(to), "+c"(count) : "a"(value) : "memory");
}

/* How many of `count` bytes come before the first that equals `value`; count when none does. */
static inline uint32_t repne_scasb(const void *in, uint8_t value, uint32_t count)
{
    uint32_t left = count;
    uint8_t found;
    __asm__ volatile("repne scasb\n\tsete %2" : "+D"(in), "+c"(left), "=q"(found) : "a"(value) : "memory", "cc");
    COUNTED(count - left, found);
    return found ? count - left - 1 : count;
}

/* How many of `count` bytes at a and b are equal before the first difference; count when all are. */
static inline uint32_t repe_cmpsb(const void *a, const void *b, uint32_t count)
{
    uint32_t left = count;
    uint8_t differs;
    __asm__ volatile("repe cmpsb\n\tsetne %3" : "+S"(a), "+D"(b), "+c"(left), "=q"(differs)::"memory", "cc");
    COUNTED(count - left, differs);
    return differs ? count - left - 1 : count;
}

#endif
