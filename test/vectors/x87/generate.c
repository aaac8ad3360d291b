/*
 * Takes x87 vectors on the processor it runs on: 64-bit Linux on any x86 processor, no arguments.
 *
 *   gcc -O1 -Wall -Wextra -o /tmp/generate-x87 generate.c && /tmp/generate-x87 | gzip -9n > x87.bin.gz
 *
 * Every vector is: FRSTOR of a complete register image, one instruction, FNSAVE of a complete register image. FNSAVE does not
 * wait, so an unmasked exception raised by the instruction is seen in the status word and never trapped. A pending exception
 * in the initial status word is trapped (SIGFPE) by a waiting instruction and recorded as exception 16.
 * The operands come from a generator of fixed seed: the same program gives the same inputs everywhere.
 * The format of the output is described in README.md.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

typedef struct { uint64_t significand; uint16_t sign_exponent; } __attribute__((packed)) extended;

/* The 32-bit protected-mode FSAVE image (SDM Vol. 1, figure 8-9) and two slots used by the thunk. */
typedef struct {
  uint32_t control, status, tags, fip, fcs_fop, fdp, fds;
  extended st[8];
  uint32_t unused, flags, eax;
} __attribute__((packed)) image;

static uint64_t seed = 0x5265636f72642121ull;
static uint64_t random64(void) { /* xorshift64* */
  seed ^= seed >> 12; seed ^= seed << 25; seed ^= seed >> 27;
  return seed * 2685821657736338717ull;
}
static uint32_t below(uint32_t n) { return (uint32_t)((random64() >> 32) % n); }
static int percent(uint32_t p) { return below(100) < p; }

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const extended specials[] = {
  {0, 0x0000}, {0, 0x8000},                                              /* zeros */
  {1, 0x0000}, {1, 0x8000}, {0x7fffffffffffffff, 0}, {0x0000000100000000, 0x8000}, {0x4000000000000000, 0}, /* denormals */
  {0x8000000000000000, 0x0000}, {0xffffffffffffffff, 0x8000}, {0xc000000000000001, 0x0000},               /* pseudo-denormals */
  {0x8000000000000000, 0x0001}, {0x8000000000000001, 0x0001}, {0xffffffffffffffff, 0x8001},               /* least normals */
  {0x8000000000000000, 0x3fff}, {0x8000000000000000, 0xbfff}, {0x8000000000000001, 0x3fff}, {0xffffffffffffffff, 0x3ffe},
  {0x8000000000000000, 0x4000}, {0xc000000000000000, 0x4000}, {0xa000000000000000, 0x4002}, {0x8000000000000000, 0x3ffe},
  {0x8000000000000000, 0xbffe}, {0xc000000000000000, 0x3fff}, {0xa000000000000000, 0x4000}, {0xc000000000000000, 0xbffe},
  {0xffffffffffffffff, 0x7ffe}, {0xffffffffffffffff, 0xfffe}, {0x8000000000000000, 0x7ffe}, {0xfffffffffffff800, 0x7ffe},
  {0xffffff0000000000, 0x7ffe},                                          /* greatest finite, per precision */
  {0x8000000000000000, 0x7fff}, {0x8000000000000000, 0xffff},            /* infinities */
  {0xc000000000000000, 0x7fff}, {0xc000000000000000, 0xffff}, {0xc000000000001234, 0x7fff}, {0xffffffffffffffff, 0xffff},
  {0xc123456789abcdef, 0xffff}, {0xc123456789abcdef, 0x7fff},            /* quiet NaNs */
  {0x8000000000000001, 0x7fff}, {0xa000000000001234, 0xffff}, {0xbfffffffffffffff, 0x7fff}, {0x8123456789abcdef, 0xffff},
  {0x8000010000000000, 0x7fff},                                          /* signalling NaNs */
  {0x0000000000000000, 0x7fff}, {0x0000000000000001, 0xffff}, {0x4000000000000000, 0x7fff},               /* pseudo-infinity, pseudo-NaNs */
  {0x0000000000000000, 0x3fff}, {0x7fffffffffffffff, 0x3fff}, {0x4000000000000000, 0xc000}, {0x1, 0x7ffe}, /* unnormals */
  {0xfffe000000000000, 0x400d}, {0xffff000000000000, 0x400d}, {0x8000000000000000, 0xc00e}, {0x8000800000000000, 0xc00e}, /* around 2^15 */
  {0xfffffffe00000000, 0x401d}, {0xffffffff00000000, 0x401d}, {0x8000000000000000, 0xc01e}, {0x8000000080000000, 0xc01e}, /* around 2^31 */
  {0x8000000000000000, 0x401e}, {0xfffffffffffffffe, 0x403d}, {0xffffffffffffffff, 0x403d}, {0x8000000000000000, 0xc03e},
  {0x8000000000000001, 0xc03e}, {0x8000000000000000, 0x403e}, {0x8000000000000000, 0x4060},               /* around 2^63 */
  {0xde0b6b3a763fffff, 0x403a}, {0xde0b6b3a76400000, 0x403a}, {0xde0b6b3a763ffff0, 0xc03a}, {0xde0b6b3a763ffff8, 0x403a}, /* around 10^18 */
  {0xffffff0000000000, 0x407e}, {0xffffff7fffffffff, 0x407e}, {0xffffff8000000000, 0x407e}, {0xffffff8000000001, 0xc07e}, /* greatest float32 */
  {0xfffffffffffff800, 0x43fe}, {0xfffffffffffffbff, 0x43fe}, {0xfffffffffffffc00, 0x43fe}, {0x8000000000000000, 0xc3ff}, /* greatest float64 */
  {0x8000000000000000, 0x3f81}, {0xffffff0000000000, 0x3f80}, {0xffffff8000000000, 0x3f80}, {0xffffff7fffffffff, 0xbf80}, /* least normal float32 */
  {0x8000000000000000, 0x3f6a}, {0x8000000000000000, 0x3f69}, {0x8000000000000001, 0xbf69}, {0x8000000000000000, 0x3f00}, /* least float32 */
  {0x8000000000000000, 0x3c01}, {0xfffffffffffff800, 0x3c00}, {0xfffffffffffffc00, 0x3c00}, {0xfffffffffffffbff, 0xbc00}, /* least normal float64 */
  {0x8000000000000000, 0x3bcd}, {0x8000000000000000, 0x3bcc}, {0x8000000000000001, 0xbbcc}, {0x8000000000000000, 0x3b00}, /* least float64 */
};

