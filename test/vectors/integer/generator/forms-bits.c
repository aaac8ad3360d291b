/* Shifts and rotates, SHLD/SHRD, BT/BTS/BTR/BTC, BSF/BSR, and the instructions that set single flags. */
#include "vector.h"

#define N VECTORS_A_FORM

static void shift(const char *name, u32 reg) {
  static const char *const by_one[] = {" r/m8, 1", " r/m16, 1", " r/m32, 1"};
  static const char *const by_cl[] = {" r/m8, cl", " r/m16, cl", " r/m32, cl"};
  static const char *const by_immediate[] = {" r/m8, imm8", " r/m16, imm8", " r/m32, imm8"};
  for (u32 w = 0; w < 3; w++) {
    u32 width = 1u << w, wide = w > 0;
    FORM(join(name, by_one[w]), N / 2) {
      opcode(width, 0xd0 | wide, 0);
      modrm(reg, width, value(width));
    }
    FORM(join(name, by_cl[w]), N + N / 2) {
      opcode(width, 0xd2 | wide, 0);
      set_register(1, ECX, shift_count());
      modrm(reg, width, value(width));
    }
    FORM(join(name, by_immediate[w]), N) {
      opcode(width, 0xc0 | wide, 0);
      modrm(reg, width, value(width));
      immediate(1, shift_count());
    }
  }
}

/* ModRM.reg 6, which the SDM leaves blank and every processor executes as SHL. */
static void shift_alias(void) {
  FORM("shl r/m8, imm8 (C0 /6)", 60) {
    opcode(1, 0xc0, 0);
    modrm(6, 1, value(1));
    immediate(1, shift_count());
  }
  FORM("shl r/m32, imm8 (C1 /6)", 60) {
    opcode(4, 0xc1, 0);
    modrm(6, 4, value(4));
    immediate(1, shift_count());
  }
  FORM("shl r/m32, 1 (D1 /6)", 60) {
    opcode(4, 0xd1, 0);
    modrm(6, 4, value(4));
  }
  FORM("shl r/m32, cl (D3 /6)", 60) {
    opcode(4, 0xd3, 0);
    set_register(1, ECX, shift_count());
    modrm(6, 4, value(4));
  }
}

static void double_shift(const char *name, u32 op) {
  for (u32 width = 2; width <= 4; width += 2) {
    FORM(join(name, width == 2 ? " r/m16, r16, imm8" : " r/m32, r32, imm8"), N) {
      u32 reg = below(8);
      opcode(width, op, TWO_BYTE);
      set_register(width, reg, value(width));
      modrm(reg, width, value(width));
      immediate(1, shift_count());
    }
    FORM(join(name, width == 2 ? " r/m16, r16, cl" : " r/m32, r32, cl"), N) {
      u32 reg = below(8);
      opcode(width, op | 1, TWO_BYTE);
      set_register(1, ECX, shift_count());
      set_register(width, reg, value(width));
      modrm(reg, width, value(width));
    }
  }
}

/* The bit offset is signed and reaches beyond the operand: the access is at EA + width * floor(offset / (8 * width)). */
static void bit_test_register(const char *name, u32 row, u32 lockable) {
  for (u32 width = 2; width <= 4; width += 2) {
    FORM(join(name, width == 2 ? " r/m16, r16" : " r/m32, r32"), N + N / 2) {
      u32 reg = below(8), offset = chance(1, 2) ? below(8 * width) : chance(1, 2) ? below(0x4000) - 0x2000 : value(width);
      opcode(width, 0x83 | row << 3, TWO_BYTE | lockable);
      if (address_is_16()) offset %= 8 * width;
      set_register(width, reg, offset);
      if (!operand_is_memory()) {
        modrm(reg, width, value(width));
        continue;
      }
      s32 signed_offset = width == 2 ? (s32)(short)offset : (s32)offset;
      u32 address = window_address(width);
      put_number(address, width, value(width));
      modrm_at_keeping(reg, address - width * (u32)(signed_offset >> (width == 2 ? 4 : 5)));
    }
  }
}

static void bit_test_immediate(const char *name, u32 row, u32 lockable) {
  for (u32 width = 2; width <= 4; width += 2) {
    FORM(join(name, width == 2 ? " r/m16, imm8" : " r/m32, imm8"), N / 2) {
      opcode(width, 0xba, TWO_BYTE | lockable);
      modrm(row, width, value(width));
      immediate(1, shift_count());
    }
  }
}

void forms_bits(void) {
  static const char *const shifts[8] = {"rol", "ror", "rcl", "rcr", "shl", "shr", 0, "sar"};
  for (u32 i = 0; i < 8; i++)
    if (shifts[i]) shift(shifts[i], i);
  shift_alias();
  double_shift("shld", 0xa4);
  double_shift("shrd", 0xac);
  static const char *const tests[4] = {"bt", "bts", "btr", "btc"};
  for (u32 i = 0; i < 4; i++) {
    bit_test_register(tests[i], 4 + i, i ? LOCKABLE : 0);
    bit_test_immediate(tests[i], 4 + i, i ? LOCKABLE : 0);
  }
  for (u32 reverse = 0; reverse < 2; reverse++) {
    for (u32 width = 2; width <= 4; width += 2) {
      FORM(join(reverse ? "bsr" : "bsf", width == 2 ? " r16, r/m16" : " r32, r/m32"), N) {
        opcode(width, 0xbc | reverse, TWO_BYTE);
        modrm(below(8), width, chance(1, 2) ? value(width) : value(width) & value(width) & value(width));
      }
    }
  }
  static const struct { const char *name; u32 op; } flags[] = {
    {"cmc", 0xf5}, {"clc", 0xf8}, {"stc", 0xf9}, {"cld", 0xfc}, {"std", 0xfd},
  };
  for (u32 i = 0; i < sizeof flags / sizeof flags[0]; i++) FORM(flags[i].name, 32) byte(flags[i].op);
}
