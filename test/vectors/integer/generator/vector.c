/* See vector.h; the file format is described in ../README.md. */
#include "vector.h"

#define SEED 0x52494e47u
#define FORMAT_VERSION 1u

/* sfc32 (Chris Doty-Humphrey, PractRand). */
static u32 sa = SEED, sb = 0x9e3779b9u, sc = 0x243f6a88u, counter = 1;
u32 random32(void) {
  u32 t = sa + sb + counter++;
  sa = sb ^ (sb >> 9);
  sb = sc + (sc << 3);
  sc = ((sc << 21) | (sc >> 11)) + t;
  return t;
}
u32 below(u32 n) { return (u32)(((u64)random32() * n) >> 32); }
int chance(u32 numerator, u32 denominator) { return below(denominator) < numerator; }

static u32 mask_of(u32 width) { return width == 4 ? 0xffffffffu : (1u << (width * 8)) - 1; }

u32 value(u32 width) {
  u32 bits = width * 8, top = 1u << (bits - 1);
  switch (below(12)) {
    case 0: return 0;
    case 1: return 1;
    case 2: return mask_of(width);
    case 3: return top;
    case 4: return top - 1;
    case 5: return 1u << below(bits);
    case 6: return below(16);
    case 7: return (0u - below(16)) & mask_of(width);
    default: return random32() & mask_of(width);
  }
}

u32 shift_count(void) {
  static const u8 edges[] = {0, 1, 2, 7, 8, 9, 10, 15, 16, 17, 18, 24, 27, 31, 32, 33, 64, 255};
  if (chance(1, 2)) return edges[below(sizeof edges)];
  return chance(1, 4) ? below(256) : below(32);
}

/* The vector being built. */
static const char *form_name;
static u32 form_left;
static int pending;
static u8 code[24];
static u32 code_length;
static struct state initial;
static u8 window[WINDOW_SIZE];          /* initial content of the window */
static struct piece { u32 address, length; } pieces[8];
static u32 piece_count;
static int stack_form, memory_operand, address16;

/* Registers that take no part hold these, so that a disturbed one shows. */
static const u32 idle[8] = {0x1a2b3c4d, 0x5e6f7081, 0x92a3b4c5, 0xd6e7f809, WINDOW + 0x2000, 0x1b2c3d4e, 0x5f607182, 0x93a4b5c6};

static u8 output[48u << 20];
static u32 output_length;
static void out8(u32 v) { output[output_length++] = (u8)v; }
static void out16(u32 v) { out8(v), out8(v >> 8); }
static void out32(u32 v) { out16(v), out16(v >> 16); }

u32 initial_register(u32 number) { return initial.gpr[number]; }
u32 next_eip(u32 remaining) { return CODE + code_length + remaining; }

void set_register(u32 width, u32 number, u32 v) {
  u32 index = width == 1 ? number & 3 : number, shift = width == 1 ? (number >> 2) * 8 : 0, mask = mask_of(width) << shift;
  if (stack_form && index == ESP) return;
  initial.gpr[index] = (initial.gpr[index] & ~mask) | ((v << shift) & mask);
}
void set_flags(u32 mask, u32 v) { initial.eflags = (initial.eflags & ~mask) | (v & mask); }

u32 window_address(u32 size) {
  if (stack_form && chance(1, 3)) return initial.gpr[ESP] + 16 + below(100);
  return WINDOW + 0x1000 + below(WINDOW_SIZE - 0x2000 - size);
}

void put_memory(u32 address, const void *bytes, u32 length) {
  const u8 *b = bytes;
  if (address < WINDOW || address + length > WINDOW + WINDOW_SIZE || piece_count == 8 || length > 255)
    host_fail("memory piece outside the window", form_name);
  for (u32 i = 0; i < length; i++) window[address - WINDOW + i] = b[i];
  pieces[piece_count].address = address, pieces[piece_count++].length = length;
}
void put_number(u32 address, u32 width, u32 v) { put_memory(address, &v, width); }

void use_stack(void) {
  stack_form = 1;
  initial.gpr[ESP] = WINDOW + 0x2000 + (chance(1, 4) ? below(64) : below(16) * 4);
}

void byte(u32 b) { code[code_length++] = (u8)b; }
void immediate(u32 width, u32 v) {
  while (width--) byte(v), v >>= 8;
}

