/*
 * Building one vector: seeded random numbers, operand values, instruction encoding with every ModRM and SIB form, and the
 * registers that make each memory operand fall into the data window.
 */
#ifndef VECTOR_H
#define VECTOR_H
#include "host.h"

#define VECTORS_A_FORM 300

/* Arithmetic flags. */
#define CF 0x001u
#define PF 0x004u
#define AF 0x010u
#define ZF 0x040u
#define SF 0x080u
#define DF 0x400u
#define OF 0x800u

/* FORM("name", count) { build one vector } */
#define FORM(name, count) for (form_begin(name, count); form_next();)
void form_begin(const char *name, u32 count);
int form_next(void);
void forms_end(void);
/* "add" + " r/m32, r32"; the result lives until the next call but three. */
const char *join(const char *a, const char *b);

u32 random32(void);
u32 below(u32 n);
int chance(u32 numerator, u32 denominator);
u32 value(u32 width);                   /* edge values and random ones, mixed; width in bytes */
u32 shift_count(void);                  /* 0 to 255, mostly near the operand widths */
u32 window_address(u32 size);           /* of `size` bytes, with room on both sides */

void set_register(u32 width, u32 number, u32 v);   /* width 1: AL CL DL BL AH CH DH BH */
void set_flags(u32 mask, u32 v);
void put_memory(u32 address, const void *bytes, u32 length);
void put_number(u32 address, u32 width, u32 v);
void use_stack(void);                   /* ESP points into the window and stays there */
u32 initial_register(u32 number);
u32 next_eip(u32 remaining);            /* address of the byte after the instruction when `remaining` bytes are still to come */

void byte(u32 b);
void immediate(u32 width, u32 v);

/* What an instruction with a ModRM operand may be. */
#define REGISTER_ONLY 1u
#define MEMORY_ONLY 2u
#define LOCKABLE 4u
#define TWO_BYTE 16u                    /* the opcode follows 0F */
/* Prefixes and opcode; decides between register and memory operand and between address sizes. */
void opcode(u32 width, u32 op, u32 kind);
int operand_is_memory(void);
/* ModRM, SIB and displacement: the reg field, and an operand of `width` bytes that holds v. */
void modrm(u32 reg, u32 width, u32 v);
/* The same for a memory operand at a given address, whose content is left alone. */
void modrm_at(u32 reg, u32 address);
/* The same, and the register named in the reg field takes no part in the address. */
void modrm_at_keeping(u32 reg, u32 address);
int address_is_16(void);

#endif
