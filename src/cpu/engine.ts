// Part: the execution engine: runs decoded records, has what is missing fetched (fetcher.ts), calls slow functions.

import type { LinearMemory } from "../core/memory.ts";
import { type Access, EXITED } from "./access.ts";
import type { CodeCache } from "./code-cache.ts";
import type { Cpu, Fault, Instruction } from "./context.ts";
import { Fetcher } from "./fetcher.ts";
import { enterHandler, handlerTable } from "./handlers.ts";
import type { ImportName } from "./ir.ts";
import {
  codeMapBase,
  ENGINE,
  MODE,
  RECORD,
  RECORD_BITS,
  STATE_BASE,
  TLB_EMPTY,
  TLB_SUPERVISOR,
  TLB_USER,
} from "./layout.ts";
import { SLOW_NAMES } from "./opcodes.ts";
import {
  AR_DB,
  AR_UNUSABLE,
  CR0_PE,
  CS,
  DS,
  ES,
  OFFSET,
  type ProcessorState,
  RF,
  SEGMENT_STRIDE,
  SS,
  TF,
  VM,
} from "./state.ts";
import { emitModule } from "./wasm.ts";

/** Why `execute` returned: the budget is used up or a slow function asked for it; a fault; a VM exit. */
export const BOUNDARY = 0;
export const FAULT = 1;
export const EXIT_SIGNAL = 2;
export type Stop = typeof BOUNDARY | typeof FAULT | typeof EXIT_SIGNAL;

export type SlowFunction = (cpu: Cpu, insn: Instruction) => void;

export interface EngineHost {
  readonly cpu: Cpu;
  readonly fault: Fault;
  readonly slowFunctions: Readonly<Record<string, SlowFunction>>;
  /** What is thrown for a VM exit. */
  readonly exitSignal: unknown;
  /** Whether a slow function recorded a VM exit; forgets it. */
  takeExit(): boolean;
}

/** The functions that handlers import, and `run(left)`, which goes on at state.eip. */
export type Imports = Record<ImportName, (...args: number[]) => number>;
export type Backend = (memory: LinearMemory, imports: Imports) => (left: number) => void;

let module: WebAssembly.Module | undefined;

/** The back end that is used for running. All processors share the compiled module. */
export const webAssembly: Backend = (memory, imports) => {
  module ??= new WebAssembly.Module(emitModule(enterHandler(), handlerTable()));
  return new WebAssembly.Instance(module, { host: { memory, ...imports } }).exports.run as (left: number) => number;
};

/** Type bits of a flat segment that matter: code; expand-down; writable. SDM Vol. 3 table 3-1. */
const DATA_TYPE = 8 | 4 | 2;
const WRITABLE_DATA = 2;

export class Engine {
  readonly insn: Instruction = {
    eip: 0,
    length: 0,
    opcode: 0,
    modrm: -1,
    operandSize: 32,
    addressSize: 32,
    segment: DS,
    rep: 0,
    lock: false,
    immediate: 0,
    immediate2: 0,
  };
  readonly #state: ProcessorState;
  readonly #words: Int32Array;
  readonly #fetcher: Fetcher;
  readonly #access: Access;
  readonly #host: EngineHost;
  readonly #slow: readonly SlowFunction[];
  readonly #run: (left: number) => void;
  readonly #ramSize: number;
  /** Completed before the current call of the back end. */
  #completed = 0;
  /** Budget of the current call, and what was left of it when a handler last came here. */
  #budget = 0;
  #left = 0;
  /** What a slow function left over when it ended the run. */
  #leftOver = 0;
  /** The record being executed, 0 when state.eip is at the instruction. */
  #record = 0;
  #inSlow = false;
  /** Why the current call of the back end ends, when it is a fault or an exit. */
  #stop: Stop = BOUNDARY;
  #boundary = false;
  #user = false;

