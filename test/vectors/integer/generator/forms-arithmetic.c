/* The ALU group, INC/DEC/NEG/NOT, TEST, MUL/IMUL/DIV/IDIV, decimal and ASCII adjustment, widening. */
#include "vector.h"

#define N VECTORS_A_FORM

static const struct { u32 width; const char *rm, *rm_reg, *reg_rm, *rm_immediate, *accumulator; } widths[] = {
  {1, " r/m8", " r/m8, r8", " r8, r/m8", " r/m8, imm8", " al, imm8"},
  {2, " r/m16", " r/m16, r16", " r16, r/m16", " r/m16, imm16", " ax, imm16"},
  {4, " r/m32", " r/m32, r32", " r32, r/m32", " r/m32, imm32", " eax, imm32"},
};

/* A second operand that is often near the first: equal, one off, its negative. */
static u32 beside(u32 width, u32 a) {
  switch (below(8)) {
    case 0: return a;
    case 1: return a + 1;
    case 2: return a - 1;
    case 3: return 0u - a;
    default: return value(width);
  }
}

static const char *const alu_names[8] = {"add", "or", "adc", "sbb", "and", "sub", "xor", "cmp"};

static void alu(const char *name, u32 row, u32 lockable) {
  for (u32 w = 0; w < 3; w++) {
    u32 width = widths[w].width, wide = width > 1;
    FORM(join(name, widths[w].rm_reg), N) {
      u32 reg = below(8), a = value(width);
      opcode(width, row | wide, lockable);
      set_register(width, reg, beside(width, a));
      modrm(reg, width, a);
    }
    FORM(join(name, widths[w].reg_rm), N) {
      u32 reg = below(8), a = value(width);
      opcode(width, row | 2 | wide, 0);
      set_register(width, reg, beside(width, a));
      modrm(reg, width, a);
    }
    FORM(join(name, widths[w].accumulator), N / 2) {
      u32 a = value(width);
      opcode(width, row | 4 | wide, REGISTER_ONLY);
      set_register(width, EAX, a);
      immediate(width, beside(width, a));
    }
    FORM(join(name, widths[w].rm_immediate), N / 2) {
      u32 a = value(width);
      opcode(width, 0x80 | wide, lockable);
      modrm(row >> 3, width, a);
      immediate(width, beside(width, a));
    }
  }
  for (u32 width = 2; width <= 4; width += 2) {
    FORM(join(name, width == 2 ? " r/m16, imm8" : " r/m32, imm8"), N / 2) {
      u32 a = value(width);
      opcode(width, 0x83, lockable);
      modrm(row >> 3, width, a);
      immediate(1, chance(1, 2) ? value(1) : beside(width, a));
    }
  }
}

static void unary(const char *name, u32 op, u32 reg, u32 flags) {
  for (u32 w = 0; w < 3; w++) {
    FORM(join(name, widths[w].rm), N) {
      opcode(widths[w].width, op | (w > 0), flags);
      modrm(reg, widths[w].width, value(widths[w].width));
    }
  }
}

static void test(void) {
  for (u32 w = 0; w < 3; w++) {
    u32 width = widths[w].width, wide = width > 1;
    FORM(join("test", widths[w].rm_reg), N) {
      u32 reg = below(8);
      opcode(width, 0x84 | wide, 0);
      set_register(width, reg, value(width));
      modrm(reg, width, value(width));
    }
    FORM(join("test", widths[w].accumulator), N / 2) {
      opcode(width, 0xa8 | wide, REGISTER_ONLY);
      set_register(width, EAX, value(width));
      immediate(width, value(width));
    }
    FORM(join("test", widths[w].rm_immediate), N / 2) {
      opcode(width, 0xf6 | wide, 0);
      modrm(0, width, value(width));
      immediate(width, value(width));
    }
  }
}

/* Encodings that the SDM's opcode maps leave blank (AMD's show some of them) and that every processor executes. */
static void aliases(void) {
  FORM("test r/m8, imm8 (F6 /1)", 60) {
    opcode(1, 0xf6, 0);
    modrm(1, 1, value(1));
    immediate(1, value(1));
  }
  for (u32 width = 2; width <= 4; width += 2) {
    FORM(width == 2 ? "test r/m16, imm16 (F7 /1)" : "test r/m32, imm32 (F7 /1)", 60) {
      opcode(width, 0xf7, 0);
      modrm(1, width, value(width));
      immediate(width, value(width));
    }
  }
  FORM("salc", 16) {
    set_register(4, EAX, value(4));
    byte(0xd6);
  }
}

