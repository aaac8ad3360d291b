/**
 * The current VMCS: its data on chip, its guest-state fields in the processor's state block, and its region in memory
 * (SDM §25.1 to §25.3, §25.11). Edition: see fields.ts.
 *
 * Region format, as the manual leaves it to the processor: revision identifier at 0, VMX-abort indicator at 4, launch
 * state at 8 (0 clear, 1 launched), then the fields' words in the order of VMCS_FIELDS from 16 on. What a region holds
 * is not trusted: every group of checks runs at the first VM entry after it was loaded.
 */

import { AC, OFFSET, type ProcessorState, VM } from "../state.ts";
import type { HostMemory } from "./core.ts";
import {
  TYPE_CONTROL,
  TYPE_GUEST,
  TYPE_HOST,
  VMCS,
  VMCS_FIELDS,
  VMCS_WORDS,
  type VmcsField,
  WIDTH_16,
  WIDTH_64,
  wordOf,
} from "./fields.ts";

export const LAUNCH_STATE_OFFSET = 8;
const DATA_OFFSET = 16;
export const ABORT_INDICATOR_OFFSET = 4;

/** Groups of VM-entry checks and loads that a written field makes due. */
export const CONTROLS = 1 << 0;
export const HOST_STATE = 1 << 1;
export const GUEST_REGISTERS = 1 << 2;
export const GUEST_SEGMENTS = 1 << 3;
export const GUEST_FLAGS = 1 << 4;
export const GUEST_NON_REGISTER = 1 << 5;
export const GUEST_PDPTES = 1 << 6;
/** CR0, CR3, CR4 or IA32_EFER were written: cached translations may be of another mode. */
export const TRANSLATION = 1 << 7;
/** Of the controls only interrupt-window and NMI-window exiting changed, as they do with every event that has to wait. */
export const WINDOWS = 1 << 8;
export const ALL_GROUPS = (1 << 9) - 1;
export const GUEST_GROUPS = GUEST_REGISTERS | GUEST_SEGMENTS | GUEST_FLAGS | GUEST_NON_REGISTER | GUEST_PDPTES;

const CONTROL_REGISTERS = GUEST_REGISTERS | GUEST_SEGMENTS | GUEST_FLAGS | GUEST_PDPTES | TRANSLATION;

/** Groups of the fields whose own group is not what their type says. Injection is checked whenever there is an event. */
const GROUP_EXCEPTIONS: ReadonlyMap<number, number> = new Map([
  [VMCS.PIN_BASED_CONTROLS, ALL_GROUPS & ~TRANSLATION],
  [VMCS.PRIMARY_CONTROLS, ALL_GROUPS & ~TRANSLATION],
  [VMCS.SECONDARY_CONTROLS, ALL_GROUPS & ~TRANSLATION],
  [VMCS.EXIT_CONTROLS, ALL_GROUPS & ~TRANSLATION],
  [VMCS.ENTRY_CONTROLS, ALL_GROUPS & ~TRANSLATION],
  [VMCS.ENTRY_INTERRUPTION_INFORMATION, 0],
  [VMCS.ENTRY_EXCEPTION_ERROR_CODE, 0],
  [VMCS.ENTRY_INSTRUCTION_LENGTH, 0],
  [VMCS.PREEMPTION_TIMER, 0],
  [VMCS.GUEST_SMBASE, 0],
  [VMCS.GUEST_RIP, 0],
  [VMCS.GUEST_RSP, 0],
  [VMCS.GUEST_SYSENTER_CS, 0],
  [VMCS.GUEST_SYSENTER_ESP, 0],
  [VMCS.GUEST_SYSENTER_EIP, 0],
  [VMCS.GUEST_RFLAGS, GUEST_FLAGS | GUEST_NON_REGISTER],
  [VMCS.GUEST_INTERRUPTIBILITY, GUEST_NON_REGISTER],
  [VMCS.GUEST_ACTIVITY, GUEST_NON_REGISTER],
  [VMCS.GUEST_PENDING_DEBUG_EXCEPTIONS, GUEST_NON_REGISTER],
  [VMCS.VMCS_LINK_POINTER, GUEST_NON_REGISTER],
  [VMCS.GUEST_CR0, CONTROL_REGISTERS],
  [VMCS.GUEST_CR3, CONTROL_REGISTERS],
  [VMCS.GUEST_CR4, CONTROL_REGISTERS],
  [VMCS.GUEST_EFER, CONTROL_REGISTERS],
  [VMCS.GUEST_PAT, GUEST_REGISTERS],
  [VMCS.GUEST_DR7, GUEST_REGISTERS],
  [VMCS.GUEST_DEBUGCTL, GUEST_REGISTERS | GUEST_NON_REGISTER],
  [VMCS.GUEST_PDPTE0, GUEST_PDPTES],
  [VMCS.GUEST_PDPTE1, GUEST_PDPTES],
  [VMCS.GUEST_PDPTE2, GUEST_PDPTES],
  [VMCS.GUEST_PDPTE3, GUEST_PDPTES],
]);

function groupsOf(field: VmcsField): number {
  const exception = GROUP_EXCEPTIONS.get(field.encoding);
  if (exception !== undefined) return exception;
  switch (field.type) {
    case TYPE_CONTROL:
      return CONTROLS;
    case TYPE_HOST:
      return HOST_STATE;
    case TYPE_GUEST:
      return GUEST_SEGMENTS | GUEST_NON_REGISTER;
    default:
      return 0;
  }
}

