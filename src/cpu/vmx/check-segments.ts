/** Checks on guest segment registers at VM entry (SDM §27.3.1.2). Edition: see fields.ts. */

import { AR_DPL_SHIFT, AR_P, AR_S, AR_TYPE, AR_UNUSABLE, CR0_PE, VM } from "../state.ts";
import type { EntryCheck, EntryView } from "./entry-view.ts";
import { VMCS } from "./fields.ts";

interface Segment {
  readonly name: string;
  readonly selector: number;
  readonly base: number;
  readonly limit: number;
  readonly accessRights: number;
}

const segment = (name: "ES" | "CS" | "SS" | "DS" | "FS" | "GS" | "LDTR" | "TR"): Segment => ({
  name,
  selector: VMCS[`GUEST_${name}_SELECTOR`],
  base: VMCS[`GUEST_${name}_BASE`],
  limit: VMCS[`GUEST_${name}_LIMIT`],
  accessRights: VMCS[`GUEST_${name}_ACCESS_RIGHTS`],
});

const CS = segment("CS");
const SS = segment("SS");
const DATA: readonly Segment[] = ["DS", "ES", "FS", "GS"].map((name) => segment(name as "DS"));
const ALL: readonly Segment[] = [CS, SS, ...DATA];
const LDTR = segment("LDTR");
const TR = segment("TR");

const SECTION = "27.3.1.2";
/** Access rights of every segment in virtual-8086 mode: present, DPL 3, accessed read/write data. */
const V86_ACCESS_RIGHTS = 0xf3;
const RESERVED_11_8 = 0xf00;
const RESERVED_31_17 = 0xfffe_0000;
const G = 1 << 15;

const CODE = 1 << 3;
const READABLE = 1 << 1;
const ACCESSED = 1 << 0;
const NON_CONFORMING_LAST = 11;
const CONFORMING_BIT = 1 << 2;

const rights = (v: EntryView, s: Segment): number => v.low(s.accessRights);
const typeOf = (v: EntryView, s: Segment): number => rights(v, s) & AR_TYPE;
const dplOf = (v: EntryView, s: Segment): number => (rights(v, s) >>> AR_DPL_SHIFT) & 3;
const rplOf = (v: EntryView, s: Segment): number => v.low(s.selector) & 3;
const usable = (v: EntryView, s: Segment): boolean => (rights(v, s) & AR_UNUSABLE) === 0;
const virtual8086 = (v: EntryView): boolean => (v.low(VMCS.GUEST_RFLAGS) & VM) !== 0;

/** G must be 0 when a limit has bits 11:0 not all 1, and 1 when it has any of bits 31:20. */
function granularityHolds(v: EntryView, s: Segment): boolean {
  const limit = v.low(s.limit);
  const granular = (rights(v, s) & G) !== 0;
  return granular ? (limit & 0xfff) === 0xfff : limit >>> 20 === 0;
}

/** A rule for the given segments, outside virtual-8086 mode; all but CS count only when usable. */
const rule = (segments: readonly Segment[], text: string, holds: (v: EntryView, s: Segment) => boolean): EntryCheck[] =>
  segments.map((s) => ({
    section: SECTION,
    rule: `${s.name}: ${text}`,
    holds: (v) => virtual8086(v) || (s !== CS && !usable(v, s)) || holds(v, s),
  }));

const virtual8086Rule = (text: string, holds: (v: EntryView, s: Segment) => boolean): EntryCheck[] =>
  ALL.map((s) => ({
    section: SECTION,
    rule: `${s.name} in virtual-8086 mode: ${text}`,
    holds: (v) => !virtual8086(v) || holds(v, s),
  }));

/** Rules that hold in every mode. */
const systemRule = (s: Segment, text: string, holds: (v: EntryView) => boolean): EntryCheck => ({
  section: SECTION,
  rule: `${s.name}: ${text}`,
  holds,
});