static uint64_t random_significand(void) {
  uint64_t s = random64();
  switch (below(6)) {
    case 0: s &= ~0ull << below(64); break;
    case 1: s |= ~0ull >> below(63); break;
    case 2: s = 1ull << below(64) | 1ull << below(64); break;
    case 3: s &= 0xffffff0000000000ull | (below(2) ? 0x8000000000ull : 0); break;
    case 4: s &= 0xfffffffffffff800ull | (below(2) ? 0x400ull : 0); break;
    default: break;
  }
  return s | 1ull << 63;
}
static extended random_finite(void) {
  extended e;
  uint32_t exponent;
  switch (below(8)) {
    case 0: exponent = 1 + below(0x7ffe); break;
    case 1: exponent = 1 + below(70); break;
    case 2: exponent = 0x7ffe - below(70); break;
    case 3: exponent = 0x3fff - 130 + below(260); break;
    default: exponent = 0x3fff - 8 + below(72); break;
  }
  e.significand = random_significand();
  e.sign_exponent = (uint16_t)(exponent | below(2) << 15);
  if (percent(3)) { e.sign_exponent &= 0x8000; e.significand >>= 1 + below(63); }
  return e;
}
static extended any_extended(void) {
  if (percent(35)) return specials[below(COUNT(specials))];
  return random_finite();
}
/* A second operand, often close to the first in exponent, or such that product or quotient meets the limits of the range. */
static extended any_partner(extended a) {
  if (percent(45)) return any_extended();
  extended b = random_finite();
  int32_t exponent = a.sign_exponent & 0x7fff;
  switch (below(5)) {
    case 0: exponent += (int32_t)below(5) - 2; break;
    case 1: exponent += (int32_t)below(140) - 70; break;
    case 2: exponent = 0x3fff - exponent + (int32_t)below(140) - 70; break;                /* product at the lower limit */
    case 3: exponent = 0x3ffe + 0x7fff - exponent + (int32_t)below(8) - 4; break;          /* product at the upper limit */
    default: exponent = exponent < 0x3fff ? exponent + 0x3fff + (int32_t)below(70) - 4     /* quotient at either limit */
                                          : exponent - 0x3fff + (int32_t)below(8) - 4; break;
  }
  if (exponent < 1 || exponent > 0x7ffe) return b;
  b.sign_exponent = (uint16_t)(exponent | below(2) << 15);
  if (percent(10)) b.significand = a.significand;
  return b;
}

