/* MOV in every form, MOVZX/MOVSX, LEA, XCHG, XADD, CMPXCHG, CMPXCHG8B, BSWAP, CMOVcc, SETcc, XLAT, LAHF/SAHF, NOP. */
#include "vector.h"

#define N VECTORS_A_FORM

static const char *const rm_reg[] = {" r/m8, r8", " r/m16, r16", " r/m32, r32"};
static const char *const reg_rm[] = {" r8, r/m8", " r16, r/m16", " r32, r/m32"};
static const u32 widths[] = {1, 2, 4};

const char *const conditions[16] = {"o", "no", "b", "nb", "z", "nz", "be", "nbe", "s", "ns", "p", "np", "l", "nl", "le", "nle"};

static void move(void) {
  static const char *const immediates[] = {"mov r8, imm8", "mov r16, imm16", "mov r32, imm32"};
  static const char *const rm_immediates[] = {"mov r/m8, imm8", "mov r/m16, imm16", "mov r/m32, imm32"};
  static const char *const loads[] = {"mov al, moffs8", "mov ax, moffs16", "mov eax, moffs32"};
  static const char *const stores[] = {"mov moffs8, al", "mov moffs16, ax", "mov moffs32, eax"};
  for (u32 w = 0; w < 3; w++) {
    u32 width = widths[w];
    FORM(join("mov", rm_reg[w]), N) {
      u32 reg = below(8);
      opcode(width, 0x88 | (w > 0), 0);
      set_register(width, reg, value(width));
      modrm(reg, width, value(width));
    }
    FORM(join("mov", reg_rm[w]), N) {
      u32 reg = below(8);
      opcode(width, 0x8a | (w > 0), 0);
      modrm(reg, width, value(width));
    }
    FORM(immediates[w], N / 4) {
      opcode(width, (w > 0 ? 0xb8 : 0xb0) | below(8), REGISTER_ONLY);
      immediate(width, value(width));
    }
    FORM(rm_immediates[w], N / 2) {
      opcode(width, 0xc6 | (w > 0), 0);
      modrm(0, width, value(width));
      immediate(width, value(width));
    }
    for (u32 store = 0; store < 2; store++) {
      FORM(store ? stores[w] : loads[w], N / 4) {
        u32 address = window_address(width);
        opcode(width, 0xa0 | store << 1 | (w > 0), MEMORY_ONLY);
        set_register(width, EAX, value(width));
        put_number(address, width, value(width));
        immediate(address_is_16() ? 2 : 4, address);
      }
    }
  }
}

static void extend(void) {
  static const char *const from8[] = {" r16, r/m8", " r32, r/m8"}, *const from16[] = {" r16, r/m16", " r32, r/m16"};
  for (u32 is_signed = 0; is_signed < 2; is_signed++) {
    for (u32 w = 0; w < 2; w++) {
      const char *name = is_signed ? "movsx" : "movzx";
      FORM(join(name, from8[w]), N / 2) {
        opcode(2 + 2 * w, 0xb6 | is_signed << 3, TWO_BYTE);
        modrm(below(8), 1, value(1));
      }
      FORM(join(name, from16[w]), N / 2) {
        opcode(2 + 2 * w, 0xb7 | is_signed << 3, TWO_BYTE);
        modrm(below(8), 2, value(2));
      }
    }
  }
}

static void exchange(void) {
  for (u32 w = 0; w < 3; w++) {
    u32 width = widths[w], wide = w > 0;
    FORM(join("xchg", rm_reg[w]), N) {
      u32 reg = below(8);
      opcode(width, 0x86 | wide, LOCKABLE);
      set_register(width, reg, value(width));
      modrm(reg, width, value(width));
    }
    FORM(join("xadd", rm_reg[w]), N) {
      u32 reg = below(8);
      opcode(width, 0xc0 | wide, LOCKABLE | TWO_BYTE);
      set_register(width, reg, value(width));
      modrm(reg, width, value(width));
    }
    FORM(join("cmpxchg", rm_reg[w]), N) {
      u32 reg = below(8), v = value(width);
      opcode(width, 0xb0 | wide, LOCKABLE | TWO_BYTE);
      set_register(width, reg, value(width));
      set_register(width, EAX, chance(1, 2) ? v : value(width));
      modrm(reg, width, v);
    }
  }
  for (u32 width = 2; width <= 4; width += 2) {
    FORM(width == 2 ? "xchg ax, r16" : "xchg eax, r32", N / 4) {
      u32 reg = below(8);
      opcode(width, 0x90 | reg, REGISTER_ONLY);
      set_register(width, EAX, value(width));
      set_register(width, reg, value(width));
    }
  }
  FORM("cmpxchg8b m64", N) {
    u32 address = window_address(8), low = value(4), high = value(4);
    opcode(4, 0xc7, MEMORY_ONLY | LOCKABLE | TWO_BYTE);
    put_number(address, 4, low);
    put_number(address + 4, 4, high);
    set_register(4, EAX, chance(2, 3) ? low : value(4));
    set_register(4, EDX, chance(2, 3) ? high : value(4));
    set_register(4, ECX, value(4));
    set_register(4, EBX, value(4));
    modrm_at(1, address);
  }
}

static void conditional(void) {
  static const char *const moves[2] = {" r16, r/m16", " r32, r/m32"};
  for (u32 condition = 0; condition < 16; condition++) {
    FORM(join(join("set", conditions[condition]), " r/m8"), 64) {
      opcode(1, 0x90 | condition, TWO_BYTE);
      modrm(0, 1, value(1));
    }
    for (u32 w = 0; w < 2; w++) {
      FORM(join(join("cmov", conditions[condition]), moves[w]), 64) {
        opcode(2 + 2 * w, 0x40 | condition, TWO_BYTE);
        modrm(below(8), 2 + 2 * w, value(2 + 2 * w));
      }
    }
  }
}

void forms_data(void) {
  move();
  extend();
  for (u32 w = 0; w < 2; w++) {
    FORM(w ? "lea r32, m" : "lea r16, m", 3 * N) {
      opcode(2 + 2 * w, 0x8d, MEMORY_ONLY);
      modrm_at(below(8), chance(1, 2) ? random32() : window_address(4));
    }
  }
  exchange();
  FORM("bswap r32", N / 4) {
    u32 reg = below(8);
    opcode(4, 0xc8 | reg, REGISTER_ONLY | TWO_BYTE);
    set_register(4, reg, value(4));
  }
  conditional();
  FORM("xlat", N / 2) {
    u32 address = window_address(256), al = value(1);
    opcode(4, 0xd7, MEMORY_ONLY);
    set_register(1, EAX, al);
    if (address_is_16()) set_register(4, EBX, random32()), set_register(2, EBX, address);
    else set_register(4, EBX, address);
    put_number(address + al, 1, value(1));
  }
  FORM("lahf", 64) byte(0x9f);
  FORM("sahf", 100) {
    set_register(2, EAX, value(2));
    byte(0x9e);
  }
  FORM("nop", 4) byte(0x90);
  FORM("nop r/m32", 40) {
    opcode(chance(1, 2) ? 2 : 4, 0x1f, TWO_BYTE);
    modrm(0, 4, value(4));
  }
}