static void multiply(void) {
  for (u32 w = 0; w < 3; w++) {
    u32 width = widths[w].width;
    for (u32 is_signed = 0; is_signed < 2; is_signed++) {
      FORM(join(is_signed ? "imul" : "mul", widths[w].rm), N) {
        opcode(width, 0xf6 | (w > 0), 0);
        set_register(width, EAX, value(width));
        modrm(4 + is_signed, width, value(width));
      }
    }
    if (width == 1) continue;
    FORM(join("imul", widths[w].reg_rm), N) {
      u32 reg = below(8);
      opcode(width, 0xaf, TWO_BYTE);
      set_register(width, reg, value(width));
      modrm(reg, width, value(width));
    }
    FORM(width == 2 ? "imul r16, r/m16, imm16" : "imul r32, r/m32, imm32", N) {
      opcode(width, 0x69, 0);
      modrm(below(8), width, value(width));
      immediate(width, value(width));
    }
    FORM(width == 2 ? "imul r16, r/m16, imm8" : "imul r32, r/m32, imm8", N) {
      opcode(width, 0x6b, 0);
      modrm(below(8), width, value(width));
      immediate(1, value(1));
    }
  }
}

static void set_dividend(u32 width, u64 v) {
  if (width == 1) {
    set_register(2, EAX, (u32)v);
    return;
  }
  set_register(width, EAX, (u32)v);
  set_register(width, EDX, (u32)(v >> (width * 8)));
}

static s32 sign_extended(u32 width, u32 v) { return (s32)(v << (32 - width * 8)) >> (32 - width * 8); }

static void divide(void) {
  for (u32 w = 0; w < 3; w++) {
    u32 width = widths[w].width;
    for (u32 is_signed = 0; is_signed < 2; is_signed++) {
      /* Three in four are built as divisor * quotient + something small; the others mostly raise #DE. */
      FORM(join(is_signed ? "idiv" : "div", widths[w].rm), N + N / 2) {
        u32 divisor = value(width), quotient = value(width), rest = value(1);
        opcode(width, 0xf6 | (w > 0), 0);
        if (chance(1, 4)) set_dividend(width, (u64)value(width) << (width * 8) | value(width));
        else if (is_signed) set_dividend(width, (u64)((long long)sign_extended(width, divisor) * sign_extended(width, quotient) + sign_extended(1, rest)));
        else set_dividend(width, (u64)divisor * quotient + (rest < divisor ? rest : 0));
        modrm(6 + is_signed, width, divisor);
      }
    }
  }
}

static void without_operands(const char *name, u32 width, u32 op, u32 count) {
  FORM(name, count) {
    opcode(width, op, REGISTER_ONLY);
    set_register(4, EAX, value(4));
    if (chance(1, 2)) set_register(2, EAX, value(2));
    set_register(4, EDX, value(4));
  }
}

void forms_arithmetic(void) {
  for (u32 i = 0; i < 8; i++) alu(alu_names[i], i << 3, i == 7 ? 0 : LOCKABLE);
  for (u32 i = 0; i < 8; i++) {
    FORM(join(alu_names[i], " r/m8, imm8 (82)"), 30) {
      u32 a = value(1);
      opcode(1, 0x82, 0);
      modrm(i, 1, a);
      immediate(1, beside(1, a));
    }
  }
  test();
  aliases();
  unary("inc", 0xfe, 0, LOCKABLE);
  unary("dec", 0xfe, 1, LOCKABLE);
  unary("not", 0xf6, 2, LOCKABLE);
  unary("neg", 0xf6, 3, LOCKABLE);
  for (u32 width = 2; width <= 4; width += 2) {
    for (u32 down = 0; down < 2; down++) {
      FORM(join(down ? "dec" : "inc", width == 2 ? " r16" : " r32"), N / 2) {
        u32 reg = below(8);
        opcode(width, 0x40 | down << 3 | reg, REGISTER_ONLY);
        set_register(width, reg, value(width));
      }
    }
  }
  multiply();
  divide();
  without_operands("daa", 4, 0x27, N);
  without_operands("das", 4, 0x2f, N);
  without_operands("aaa", 4, 0x37, N);
  without_operands("aas", 4, 0x3f, N);
  FORM("aam imm8", N) {
    set_register(2, EAX, value(2));
    byte(0xd4);
    byte(chance(1, 2) ? 10 : value(1));
  }
  FORM("aad imm8", N) {
    set_register(2, EAX, value(2));
    byte(0xd5);
    byte(chance(1, 2) ? 10 : value(1));
  }
  without_operands("cbw", 2, 0x98, 40);
  without_operands("cwde", 4, 0x98, 40);
  without_operands("cwd", 2, 0x99, 40);
  without_operands("cdq", 4, 0x99, 40);
}