  constructor(
    memory: LinearMemory,
    state: ProcessorState,
    ramSize: number,
    code: CodeCache,
    access: Access,
    host: EngineHost,
    backend: Backend,
  ) {
    this.#state = state;
    this.#words = new Int32Array(memory.buffer);
    this.#fetcher = new Fetcher(memory, state, ramSize, code, access, host.cpu);
    this.#access = access;
    this.#host = host;
    this.#ramSize = ramSize;
    this.#slow = SLOW_NAMES.map((name) => {
      const found = host.slowFunctions[name];
      if (found === undefined) throw new TypeError(`no function executes ${name}`);
      return found;
    });
    const imports: Imports = {
      read: (linear, width, record, left) => {
        this.#at(record, left);
        try {
          return this.#unlessExited(access.read((linear as number) >>> 0, width as number, this.#user));
        } catch (error) {
          return this.#stopFor(error);
        }
      },
      readForWrite: (linear, width, record, left) => {
        this.#at(record, left);
        try {
          return this.#unlessExited(access.readForWrite((linear as number) >>> 0, width as number, this.#user));
        } catch (error) {
          return this.#stopFor(error);
        }
      },
      write: (linear, width, value, record, left) => {
        this.#at(record, left);
        try {
          const written = access.write((linear as number) >>> 0, width as number, value as number, this.#user);
          return this.#unlessExited(written);
        } catch (error) {
          return this.#stopFor(error);
        }
      },
      checkSegment: (block, offset, width, write, record, left) => {
        this.#at(record, left);
        const segment = segmentNumber(block as number);
        try {
          access.checkSegment(segment, (offset as number) >>> 0, width as number, write !== 0);
          return 0;
        } catch (error) {
          return this.#stopFor(error);
        }
      },
      fault: (vector, errorCode, record, left) => {
        this.#at(record, left);
        return this.#stopFor(host.cpu.fault(vector as number, errorCode));
      },
      link: (stub) => this.#fetcher.link(stub as number),
      fetch: (left) => {
        this.#at(0, left);
        try {
          return this.#fetcher.fetch(this.#user);
        } catch (error) {
          return this.#stopFor(error);
        }
      },
      cross: (record, left) => {
        this.#at(record, left);
        try {
          return this.#fetcher.cross(record as number, this.#user);
        } catch (error) {
          return this.#stopFor(error);
        }
      },
      slow: (record, left) => this.#executeSlow(record as number, left as number),
    };
    this.#run = backend(memory, imports);
    this.forgetCodePage();
  }

  /** Instructions completed since the processor was created; exact also inside slow functions. */
  get retired(): number {
    return this.#completed + this.#budget - this.#left;
  }

  /** Counts that are not the guest's: what the hypervisor emulated. */
  setRetired(count: number): void {
    this.#completed = count;
    this.#budget = 0;
    this.#left = 0;
  }

  /**
   * Runs at most `budget` (≥ 1) instructions from state.eip on.
   * @param awaitedFlags the run ends after an instruction that sets one of these bits of EFLAGS (IF)
   */
  execute(budget: number, awaitedFlags: number): Stop {
    this.#boundary = false;
    this.#set(ENGINE.awaitedFlags, awaitedFlags);
    this.#refresh();
    if (!this.#access.hasBreakpoints) return this.#call(budget);
    // A data breakpoint ends the run after the instruction that met it.
    for (let left = budget; left > 0; left--) {
      const stop = this.#call(1);
      if (stop !== BOUNDARY || this.#boundary) return stop;
    }
    return BOUNDARY;
  }

  #call(budget: number): Stop {
    this.#completed = this.retired;
    this.#budget = budget;
    this.#left = budget;
    this.#leftOver = 0;
    this.#record = 0;
    this.#inSlow = false;
    this.#stop = BOUNDARY;
    try {
      this.#run(budget);
    } catch (error) {
      this.#restart();
      throw error;
    }
    if (this.#stop !== BOUNDARY) {
      this.#set(ENGINE.stopped, 0);
      this.#restart();
      return this.#stop;
    }
    this.#left = this.#leftOver;
    // A slow function recorded an exit and returned.
    if (this.#inSlow) {
      this.#restart();
      return EXIT_SIGNAL;
    }
    const record = this.#get(ENGINE.current);
    if (record !== 0) this.#state.eip = this.#fetcher.eipOf(record);
    return BOUNDARY;
  }

  /** Notes the fault or the exit that was thrown, so that the handler leaves the run; throws on what is neither. */
  #stopFor(thrown: unknown): 0 {
    if (thrown === this.#host.fault) this.#stop = FAULT;
    else if (thrown === this.#host.exitSignal) {
      this.#stop = EXIT_SIGNAL;
      this.#host.takeExit();
    } else throw thrown;
    this.#set(ENGINE.stopped, 1);
    return 0;
  }

  /** The result of an access, which may be that it ends in the exit that was recorded. */
  #unlessExited(result: number): number {
    return result === EXITED ? this.#stopFor(this.#host.exitSignal) : result;
  }

  /** Puts EIP back to the instruction that did not complete. */
  #restart(): void {
    if (this.#inSlow) this.#state.eip = this.insn.eip;
    else if (this.#record !== 0) this.#state.eip = this.#fetcher.eipOf(this.#record);
  }

  #get(address: number): number {
    return this.#words[address >> 2] as number;
  }

  #set(address: number, value: number): void {
    this.#words[address >> 2] = value;
  }

  #at(record: number | undefined, left: number | undefined): void {
    this.#record = record as number;
    this.#left = left as number;
  }

  checkBoundary(): void {
    this.#boundary = true;
  }

  flagsSet(flags: number): void {
    if ((flags & (TF | RF | this.#get(ENGINE.awaitedFlags))) !== 0) this.#boundary = true;
  }

  /** The current code page has to be looked up again. */
  forgetCodePage(): void {
    this.#fetcher.forgetPage();
  }

  /** Works out what decoding and translation depend on from the state, before a run and after each slow function. */
  #refresh(): void {
    const state = this.#state;
    const legacy = (state.cr0 & CR0_PE) === 0 || (state.flagsRest & VM) !== 0;
    this.#user = state.cpl === 3;
    const slowOnly = (this.#user && this.#access.checksAlignment) || this.#access.mmio !== undefined;
    this.#set(ENGINE.codeMap, codeMapBase(this.#ramSize));
    this.#set(ENGINE.tlb, slowOnly ? TLB_EMPTY : this.#user ? TLB_USER : TLB_SUPERVISOR);

    const code32 = (state.accessRights(CS) & AR_DB) !== 0;
    const stack32 = (state.accessRights(SS) & AR_DB) !== 0;
    const limit = state.limit(CS);
    const flat =
      stack32 &&
      state.segmentBase(CS) === 0 &&
      limit === 0xffff_ffff &&
      this.#isFlatData(DS) &&
      this.#isFlatData(ES) &&
      this.#isFlatData(SS);
    const mode =
      (code32 ? MODE.code32 : 0) |
      (stack32 ? MODE.stack32 : 0) |
      (flat ? 0 : MODE.general) |
      (legacy ? MODE.legacy : 0);
    const reach = code32 ? limit : Math.min(limit, 0xffff);
    this.#set(ENGINE.codeBaseEnd, reach < 4095 ? 0 : reach - 4094);
    if (mode !== this.#get(ENGINE.baseMode)) {
      this.#set(ENGINE.baseMode, mode);
      this.forgetCodePage();
    }
  }

  #isFlatData(segment: number): boolean {
    const state = this.#state;
    const rights = state.accessRights(segment);
    return (
      state.segmentBase(segment) === 0 &&
      state.limit(segment) === 0xffff_ffff &&
      (rights & (AR_UNUSABLE | DATA_TYPE)) === WRITABLE_DATA
    );
  }

  #executeSlow(record: number, left: number): number {
    this.#at(record, left);
    const { insn } = this;
    const packed = this.#get(record + RECORD.opcode);
    const bits = packed >>> 24;
    insn.eip = this.#fetcher.eipOf(record);
    insn.length = this.#get(record + RECORD.length);
    insn.opcode = packed & 0xffff;
    insn.modrm = (bits & RECORD_BITS.modrm) !== 0 ? (packed >>> 16) & 0xff : -1;
    insn.operandSize = (bits & RECORD_BITS.operand32) !== 0 ? 32 : 16;
    insn.addressSize = (bits & RECORD_BITS.address32) !== 0 ? 32 : 16;
    insn.segment = segmentNumber(this.#get(record + RECORD.segment));
    insn.rep = (bits & RECORD_BITS.repne) !== 0 ? 0xf2 : (bits & RECORD_BITS.rep) !== 0 ? 0xf3 : 0;
    insn.lock = (bits & RECORD_BITS.lock) !== 0;
    insn.immediate = this.#get(record + RECORD.immediate);
    insn.immediate2 = this.#get(record + RECORD.immediate2);
    const slow = this.#slow[this.#get(record + RECORD.slow)] as SlowFunction;
    this.#state.eip = (insn.eip + insn.length) >>> 0;
    this.#inSlow = true;
    try {
      slow(this.#host.cpu, insn);
    } catch (error) {
      return this.#stopFor(error);
    }
    if (this.#host.takeExit()) {
      this.#set(ENGINE.current, 0);
      this.#leftOver = left;
      return 0;
    }
    this.#inSlow = false;
    this.#record = 0;
    const rest = left - 1;
    this.#left = rest;
    if (rest > 0 && !this.#boundary) {
      this.#refresh();
      return rest;
    }
    this.#set(ENGINE.current, 0);
    this.#leftOver = rest;
    return 0;
  }

  /** Offset of the memory operand of the instruction whose slow function runs. */
  effectiveOffset(): number {
    const record = this.#record;
    const base = this.#get(this.#get(record + RECORD.base));
    const index = this.#get(this.#get(record + RECORD.index)) << this.#get(record + RECORD.shift);
    return ((base + index + this.#get(record + RECORD.displacement)) & this.#get(record + RECORD.mask)) >>> 0;
  }
}

function segmentNumber(block: number): number {
  return (block - SEGMENT_BLOCKS) / SEGMENT_STRIDE;
}

const SEGMENT_BLOCKS = STATE_BASE + OFFSET.segment;