enum operand { NONE, F32, F64, F80, I16, I32, I64, BCD, CW, RAW };

static void any_memory(enum operand kind, uint8_t *out, size_t length) {
  for (size_t i = 0; i < length; i++) out[i] = (uint8_t)random64();
  if (kind == F32) {
    static const uint32_t values[] = {0, 0x80000000, 1, 0x807fffff, 0x00400000, 0x00800000, 0x7f7fffff, 0x7f800000, 0xff800000, 0x7fc00000,
      0xffc01234, 0x7f800001, 0xffbfffff, 0x3f800000, 0xbf800000, 0x40000000, 0x3f000000};
    uint32_t v = percent(50) ? values[below(COUNT(values))] : (uint32_t)random64();
    if (percent(20)) v = (v & 0x807fffff) | (127 - 20 + below(40)) << 23;
    memcpy(out, &v, 4);
  } else if (kind == F64) {
    static const uint64_t values[] = {0, 0x8000000000000000, 1, 0x800fffffffffffff, 0x0008000000000000, 0x0010000000000000, 0x7fefffffffffffff,
      0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000000, 0xfff8000000001234, 0x7ff0000000000001, 0xfff7ffffffffffff,
      0x3ff0000000000000, 0xbff0000000000000, 0x4000000000000000, 0x3fe0000000000000};
    uint64_t v = percent(50) ? values[below(COUNT(values))] : random64();
    if (percent(20)) v = (v & 0x800fffffffffffff) | (uint64_t)(1023 - 20 + below(40)) << 52;
    memcpy(out, &v, 8);
  } else if (kind == F80) {
    extended e = any_extended();
    memcpy(out, &e, 10);
  } else if (kind == I16 || kind == I32 || kind == I64) {
    uint64_t v = percent(30) ? (uint64_t)((int64_t)below(5) - 2) : (uint64_t)((int64_t)random64() >> below(64));
    if (percent(10)) v = kind == I16 ? 0x8000 : kind == I32 ? 0x80000000 : 0x8000000000000000;
    memcpy(out, &v, length);
  } else if (kind == BCD) {
    for (int i = 0; i < 9; i++) out[i] = (uint8_t)(below(10) << 4 | below(10));
    if (percent(30)) memset(out + below(9), 0, 1);
    if (percent(10)) memset(out, 0, 9);
    if (percent(5)) memset(out, 0x99, 9);
    out[9] = (uint8_t)(below(2) << 7);
  } else if (kind == CW) {
    if (percent(60)) out[1] &= 0x0f, out[0] |= 0x7f;
  }
}

static uint8_t *code;
static uint8_t memory[512] __attribute__((aligned(64)));
static image machine __attribute__((aligned(64)));
static sigjmp_buf escape;
static volatile int exception;

static void on_signal(int number) {
  exception = number == SIGILL ? 6 : number == SIGFPE ? 16 : 255;
  siglongjmp(escape, 1);
}