export const SEGMENT_CHECKS: readonly EntryCheck[] = [
  systemRule(TR, "TI of the selector is 0", (v) => (v.low(TR.selector) & 4) === 0),
  systemRule(LDTR, "TI of the selector is 0", (v) => !usable(v, LDTR) || (v.low(LDTR.selector) & 4) === 0),
  {
    section: SECTION,
    rule: "SS: RPL is that of CS",
    holds: (v) => virtual8086(v) || v.controls.unrestrictedGuest || rplOf(v, SS) === rplOf(v, CS),
  },
  ...virtual8086Rule("the base is the selector times 16", (v, s) => v.low(s.base) === v.low(s.selector) << 4),
  ...virtual8086Rule("the limit is FFFFH", (v, s) => v.low(s.limit) === 0xffff),
  ...virtual8086Rule("the access rights are F3H", (v, s) => rights(v, s) === V86_ACCESS_RIGHTS),

  ...rule([CS], "type is accessed code, or with unrestricted guest accessed read/write data", (v, s) => {
    const type = typeOf(v, s);
    return (type & (CODE | ACCESSED)) === (CODE | ACCESSED) || (type === 3 && v.controls.unrestrictedGuest);
  }),
  ...rule([SS], "type is accessed read/write data", (v, s) => typeOf(v, s) === 3 || typeOf(v, s) === 7),
  ...rule(DATA, "type is accessed", (v, s) => (typeOf(v, s) & ACCESSED) !== 0),
  ...rule(DATA, "a code segment is readable", (v, s) => (typeOf(v, s) & CODE) === 0 || (typeOf(v, s) & READABLE) !== 0),
  ...rule(ALL, "S is 1", (v, s) => (rights(v, s) & AR_S) !== 0),
  ...rule(
    [CS],
    "DPL is 0 for data, that of SS for non-conforming and at most that of SS for conforming code",
    (v, s) => {
      const type = typeOf(v, s);
      if (type === 3) return dplOf(v, s) === 0;
      return (type & CONFORMING_BIT) === 0 ? dplOf(v, s) === dplOf(v, SS) : dplOf(v, s) <= dplOf(v, SS);
    },
  ),
  {
    section: SECTION,
    rule: "SS: DPL is the RPL of its selector",
    holds: (v) => virtual8086(v) || v.controls.unrestrictedGuest || dplOf(v, SS) === rplOf(v, SS),
  },
  {
    section: SECTION,
    rule: "SS: DPL is 0 when CS is a data segment or CR0.PE is 0",
    holds: (v) =>
      virtual8086(v) || (typeOf(v, CS) !== 3 && (v.low(VMCS.GUEST_CR0) & CR0_PE) !== 0) || dplOf(v, SS) === 0,
  },
  ...rule(
    DATA,
    "DPL is at least the RPL of its selector, except for conforming code",
    (v, s) => v.controls.unrestrictedGuest || typeOf(v, s) > NON_CONFORMING_LAST || dplOf(v, s) >= rplOf(v, s),
  ),
  ...rule(ALL, "P is 1", (v, s) => (rights(v, s) & AR_P) !== 0),
  ...rule(ALL, "reserved bits 11:8 are 0", (v, s) => (rights(v, s) & RESERVED_11_8) === 0),
  ...rule(ALL, "G fits the limit", granularityHolds),
  ...rule(ALL, "reserved bits 31:17 are 0", (v, s) => (rights(v, s) & RESERVED_31_17) === 0),

  systemRule(TR, "type is a busy TSS", (v) => typeOf(v, TR) === 3 || typeOf(v, TR) === 11),
  systemRule(TR, "S is 0", (v) => (rights(v, TR) & AR_S) === 0),
  systemRule(TR, "P is 1", (v) => (rights(v, TR) & AR_P) !== 0),
  systemRule(TR, "reserved bits 11:8 are 0", (v) => (rights(v, TR) & RESERVED_11_8) === 0),
  systemRule(TR, "G fits the limit", (v) => granularityHolds(v, TR)),
  systemRule(TR, "it is usable", (v) => usable(v, TR)),
  systemRule(TR, "reserved bits 31:17 are 0", (v) => (rights(v, TR) & RESERVED_31_17) === 0),

  systemRule(LDTR, "type is LDT", (v) => !usable(v, LDTR) || typeOf(v, LDTR) === 2),
  systemRule(LDTR, "S is 0", (v) => !usable(v, LDTR) || (rights(v, LDTR) & AR_S) === 0),
  systemRule(LDTR, "P is 1", (v) => !usable(v, LDTR) || (rights(v, LDTR) & AR_P) !== 0),
  systemRule(LDTR, "reserved bits 11:8 are 0", (v) => !usable(v, LDTR) || (rights(v, LDTR) & RESERVED_11_8) === 0),
  systemRule(LDTR, "G fits the limit", (v) => !usable(v, LDTR) || granularityHolds(v, LDTR)),
  systemRule(LDTR, "reserved bits 31:17 are 0", (v) => !usable(v, LDTR) || (rights(v, LDTR) & RESERVED_31_17) === 0),
];