void opcode(u32 width, u32 op, u32 kind) {
  memory_operand = kind & MEMORY_ONLY ? 1 : kind & REGISTER_ONLY ? 0 : chance(1, 2);
  address16 = memory_operand && chance(1, 6);
  if (memory_operand && kind & LOCKABLE && chance(1, 12)) byte(0xf0);
  static const u8 flat_overrides[] = {0x26, 0x36, 0x3e};
  if (memory_operand && chance(1, 16)) byte(flat_overrides[below(3)]);
  if (width == 2) byte(0x66);
  if (address16) byte(0x67);
  if (kind & TWO_BYTE) byte(0x0f);
  byte(op);
}
int operand_is_memory(void) { return memory_operand; }
int address_is_16(void) { return address16; }

/* SDM Vol. 2, table 2-1: 16-bit addressing forms. -1: no register. */
static void modrm16(u32 reg, u32 target) {
  static const signed char base[8] = {EBX, EBX, EBP, EBP, ESI, EDI, EBP, EBX};
  static const signed char index[8] = {ESI, EDI, ESI, EDI, -1, -1, -1, -1};
  u32 mod = below(3), rm = below(8), displacement = mod == 1 ? (u32)(s32)(signed char)random32() : mod == 2 ? random32() : 0;
  byte(mod << 6 | reg << 3 | rm);
  if (mod == 0 && rm == 6) {
    immediate(2, target);
    return;
  }
  u32 rest = target - displacement;
  if (index[rm] >= 0) {
    u32 v = random32();
    set_register(2, (u32)index[rm], v);
    rest -= v;
  }
  set_register(2, (u32)base[rm], rest);
  immediate(mod, displacement);
}

/* SDM Vol. 2, tables 2-2 and 2-3: 32-bit addressing forms with SIB. */
static void modrm32(u32 reg, u32 target) {
  u32 mod, rm, scale = 0, index = 4, base, has_base, fixed_base;
  for (;;) {
    mod = below(3), rm = chance(1, 3) ? 4 : below(8), scale = 0, index = 4, base = rm;
    if (rm == 4) scale = below(4), index = below(8), base = below(8);
    has_base = !(mod == 0 && base == 5);
    if (has_base && base == index && index != 4 && mod != 2) continue;  /* only a free displacement can reach the target */
    fixed_base = stack_form && has_base && base == ESP;
    if (fixed_base && (index != 4 || mod == 0 || (mod == 1 && target - initial.gpr[ESP] > 127))) continue;
    break;
  }
  u32 displacement = mod == 1 ? (u32)(s32)(signed char)random32() : mod == 2 ? (chance(1, 2) ? random32() : below(64)) : 0;
  if (index != 4) set_register(4, index, chance(1, 2) ? random32() : below(64));
  u32 scaled = index == 4 ? 0 : initial.gpr[index] << scale;
  if (!has_base) displacement = target - scaled;
  else if ((base == index && index != 4) || fixed_base) displacement = target - initial.gpr[base] - scaled;
  else set_register(4, base, target - displacement - scaled);
  byte(mod << 6 | reg << 3 | rm);
  if (rm == 4) byte(scale << 6 | index << 3 | base);
  if (mod == 1) byte(displacement);
  else if (mod == 2 || !has_base) immediate(4, displacement);
}

void modrm_at(u32 reg, u32 address) {
  if (address16) modrm16(reg, address);
  else modrm32(reg, address);
}

void modrm_at_keeping(u32 reg, u32 address) {
  struct state before = initial;
  u32 length = code_length;
  do {
    initial = before;
    code_length = length;
    modrm_at(reg, address);
  } while (initial.gpr[reg] != before.gpr[reg]);
}

void modrm(u32 reg, u32 width, u32 v) {
  if (!memory_operand) {
    u32 rm = below(8);
    set_register(width, rm, v);
    byte(0xc0 | reg << 3 | rm);
    return;
  }
  u32 target = window_address(width);
  put_number(target, width, v);
  modrm_at(reg, target);
}

/* The window's content where a vector says nothing else; load.ts has the same formula. */
static u8 background(u32 address) { return (u8)((address * 0x9d) ^ (address >> 5)); }

static void emit_state_change(const struct state *from, const struct state *to) {
  u32 changed = 0;
  for (u32 i = 0; i < 8; i++)
    if (from->gpr[i] != to->gpr[i]) changed |= 1u << i;
  out8(changed);
  for (u32 i = 0; i < 8; i++)
    if (changed & 1u << i) out32(to->gpr[i]);
}