/* rdi: memory operand, rsi: register image in and out, rdx: flags, rcx: eax */
static void assemble(const uint8_t *instruction, size_t length) {
  static const uint8_t before[] = {0x89, 0xc8, 0xdd, 0x26, 0x52, 0x9d};                        /* mov eax,ecx; frstor [rsi]; push rdx; popf */
  static const uint8_t after[] = {0x9c, 0x41, 0x58, 0xdd, 0x36, 0x44, 0x89, 0x46, 0x70,         /* pushf; pop r8; fnsave [rsi]; mov [rsi+112],r8d */
                                  0x89, 0x46, 0x74, 0xfc, 0xc3};                                /* mov [rsi+116],eax; cld; ret */
  uint8_t *p = code;
  memcpy(p, before, sizeof before); p += sizeof before;
  memcpy(p, instruction, length); p += length;
  memcpy(p, after, sizeof after);
}
static void run(uint32_t flags, uint32_t eax) {
  exception = 0;
  if (sigsetjmp(escape, 1) == 0) ((void (*)(void *, void *, uint64_t, uint64_t))code)(memory, &machine, flags, eax);
  else __asm__ volatile("fninit");
}

static uint8_t occupied(const image *m) { /* bit i: ST(i)'s physical register i is not empty */
  uint8_t bits = 0;
  for (int i = 0; i < 8; i++) if ((m->tags >> (2 * i) & 3) != 3) bits |= (uint8_t)(1 << i);
  return bits;
}

static void put(const void *bytes, size_t length) { fwrite(bytes, 1, length, stdout); }
static void put_difference(const void *a, const void *b, size_t length) {
  for (size_t i = 0; i < length; i++) putchar(((const uint8_t *)a)[i] ^ ((const uint8_t *)b)[i]);
}

struct form { uint8_t bytes[4]; uint8_t length; enum operand kind; uint16_t memory; uint16_t count; uint8_t push; };

static void emit(struct form form) {
  static uint8_t before[512];
  assemble(form.bytes, form.length);
  putchar(form.length); put(form.bytes, form.length);
  put(&form.memory, 2); put(&form.count, 2);
  for (int n = 0; n < form.count; n++) {
    memset(&machine, 0, sizeof machine);
    uint32_t masks = percent(65) ? 0x3f : percent(50) ? 0x3f & ~(1u << below(6)) : below(64);
    uint32_t precision = percent(60) ? 3 : percent(95) ? below(2) * 2 : 1;
    machine.control = 0xffff0040 | masks | precision << 8 | below(4) << 10;
    uint32_t sticky = percent(70) ? 0 : below(64) & masks, top = percent(80) ? 0 : below(8);
    if (percent(2)) sticky = below(64);
    machine.status = 0xffff0000 | sticky | (percent(5) ? 0x40 : 0) | (uint32_t)below(8) << 8 | (uint32_t)below(2) << 14 | top << 11;
    if (sticky & ~masks) machine.status |= 0x8080;
    uint32_t used = form.push ? 0x7f : 0xff;           /* by ST index */
    if (percent(7)) used = below(256);
    machine.tags = 0xffff0000;
    for (uint32_t i = 0; i < 8; i++) if (!(used >> i & 1)) machine.tags |= 3u << 2 * ((top + i) & 7);
    for (int i = 2; i < 8; i++) machine.st[i] = specials[13 + i];
    machine.st[0] = any_extended();
    machine.st[1] = any_partner(machine.st[0]);
    memset(memory, 0, sizeof memory);
    if (form.kind == RAW && form.memory >= 94) memcpy(memory, &machine, 108);
    any_memory(form.kind, memory, form.kind == RAW ? (form.memory > 28 ? 6 : form.memory) : form.memory);
    if (form.memory == 160) { uint32_t mxcsr = 0x1f80; memcpy(memory + 24, &mxcsr, 4); memset(memory + 28, 0, 4); memory[5] = 0; }
    if (form.memory == 108) { memory[4] = memory[8]; memory[5] = memory[3]; memory[8] = (uint8_t)random64(); memory[9] = (uint8_t)random64(); }
    memcpy(before, memory, form.memory);
    image in = machine;
    uint16_t flags = (uint16_t)(0x202 | (below(2) ? 0x8d5 & (uint32_t)random64() : 0)), eax = 0x5aa5;
    run(flags, eax);
    uint16_t words[] = {(uint16_t)in.control, (uint16_t)in.status, occupied(&in), flags};
    put(words, sizeof words); put(in.st, 80); put(before, form.memory);
    putchar(exception);
    if (exception) continue;
    uint16_t results[] = {(uint16_t)machine.control, (uint16_t)machine.status, (uint16_t)machine.tags, (uint16_t)machine.flags};
    put(results, sizeof results); put_difference(machine.st, in.st, 80); put_difference(memory, before, form.memory);
    put(&machine.eax, 2);
  }
}