/** The groups that a write of each field makes due, by the index of its first word. */
const GROUPS_BY_WORD = new Uint16Array(VMCS_WORDS);
for (const field of VMCS_FIELDS) GROUPS_BY_WORD[field.word] = groupsOf(field);

const WINDOW_CONTROLS = (1 << 2) | (1 << 22);
const PRIMARY_WORD = wordOf(VMCS.PRIMARY_CONTROLS);

const LIVE_FIELDS = VMCS_FIELDS.filter((field) => field.live >= 0);
const RFLAGS_WORD = wordOf(VMCS.GUEST_RFLAGS);
/** RFLAGS bits 31:22, 15, 5 and 3 are reserved as 0, bit 1 as 1 (SDM §27.3.1.4). */
const RFLAGS_FIXED = 0xffc0_0000 | (1 << 15) | (1 << 5) | (1 << 3) | (1 << 1) | 0;
const RFLAGS_ONE = 1 << 1;

export class Vmcs {
  readonly words: Uint32Array = new Uint32Array(VMCS_WORDS);
  /** Physical address of the current VMCS's region, −1 when there is none. */
  pointer = -1;
  launched = false;
  /** Groups of checks that are due at the next VM entry. */
  due = 0;
  /** The value last written to the RFLAGS field has reserved bits that the state block cannot hold; its word has it. */
  rflagsReservedWrong = false;
  private readonly state: ProcessorState;

  constructor(state: ProcessorState) {
    this.state = state;
  }

  /** Makes the region at `pointer` the current VMCS; the one before must have been stored. */
  load(memory: HostMemory, pointer: number): void {
    this.pointer = pointer;
    this.launched = memory.load32(pointer + LAUNCH_STATE_OFFSET) === 1;
    for (let word = 0; word < VMCS_WORDS; word++) {
      this.words[word] = memory.load32(pointer + DATA_OFFSET + 4 * word);
    }
    for (const field of LIVE_FIELDS) {
      const mask = field.width === WIDTH_16 ? 0xffff : 0xffff_ffff;
      this.state.set(field.live, this.word(field.word) & mask);
      if (field.width === WIDTH_64) this.state.set(field.live + 4, this.word(field.word + 1));
    }
    this.writeRflags(this.word(RFLAGS_WORD));
    this.due = ALL_GROUPS;
  }

  /** Writes the current VMCS back to its region. */
  store(memory: HostMemory): void {
    for (const field of LIVE_FIELDS) {
      this.words[field.word] = this.state.get(field.live);
      if (field.width === WIDTH_64) this.words[field.word + 1] = this.state.get(field.live + 4);
    }
    if (!this.rflagsReservedWrong) this.words[RFLAGS_WORD] = this.state.eflags;
    memory.store32(this.pointer + LAUNCH_STATE_OFFSET, this.launched ? 1 : 0);
    for (let word = 0; word < VMCS_WORDS; word++) {
      memory.store32(this.pointer + DATA_OFFSET + 4 * word, this.word(word));
    }
  }

  word(index: number): number {
    return this.words[index] as number;
  }

  /** Bits 31:0 of a field. */
  low(field: VmcsField): number {
    if (field.live >= 0) return this.state.get(field.live);
    const live = field.word === RFLAGS_WORD && !this.rflagsReservedWrong;
    return live ? this.state.eflags >>> 0 : this.word(field.word);
  }

  /** Bits 63:32 of a field; 0 unless it is 64 bits wide. */
  high(field: VmcsField): number {
    if (field.width !== WIDTH_64) return 0;
    return field.live >= 0 ? this.state.get(field.live + 4) : this.word(field.word + 1);
  }

  /** Stores bits 31:0 of a field and notes the checks that this makes due, if it changes anything. */
  setLow(field: VmcsField, value: number): void {
    const next = field.width === WIDTH_16 ? value & 0xffff : value >>> 0;
    const before = this.low(field);
    if (next === before) return;
    if (field.live >= 0) this.state.set(field.live, next);
    else if (field.word === RFLAGS_WORD) this.writeRflags(next);
    else this.words[field.word] = next;
    const windowsOnly = field.word === PRIMARY_WORD && ((before ^ next) & ~WINDOW_CONTROLS) === 0;
    this.due |= windowsOnly ? WINDOWS : (GROUPS_BY_WORD[field.word] as number);
    // VM decides what segment registers must look like, AC how memory is accessed.
    if (field.word === RFLAGS_WORD && ((before ^ next) & (VM | AC)) !== 0) this.due |= GUEST_SEGMENTS;
  }

  setHigh(field: VmcsField, value: number): void {
    if (this.high(field) === value >>> 0) return;
    if (field.live >= 0) this.state.set(field.live + 4, value);
    else this.words[field.word + 1] = value;
    this.due |= GROUPS_BY_WORD[field.word] as number;
  }

  /** A PDPTE register, loaded by VM entry from memory. */
  loadPdpte(index: number, low: number, high: number): void {
    this.state.set(OFFSET.pdpte + 8 * index, low);
    this.state.set(OFFSET.pdpte + 8 * index + 4, high);
  }

  private writeRflags(value: number): void {
    this.state.eflags = value;
    this.words[RFLAGS_WORD] = value;
    this.rflagsReservedWrong = (value & RFLAGS_FIXED) !== RFLAGS_ONE;
  }
}
