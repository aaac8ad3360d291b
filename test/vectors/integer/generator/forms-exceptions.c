/* Instructions that raise exceptions at CPL 3 with IOPL 0: #BR, #OF, #UD, #GP(0); #DE is in forms-arithmetic.c. */
#include "vector.h"

static void bound(void) {
  for (u32 width = 2; width <= 4; width += 2) {
    FORM(width == 2 ? "bound r16, m" : "bound r32, m", 150) {
      u32 reg = below(8), address = window_address(2 * width), lower = value(width), upper = chance(1, 2) ? value(width) : lower + below(16);
      opcode(width, 0x62, MEMORY_ONLY);
      put_number(address, width, lower);
      put_number(address + width, width, upper);
      set_register(width, reg, chance(1, 2) ? lower + below(20) - 2 : value(width));
      modrm_at(reg, address);
    }
  }
}

static void undefined(void) {
  FORM("ud2", 8) byte(0x0f), byte(0x0b);
  FORM("undefined ModRM.reg", 60) {
    static const struct { u8 op, reg; } rows[] = {
      {0xfe, 2}, {0xfe, 3}, {0xfe, 4}, {0xfe, 5}, {0xfe, 6}, {0xfe, 7}, {0xff, 7},
    };
    u32 i = below(sizeof rows / sizeof rows[0]);
    opcode(4, rows[i].op, 0);
    modrm(rows[i].reg, 4, value(4));
  }
  FORM("undefined 0F BA ModRM.reg", 16) {
    opcode(4, 0xba, TWO_BYTE);
    modrm(below(4), 4, value(4));
    byte(1);
  }
  FORM("lea with a register operand", 16) byte(0x8d), byte(0xc0 | below(64));
  FORM("cmpxchg8b with a register operand", 16) byte(0x0f), byte(0xc7), byte(0xc8 | below(8));
  FORM("lock with a register destination", 60) {
    static const u8 ops[] = {0x00, 0x01, 0x08, 0x11, 0x19, 0x20, 0x29, 0x31, 0x86, 0x87};
    byte(0xf0), byte(ops[below(sizeof ops)]), byte(0xc0 | below(64));
  }
  FORM("lock with a register destination of a load form", 60) {
    u32 row = below(7);
    byte(0xf0);
    opcode(4, row << 3 | 3, MEMORY_ONLY);
    modrm(below(8), 4, value(4));
  }
  FORM("lock with an instruction that cannot lock", 100) {
    static const u8 memory_forms[] = {0x39, 0x3b, 0x85, 0x89, 0x8b, 0x8d, 0xd1, 0xd3};
    static const u8 plain[] = {0x90, 0x98, 0xf5, 0xf8, 0xfc, 0x40, 0x50, 0x58, 0xa5, 0xab, 0x9c, 0xc3};
    byte(0xf0);
    if (chance(1, 2)) {
      byte(plain[below(sizeof plain)]);
      continue;
    }
    u32 op = memory_forms[below(sizeof memory_forms)];
    opcode(4, op, MEMORY_ONLY);
    modrm(op >= 0xd0 ? 4 : below(8), 4, value(4));
  }
  FORM("lock with bt", 16) {
    byte(0xf0);
    opcode(4, 0xba, MEMORY_ONLY | TWO_BYTE);
    modrm(4, 4, value(4));
    byte(below(32));
  }
}

static void protection(void) {
  static const struct { const char *name; u8 bytes[3], length; } rows[] = {
    {"cli", {0xfa}, 1}, {"sti", {0xfb}, 1}, {"hlt", {0xf4}, 1},
    {"in al, imm8", {0xe4, 0x80}, 2}, {"in eax, imm8", {0xe5, 0x80}, 2}, {"out imm8, al", {0xe6, 0x80}, 2}, {"out imm8, eax", {0xe7, 0x80}, 2},
    {"in al, dx", {0xec}, 1}, {"in eax, dx", {0xed}, 1}, {"out dx, al", {0xee}, 1}, {"out dx, eax", {0xef}, 1},
    {"insb", {0x6c}, 1}, {"insd", {0x6d}, 1}, {"outsb", {0x6e}, 1}, {"outsd", {0x6f}, 1},
    {"mov eax, cr0", {0x0f, 0x20, 0xc0}, 3}, {"mov cr0, eax", {0x0f, 0x22, 0xc0}, 3}, {"mov cr3, ecx", {0x0f, 0x22, 0xd9}, 3},
    {"mov eax, dr7", {0x0f, 0x21, 0xf8}, 3}, {"mov dr7, eax", {0x0f, 0x23, 0xf8}, 3},
    {"clts", {0x0f, 0x06}, 2}, {"invd", {0x0f, 0x08}, 2}, {"wbinvd", {0x0f, 0x09}, 2},
    {"wrmsr", {0x0f, 0x30}, 2}, {"rdmsr", {0x0f, 0x32}, 2},
    {"lmsw ax", {0x0f, 0x01, 0xf0}, 3}, {"lgdt m", {0x0f, 0x01, 0x16}, 3}, {"lidt m", {0x0f, 0x01, 0x1e}, 3},
    {"invlpg m", {0x0f, 0x01, 0x3e}, 3},
  };
  for (u32 i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    FORM(join("privileged: ", rows[i].name), 4) {
      set_register(2, EDX, below(0x10000));
      set_register(4, ESI, window_address(8));
      set_register(4, EDI, window_address(8));
      for (u32 k = 0; k < rows[i].length; k++) byte(rows[i].bytes[k]);
    }
  }
  FORM("longer than 15 bytes", 8) {
    u32 prefixes = 14 + below(4);
    while (prefixes--) byte(0x66);
    byte(0x90);
  }
}

void forms_exceptions(void) {
  bound();
  FORM("into", 32) byte(0xce);
  undefined();
  protection();
}