static void emit_pieces(const u8 *content, const struct piece *list, u32 count) {
  out8(count);
  for (u32 i = 0; i < count; i++) {
    out16(list[i].address);
    out8(list[i].length);
    for (u32 k = 0; k < list[i].length; k++) out8(content[list[i].address - WINDOW + k]);
  }
}

#define MAX_CHANGES 64
static void take(void) {
  u8 *live = (u8 *)WINDOW, *at = (u8 *)CODE;
  for (u32 i = 0; i < WINDOW_SIZE; i++) live[i] = window[i];
  for (u32 i = 0; i < code_length; i++) at[i] = code[i];
  struct outcome outcome;
  host_run(&initial, &outcome);
  for (u32 i = 0; i < code_length; i++) at[i] = 0xcc;
  if (outcome.exception == 14) host_fail("the generator built an access outside the window", form_name);

  struct state at_rest;
  for (u32 i = 0; i < 8; i++) at_rest.gpr[i] = idle[i];
  out8(code_length);
  for (u32 i = 0; i < code_length; i++) out8(code[i]);
  emit_state_change(&at_rest, &initial);
  out16(initial.eflags);
  emit_pieces(window, pieces, piece_count);
  emit_state_change(&initial, &outcome.state);
  out32(outcome.state.eip);
  out16(outcome.state.eflags);
  if (outcome.state.eflags >> 16) host_fail("unexpected high flags", form_name);
  struct piece changes[MAX_CHANGES];
  u32 count = 0;
  for (u32 i = 0; i < WINDOW_SIZE; i++) {
    if (live[i] == window[i]) continue;
    if (count && changes[count - 1].address + changes[count - 1].length == WINDOW + i && changes[count - 1].length < 255) {
      changes[count - 1].length++;
      continue;
    }
    if (count == MAX_CHANGES) host_fail("too many changes in memory", form_name);
    changes[count].address = WINDOW + i, changes[count++].length = 1;
  }
  emit_pieces(live, changes, count);
  out8((u32)outcome.exception);
  if (outcome.exception >= 0) out16(outcome.error_code);

  for (u32 i = 0; i < piece_count; i++)
    for (u32 k = 0; k < pieces[i].length; k++) window[pieces[i].address - WINDOW + k] = background(pieces[i].address + k);
}

void form_begin(const char *name, u32 count) {
  u32 length = 0;
  while (name[length]) length++;
  form_name = name;
  form_left = count;
  out8(length);
  for (u32 i = 0; i < length; i++) out8((u8)name[i]);
  out16(count);
}

int form_next(void) {
  if (pending) take();
  pending = form_left > 0;
  if (!pending) return 0;
  form_left--;
  code_length = piece_count = 0;
  stack_form = memory_operand = address16 = 0;
  for (u32 i = 0; i < 8; i++) initial.gpr[i] = idle[i];
  initial.eip = CODE;
  initial.eflags = 0x202 | (random32() & (CF | PF | AF | ZF | SF | OF)) | (chance(1, 8) ? DF : 0);
  return 1;
}

void forms_end(void) {
  out8(0);
  host_write(output, output_length);
}

const char *join(const char *a, const char *b) {
  static char names[4][64];
  static u32 turn;
  char *name = names[turn++ & 3], *p = name;
  while (*a) *p++ = *a++;
  while (*b) *p++ = *b++;
  *p = 0;
  return name;
}

static void emit_header(void) {
  out8('R'), out8('B'), out8('I'), out8('V');
  out16(FORMAT_VERSION);
  out32(SEED);
  out32(WINDOW), out32(WINDOW_SIZE), out32(CODE);
  for (u32 i = 0; i < 8; i++) out32(idle[i]);
}

void forms_arithmetic(void);
void forms_data(void);
void forms_bits(void);
void forms_control(void);
void forms_strings(void);
void forms_exceptions(void);

__asm__(".text\n.globl _start\n_start:\n\tand $-16, %esp\n\tcall generate\n");

__attribute__((used)) void generate(void) {
  host_prepare();
  for (u32 i = 0; i < WINDOW_SIZE; i++) window[i] = background(WINDOW + i);
  emit_header();
  forms_arithmetic();
  forms_data();
  forms_bits();
  forms_control();
  forms_strings();
  forms_exceptions();
  forms_end();
  host_exit(0);
}
