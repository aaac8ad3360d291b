/* MOVS, STOS, LODS, CMPS, SCAS: alone and with REP, REPE, REPNE; both directions; 32- and 16-bit addresses. */
#include "vector.h"

#define MAX_COUNT 12u

static const char *const suffixes[] = {"b", "w", "d"};

static void string(const char *name, const char *plain, u32 op, u32 prefix, u32 count) {
  for (u32 w = 0; w < 3; w++) {
    u32 width = 1u << w;
    FORM(join(join(name, plain), suffixes[w]), count) {
      u32 address16 = chance(1, 5), backward = chance(1, 3), repeat = chance(1, 8) ? 0 : below(MAX_COUNT + 1);
      u32 source = window_address(64), destination = chance(1, 4) ? source + below(9) - 4 : window_address(64);
      static const u8 flat_overrides[] = {0x26, 0x36, 0x3e};
      set_flags(DF, backward ? DF : 0);
      if (chance(1, 8)) byte(flat_overrides[below(3)]);
      if (width == 2) byte(0x66);
      if (address16) byte(0x67);
      if (prefix) byte(prefix);
      byte(op | (w > 0));
      u32 high = address16 ? random32() & 0xffff0000 : 0;
      set_register(4, ESI, high | source);
      set_register(4, EDI, high | destination);
      if (prefix) set_register(4, ECX, high | repeat);
      u32 v = value(width);
      if (op == 0xaa || op == 0xae) set_register(width, EAX, v);
      if (op != 0xa6 && op != 0xae) continue;
      /* Comparisons: a run of equal elements, or of unequal ones, that mostly ends before the count does. */
      u32 differing = prefix == 0xf2;
      u8 run[MAX_COUNT * 4], other[MAX_COUNT * 4];
      u32 end = below(MAX_COUNT + 1), low = backward ? (MAX_COUNT - 1) * width : 0;
      for (u32 i = 0; i < MAX_COUNT; i++) {
        u32 element = op == 0xae ? v : value(width), equal = (i < end) != differing;
        u32 at = (backward ? MAX_COUNT - 1 - i : i) * width, second = equal ? element : element ^ (1u << below(width * 8));
        for (u32 k = 0; k < width; k++) run[at + k] = (u8)(second >> (8 * k)), other[at + k] = (u8)(element >> (8 * k));
      }
      put_memory(destination - low, run, MAX_COUNT * width);
      if (op == 0xa6 && (source >= destination ? source - destination : destination - source) >= 2 * MAX_COUNT * width)
        put_memory(source - low, other, MAX_COUNT * width);
    }
  }
}

void forms_strings(void) {
  static const struct { const char *name; u32 op, compares; } operations[] = {
    {"movs", 0xa4, 0}, {"stos", 0xaa, 0}, {"lods", 0xac, 0}, {"cmps", 0xa6, 1}, {"scas", 0xae, 1},
  };
  for (u32 i = 0; i < sizeof operations / sizeof operations[0]; i++) {
    string("", operations[i].name, operations[i].op, 0, 80);
    if (!operations[i].compares) string("rep ", operations[i].name, operations[i].op, 0xf3, 80);
    else {
      string("repe ", operations[i].name, operations[i].op, 0xf3, 120);
      string("repne ", operations[i].name, operations[i].op, 0xf2, 120);
    }
  }
}
