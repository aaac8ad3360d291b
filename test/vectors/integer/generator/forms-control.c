/* Jcc, JECXZ, LOOPcc, JMP, CALL, RET, and the stack: PUSH, POP, PUSHA, POPA, PUSHF, POPF, ENTER, LEAVE. */
#include "vector.h"

#define N VECTORS_A_FORM

extern const char *const conditions[16];

/* A target in the page of INT3 that is no part of the instruction; with a 16-bit operand size EIP is truncated. */
static u32 landing(u32 width) {
  u32 offset = 64 + below(PAGE - 128);
  if (offset >= (CODE & 0xfff) - 1 && offset < (CODE & 0xfff) + 24) offset += 64;
  return (width == 2 ? LANDING_PAGE : CODE_PAGE) + offset;
}

static void relative8(void) {
  u32 distance;
  do distance = value(1);
  while (distance >= 0xf0);                      /* inside the instruction itself */
  byte(distance);
}

static void relative(u32 width) { immediate(width, landing(width) - next_eip(width)); }

static void jumps(void) {
  for (u32 i = 0; i < 16; i++) {
    FORM(join(join("j", conditions[i]), " rel8"), 48) {
      if (chance(1, 4)) byte(0x66);
      byte(0x70 | i);
      relative8();
    }
    for (u32 width = 2; width <= 4; width += 2) {
      FORM(join(join("j", conditions[i]), width == 2 ? " rel16" : " rel32"), 32) {
        opcode(width, 0x80 | i, REGISTER_ONLY | TWO_BYTE);
        relative(width);
      }
    }
  }
  static const char *const counted[2][4] = {
    {"loopnz rel8", "loopz rel8", "loop rel8", "jecxz rel8"},
    {"loopnz rel8, cx", "loopz rel8, cx", "loop rel8, cx", "jcxz rel8"},
  };
  for (u32 short_count = 0; short_count < 2; short_count++) {
    for (u32 i = 0; i < 4; i++) {
      FORM(counted[short_count][i], 80) {
        set_register(4, ECX, chance(1, 2) ? below(3) : value(4));
        if (chance(1, 4)) set_register(2, ECX, below(2));
        if (chance(1, 8)) byte(0x66);
        if (short_count) byte(0x67);
        byte(0xe0 | i);
        relative8();
      }
    }
  }
  FORM("jmp rel8", 48) {
    if (chance(1, 4)) byte(0x66);
    byte(0xeb);
    relative8();
  }
}

static void near_transfers(void) {
  static const struct { const char *relative, *indirect; u32 width; } sizes[2] = {
    {" rel16", " r/m16", 2}, {" rel32", " r/m32", 4},
  };
  for (u32 w = 0; w < 2; w++) {
    u32 width = sizes[w].width;
    for (u32 is_call = 0; is_call < 2; is_call++) {
      const char *name = is_call ? "call" : "jmp";
      FORM(join(name, sizes[w].relative), N / 2) {
        use_stack();
        opcode(width, is_call ? 0xe8 : 0xe9, REGISTER_ONLY);
        relative(width);
      }
      FORM(join(name, sizes[w].indirect), N / 2) {
        use_stack();
        opcode(width, 0xff, 0);
        if (operand_is_memory()) {
          modrm(is_call ? 2 : 4, width, landing(width));
          continue;
        }
        u32 reg = below(7);
        if (reg >= ESP) reg++;
        set_register(width, reg, landing(width));
        byte(0xc0 | (is_call ? 2 : 4) << 3 | reg);
      }
    }
    FORM(width == 2 ? "ret, 16-bit" : "ret", 40) {
      use_stack();
      put_number(initial_register(ESP), width, landing(width));
      opcode(width, 0xc3, REGISTER_ONLY);
    }
    FORM(width == 2 ? "ret imm16, 16-bit" : "ret imm16", 60) {
      use_stack();
      put_number(initial_register(ESP), width, landing(width));
      opcode(width, 0xc2, REGISTER_ONLY);
      immediate(2, value(2));
    }
  }
}

static void push_and_pop(void) {
  for (u32 width = 2; width <= 4; width += 2) {
    u32 narrow = width == 2;
    FORM(narrow ? "push r16" : "push r32", N / 2) {
      u32 reg = below(8);
      use_stack();
      opcode(width, 0x50 | reg, REGISTER_ONLY);
      set_register(width, reg, value(width));
    }
    FORM(narrow ? "push r/m16" : "push r/m32", N) {
      use_stack();
      opcode(width, 0xff, 0);
      modrm(6, width, value(width));
    }
    FORM(narrow ? "push imm16" : "push imm32", N / 4) {
      use_stack();
      opcode(width, 0x68, REGISTER_ONLY);
      immediate(width, value(width));
    }
    FORM(narrow ? "push imm8, 16-bit" : "push imm8", N / 4) {
      use_stack();
      opcode(width, 0x6a, REGISTER_ONLY);
      immediate(1, value(1));
    }
    FORM(narrow ? "pop r16" : "pop r32", N / 2) {
      use_stack();
      put_number(initial_register(ESP), width, value(width));
      opcode(width, 0x58 | below(8), REGISTER_ONLY);
    }
    FORM(narrow ? "pop r/m16" : "pop r/m32", N) {
      use_stack();
      put_number(initial_register(ESP), width, value(width));
      opcode(width, 0x8f, 0);
      if (operand_is_memory()) modrm_at(0, window_address(width));
      else byte(0xc0 | below(8));
    }
    FORM(narrow ? "pusha" : "pushad", 60) {
      use_stack();
      for (u32 i = 0; i < 8; i++) set_register(4, i, value(4));
      opcode(width, 0x60, REGISTER_ONLY);
    }
    FORM(narrow ? "popa" : "popad", 60) {
      use_stack();
      for (u32 i = 0; i < 8; i++) {
        u32 v = value(width);
        if (i == 3 && chance(1, 2)) continue;     /* the image of ESP is skipped */
        if (i < 7) put_number(initial_register(ESP) + i * width, width, v);
      }
      opcode(width, 0x61, REGISTER_ONLY);
    }
    FORM(narrow ? "pushf" : "pushfd", 64) {
      use_stack();
      opcode(width, 0x9c, REGISTER_ONLY);
    }
    /* At CPL 3 with IOPL 0: IF, IOPL and VM keep their values. TF, NT, AC and ID stay out because the host acts on them. */
    FORM(narrow ? "popf" : "popfd", 200) {
      use_stack();
      put_number(initial_register(ESP), width, random32() & 0x0002befd);
      opcode(width, 0x9d, REGISTER_ONLY);
    }
  }
}

static void frames(void) {
  for (u32 width = 2; width <= 4; width += 2) {
    FORM(width == 2 ? "enter imm16, imm8, 16-bit" : "enter imm16, imm8", 150) {
      use_stack();
      set_register(4, EBP, WINDOW + 0x1800 + below(64));
      opcode(width, 0xc8, REGISTER_ONLY);
      immediate(2, below(0x400));
      immediate(1, chance(1, 3) ? 0 : chance(1, 2) ? below(4) : value(1));
    }
    FORM(width == 2 ? "leave, 16-bit" : "leave", 60) {
      u32 frame = window_address(4);
      set_register(4, EBP, frame);
      put_number(frame, width, value(width));
      opcode(width, 0xc9, REGISTER_ONLY);
    }
  }
}

void forms_control(void) {
  jumps();
  near_transfers();
  push_and_pop();
  frames();
}
