// Part: instruction fetch: finds the record of an instruction, in the page that code is being fetched from, at its end or at the end of its segment.

import type { LinearMemory } from "../core/memory.ts";
import { type Access, FETCH } from "./access.ts";
import type { CodeCache } from "./code-cache.ts";
import { type Cpu, GP } from "./context.ts";
import { ENGINE, MODE, NO_TAG, RECORD, STUB } from "./layout.ts";
import { CS, type ProcessorState } from "./state.ts";

export class Fetcher {
  readonly #words: Int32Array;
  readonly #state: ProcessorState;
  readonly #ramSize: number;
  readonly #code: CodeCache;
  readonly #access: Access;
  readonly #cpu: Cpu;

  constructor(memory: LinearMemory, state: ProcessorState, ramSize: number, code: CodeCache, access: Access, cpu: Cpu) {
    this.#words = new Int32Array(memory.buffer);
    this.#state = state;
    this.#ramSize = ramSize;
    this.#code = code;
    this.#access = access;
    this.#cpu = cpu;
  }

  #get(address: number): number {
    return this.#words[address >> 2] as number;
  }

  #set(address: number, value: number): void {
    this.#words[address >> 2] = value;
  }

  eipOf(record: number): number {
    return (this.#get(ENGINE.codeBase) + this.#get(record + RECORD.offset)) >>> 0;
  }

  /** The current page has to be looked up again. */
  forgetPage(): void {
    this.#set(ENGINE.codeLinear, NO_TAG);
  }

  /** The record at state.eip; throws the fault or the exit that the fetch ends in. */
  fetch(user: boolean): number {
    const state = this.#state;
    const { eip } = state;
    const base = state.segmentBase(CS);
    const limit = state.limit(CS);
    if (eip > limit) throw this.#cpu.fault(GP, 0);
    const linear = (eip + base) >>> 0;
    const page = (linear & ~0xfff) >>> 0;
    const offset = linear & 0xfff;
    if (page !== this.#get(ENGINE.codeLinear) >>> 0) {
      const physical = this.#access.translate(linear, FETCH, user);
      // What is outside of memory, and what the hypervisor emulates, is no code.
      if (physical < 0) {
        this.forgetPage();
        this.#set(ENGINE.codeBase, page - base);
        return this.#code.openBus(offset);
      }
      this.#set(ENGINE.codeLinear, page);
      this.#set(ENGINE.codePhysical, physical - offset);
      this.#set(ENGINE.codeBase, page - base);
      const first = eip - offset;
      let mode = this.#get(ENGINE.baseMode);
      if (first < 0 || first >= this.#get(ENGINE.codeBaseEnd) >>> 0) mode |= MODE.unlinked;
      this.#set(ENGINE.mode, mode);
      // The segment ends inside this page: each instruction is fetched for itself.
      if (first + 4095 > limit) this.forgetPage();
    }
    const physicalPage = this.#get(ENGINE.codePhysical) >>> 0;
    if (this.#get(ENGINE.codeLinear) !== NO_TAG) return this.#code.find(physicalPage, offset, this.#get(ENGINE.mode));
    return this.#fetchAlone(physicalPage, offset, eip, linear, user);
  }

  /** One instruction that is not kept: at the end of a segment, or in two pages. */
  #fetchAlone(page: number, offset: number, eip: number, linear: number, user: boolean): number {
    const mode = this.#get(ENGINE.mode);
    const available = 4096 - offset;
    let record = this.#code.scratch(page, offset, available, -1, mode);
    if (record === 0) {
      const second = this.#secondPage(eip, linear, available, user);
      record = this.#code.scratch(page, offset, available, second < 0 ? this.#ramSize : second, mode);
    }
    this.#requireInside(eip, record);
    return record;
  }

  /** Host-physical address of the page after that of `linear`, for a fetch that goes on there; −1 for open bus. */
  #secondPage(eip: number, linear: number, available: number, user: boolean): number {
    if (eip + available > this.#state.limit(CS)) throw this.#cpu.fault(GP, 0);
    return this.#access.translate((linear + available) >>> 0, FETCH, user);
  }

  #requireInside(eip: number, record: number): void {
    const length = this.#get(record + RECORD.length);
    if (eip + length - 1 > this.#state.limit(CS)) throw this.#cpu.fault(GP, 0);
  }

  /** The record of the instruction in two pages for which `cross` stands; throws as {@link fetch}. */
  cross(cross: number, user: boolean): number {
    const offset = this.#get(cross + RECORD.offset);
    const eip = this.eipOf(cross);
    const linear = (eip + this.#state.segmentBase(CS)) >>> 0;
    const page = this.#get(ENGINE.codePhysical) >>> 0;
    const second = this.#secondPage(eip, linear, 4096 - offset, user);
    const mode = this.#get(ENGINE.mode);
    const record =
      second < 0
        ? this.#code.scratch(page, offset, 4096 - offset, this.#ramSize, mode)
        : this.#code.crossing(cross, page, offset, second, mode);
    this.#requireInside(eip, record);
    return record;
  }

  /** The target of a branch inside the page; remembered unless decoding it freed the branch's own record. */
  link(stub: number): number {
    const { generation } = this.#code;
    const offset = this.#get(stub + RECORD.offset);
    const target = this.#code.find(this.#get(ENGINE.codePhysical) >>> 0, offset, this.#get(ENGINE.mode));
    if (generation === this.#code.generation) this.#set(stub - STUB + RECORD.link, target);
    return target;
  }
}