static void emit_memory(uint8_t opcode, uint8_t digit, enum operand kind, uint16_t length, uint16_t count, uint8_t push) {
  emit((struct form){{opcode, (uint8_t)(digit << 3 | 7)}, 2, kind, length, count, push});
}
static void emit_register(uint8_t opcode, uint8_t modrm, uint16_t count, uint8_t push) {
  emit((struct form){{opcode, modrm}, 2, NONE, 0, count, push});
}

int main(void) {
  static uint8_t stack[1 << 16];
  stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
  sigaltstack(&alternate, NULL);
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK | SA_NODEFER};
  sigaction(SIGFPE, &action, NULL); sigaction(SIGILL, &action, NULL); sigaction(SIGSEGV, &action, NULL);
  code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (code == MAP_FAILED) { perror("mmap"); return 1; }

  put("X87V1\n", 6);
  /* Which encodings exist: exception 0 or 6 for D8..DF, first modrm C0..FF, then the eight memory forms. */
  for (int opcode = 0xd8; opcode <= 0xdf; opcode++) {
    for (int slot = 0; slot < 72; slot++) {
      uint8_t bytes[] = {(uint8_t)opcode, (uint8_t)(slot < 64 ? 0xc0 + slot : (slot - 64) << 3 | 7)};
      memset(&machine, 0, sizeof machine); memset(memory, 0, sizeof memory);
      machine.control = 0x37f; machine.tags = 0x5555; memory[0] = 0x7f; memory[1] = 3;
      assemble(bytes, 2); run(0x202, 0); putchar(exception);
    }
  }

  for (uint8_t digit = 0; digit < 8; digit++) {
    uint16_t few = digit == 2 || digit == 3 ? 250 : 400;
    emit_register(0xd8, (uint8_t)(0xc1 | digit << 3), digit == 2 || digit == 3 ? 400 : 1800, 0);
    emit_register(0xdc, (uint8_t)(0xc1 | digit << 3), 250, 0);
    emit_register(0xde, (uint8_t)(0xc1 | digit << 3), 250, 0);
    emit_memory(0xd8, digit, F32, 4, few, 0);
    emit_memory(0xdc, digit, F64, 8, few, 0);
    emit_memory(0xda, digit, I32, 4, 250, 0);
    emit_memory(0xde, digit, I16, 2, 250, 0);
    if (digit < 4) {
      emit_register(0xda, (uint8_t)(0xc1 | digit << 3), 150, 0);
      emit_register(0xdb, (uint8_t)(0xc1 | digit << 3), 150, 0);
    }
    if (digit < 7) emit_register(0xd9, (uint8_t)(0xe8 + digit), 150, 1);
    if (digit == 0 || (digit >= 2 && digit < 6)) emit_register(0xdd, (uint8_t)(0xc1 | digit << 3), digit < 4 ? 150 : 400, 0);
    if (digit < 4) emit_register(0xdf, (uint8_t)(0xc1 | digit << 3), 60, 0);
  }
  emit_register(0xdd, 0xc9, 60, 0);
  emit_register(0xda, 0xe9, 300, 0);
  emit_register(0xdb, 0xe9, 400, 0); emit_register(0xdb, 0xf1, 400, 0);
  emit_register(0xdf, 0xe9, 300, 0); emit_register(0xdf, 0xf1, 300, 0);
  emit_register(0xd9, 0xc1, 200, 1); emit_register(0xd9, 0xc9, 200, 0); emit_register(0xd9, 0xd9, 60, 0);
  emit_register(0xd9, 0xd0, 60, 0); emit_register(0xd9, 0xe0, 200, 0); emit_register(0xd9, 0xe1, 200, 0);
  emit_register(0xd9, 0xe4, 300, 0); emit_register(0xd9, 0xe5, 400, 0);
  emit_register(0xd9, 0xf4, 500, 1); emit_register(0xd9, 0xf5, 1500, 0); emit_register(0xd9, 0xf6, 60, 0); emit_register(0xd9, 0xf7, 60, 0);
  emit_register(0xd9, 0xf8, 1500, 0); emit_register(0xd9, 0xfa, 1200, 0); emit_register(0xd9, 0xfc, 1200, 0); emit_register(0xd9, 0xfd, 1500, 0);
  emit_register(0xdb, 0xe0, 30, 0); emit_register(0xdb, 0xe1, 30, 0); emit_register(0xdb, 0xe2, 80, 0); emit_register(0xdb, 0xe3, 60, 0); emit_register(0xdb, 0xe4, 30, 0);
  emit_register(0xdf, 0xe0, 60, 0);
  emit_memory(0xd9, 0, F32, 4, 400, 1); emit_memory(0xd9, 2, F32, 4, 1000, 0); emit_memory(0xd9, 3, F32, 4, 300, 0);
  emit_memory(0xdd, 0, F64, 8, 400, 1); emit_memory(0xdd, 2, F64, 8, 1000, 0); emit_memory(0xdd, 3, F64, 8, 300, 0);
  emit_memory(0xdb, 5, F80, 10, 200, 1); emit_memory(0xdb, 7, F80, 10, 200, 0);
  emit_memory(0xdf, 0, I16, 2, 200, 1); emit_memory(0xdb, 0, I32, 4, 200, 1); emit_memory(0xdf, 5, I64, 8, 200, 1);
  emit_memory(0xdf, 1, I16, 2, 400, 0); emit_memory(0xdf, 2, I16, 2, 600, 0); emit_memory(0xdf, 3, I16, 2, 200, 0);
  emit_memory(0xdb, 1, I32, 4, 400, 0); emit_memory(0xdb, 2, I32, 4, 600, 0); emit_memory(0xdb, 3, I32, 4, 200, 0);
  emit_memory(0xdd, 1, I64, 8, 400, 0); emit_memory(0xdf, 7, I64, 8, 700, 0);
  emit_memory(0xdf, 4, BCD, 10, 300, 1); emit_memory(0xdf, 6, BCD, 10, 700, 0);
  emit_memory(0xd9, 5, CW, 2, 300, 0); emit_memory(0xd9, 7, CW, 2, 60, 0); emit_memory(0xdd, 7, CW, 2, 60, 0);
  emit_memory(0xd9, 4, RAW, 28, 150, 0); emit_memory(0xd9, 6, RAW, 28, 150, 0);
  emit_memory(0xdd, 4, RAW, 108, 150, 0); emit_memory(0xdd, 6, RAW, 108, 150, 0);
  emit((struct form){{0x66, 0xd9, 0x27}, 3, RAW, 14, 100, 0}); emit((struct form){{0x66, 0xd9, 0x37}, 3, RAW, 14, 100, 0});
  emit((struct form){{0x66, 0xdd, 0x27}, 3, RAW, 94, 100, 0}); emit((struct form){{0x66, 0xdd, 0x37}, 3, RAW, 94, 100, 0});
  emit((struct form){{0x0f, 0xae, 0x07}, 3, RAW, 160, 150, 0}); emit((struct form){{0x0f, 0xae, 0x0f}, 3, RAW, 160, 150, 0});
  return fflush(stdout) != 0;
}
