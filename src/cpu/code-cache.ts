// Part: decoded code, keyed by host-physical address and decoding mode.
// Instructions are decoded in runs of consecutive records. A map has a bit for each byte that has been decoded; a store to such
// a byte turns the records of the instructions it is part of into lookups, in place, so that whoever is about to dispatch them
// decodes afresh. Records are freed only all together, between two instructions.

import type { LinearMemory } from "../core/memory.ts";
import { Decoder, MAX_INSTRUCTION_LENGTH } from "./decode.ts";
import { type HandlerTable, handlerTable, SPECIAL } from "./handlers.ts";
import {
  codeMapBase,
  JUMP,
  JUMP_BASE,
  JUMP_ENTRIES,
  JUMP_STRIDE,
  MODE,
  RAM_BASE,
  RECORD,
  RECORD_BASE,
  RECORD_END,
  RECORD_STRIDE,
  SCRATCH_RECORD,
  STUB,
} from "./layout.ts";
import { SLOW_NAMES } from "./opcodes.ts";

/** Instructions in a run; more than a run usually has, few enough that little is decoded in vain. */
const MAX_RUN = 64;
const PAGE = 4096;
/** Bytes of the map that a page has. */
const MAP_BYTES = PAGE / 8;
const PAGE_SHIFT = 12;

const slowIndex = new Map(SLOW_NAMES.map((name, index) => [name, index]));

/** For one page and mode: the record of the instruction at each offset, 0 for none. */
interface PageRecords {
  readonly mode: number;
  readonly records: Uint32Array;
}

/** The decoded form of an instruction that lies in two pages. */
interface Crossing {
  readonly page2: number;
  readonly record: number;
}

export class CodeCache {
  readonly handlers: HandlerTable = handlerTable();
  /** For each host-physical page: not 0 when a byte of it is in the map. */
  readonly pages: Uint8Array;
  /** One bit for each byte of host-physical memory: it has been decoded. Others than those of a record may be left over. */
  readonly #map: Uint8Array;
  /** Counts how often all records were freed. */
  generation = 0;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #decoder = new Decoder();
  readonly #pages = new Map<number, PageRecords[]>();
  /** By the `cross` record in the first page. */
  readonly #crossings = new Map<number, Crossing>();
  /** By host-physical second page: the `cross` records of instructions that reach into it. */
  readonly #reaching = new Map<number, number[]>();
  readonly #onChange: (page: number) => void;
  #next = RECORD_BASE;
  /** The bytes of an instruction that lies in two pages. */
  readonly #joined = new Uint8Array(2 * MAX_INSTRUCTION_LENGTH);
  /** Host-physical ranges of the instruction in the scratch record: first byte and length, twice. */
  readonly #scratch: [number, number, number, number] = [0, 0, 0, 0];

  /** @param onChange called with the host-physical address of a page whose element in {@link pages} changes */
  constructor(memory: LinearMemory, ramSize: number, onChange: (page: number) => void) {
    this.#words = new Int32Array(memory.buffer);
    this.#bytes = new Uint8Array(memory.buffer);
    this.pages = new Uint8Array(ramSize / PAGE);
    this.#map = new Uint8Array(memory.buffer, codeMapBase(ramSize), ramSize / 8);
    this.#onChange = onChange;
    this.reset();
  }

  /** The record of the instruction at `offset` of the code page at host-physical `page`. */
  find(page: number, offset: number, mode: number): number {
    const records = this.#records(page, mode);
    let record = records[offset] as number;
    if (record === 0) {
      record = this.#decodeRun(page, offset, mode);
    }
    const physical = page + offset;
    const slot = (JUMP_BASE + (physical & (JUMP_ENTRIES - 1)) * JUMP_STRIDE) >> 2;
    this.#words[slot + (JUMP.physical >> 2)] = physical;
    this.#words[slot + (JUMP.mode >> 2)] = mode;
    this.#words[slot + (JUMP.record >> 2)] = record;
    return record;
  }

  #records(page: number, mode: number): Uint32Array {
    let tables = this.#pages.get(page);
    if (tables === undefined) {
      tables = [];
      this.#pages.set(page, tables);
    }
    let table = tables.find((other) => other.mode === mode);
    if (table === undefined) {
      table = { mode, records: new Uint32Array(PAGE) };
      tables.push(table);
    }
    return table.records;
  }

  #decodeRun(page: number, start: number, mode: number): number {
    if (this.#next + (MAX_RUN + 1) * RECORD_STRIDE > RECORD_END) this.reset();
    const records = this.#records(page, mode);
    const first = this.#next;
    const end = RAM_BASE + page + PAGE;
    let offset = start;
    for (let count = 0; ; count++) {
      const known = offset < PAGE ? (records[offset] as number) : 0;
      if (known !== 0) {
        this.#special(this.#allocate(), SPECIAL.goto, offset, known);
        return first;
      }
      if (offset >= PAGE || count === MAX_RUN) {
        this.#special(this.#allocate(), SPECIAL.lookup, offset);
        return first;
      }
      const record = this.#allocate();
      records[offset] = record;
      if (this.#decoder.decode(this.#bytes, RAM_BASE + page + offset, end, mode, offset) === "short") {
        this.#special(record, SPECIAL.cross, offset);
        this.#words[(record + RECORD.length) >> 2] = PAGE - offset;
        this.#mark(page, offset, PAGE - offset);
        return first;
      }
      this.#fill(record, offset);
      if (count > 0) this.#fuse(record);
      this.#mark(page, offset, this.#decoder.length);
      offset += this.#decoder.length;
      // A slow function goes on by lookup; nothing follows a jump.
      if (this.#decoder.endsBlock) return first;
    }
  }

  #allocate(): number {
    const record = this.#next;
    this.#next += RECORD_STRIDE;
    return record;
  }

  #special(record: number, handler: number, offset: number, link = 0): void {
    const word = record >> 2;
    this.#words[word + (RECORD.handler >> 2)] = handler;
    this.#words[word + (RECORD.offset >> 2)] = offset;
    this.#words[word + (RECORD.length >> 2)] = 0;
    this.#words[word + (RECORD.link >> 2)] = link;
  }

  #fill(record: number, offset: number): void {
    const decoder = this.#decoder;
    const { opcode, slow } = decoder;
    const words = this.#words;
    const word = record >> 2;
    const handler = slow !== "" || opcode === undefined ? SPECIAL.slow : this.handlers.find(opcode, decoder.variant);
    words[word + (RECORD.handler >> 2)] = handler;
    words[word + (RECORD.offset >> 2)] = offset;
    words[word + (RECORD.length >> 2)] = decoder.length;
    words[word + (RECORD.destination >> 2)] = decoder.destination;
    words[word + (RECORD.source >> 2)] = decoder.source;
    words[word + (RECORD.base >> 2)] = decoder.base;
    words[word + (RECORD.index >> 2)] = decoder.index;
    words[word + (RECORD.shift >> 2)] = decoder.shift;
    words[word + (RECORD.displacement >> 2)] = decoder.displacement;
    words[word + (RECORD.immediate >> 2)] = decoder.immediate;
    words[word + (RECORD.segment >> 2)] = decoder.segment;
    words[word + (RECORD.mask >> 2)] = decoder.mask;
    words[word + (RECORD.link >> 2)] = record + STUB;
    if (decoder.variant.linked) {
      words[word + ((STUB + RECORD.handler) >> 2)] = SPECIAL.link;
      words[word + ((STUB + RECORD.offset) >> 2)] = decoder.immediate;
    }
    words[word + (RECORD.opcode >> 2)] = decoder.number | ((decoder.modrm & 0xff) << 16) | (decoder.bits << 24);
    words[word + (RECORD.immediate2 >> 2)] = decoder.immediate2;
    words[word + (RECORD.slow >> 2)] = slowIndex.get(slow === "" ? (opcode?.name ?? "") : slow) ?? 0;
  }

  /** Has the record before this one in the run execute this one too, where there is a handler for both. */
  #fuse(record: number): void {
    const before = (record - RECORD_STRIDE + RECORD.handler) >> 2;
    const handler = this.#words[(record + RECORD.handler) >> 2] as number;
    this.#words[before] = this.handlers.fuse(this.#words[before] as number, handler);
  }

  /** Turns a record into a lookup; the record before it no longer executes this one. */
  #drop(record: number): void {
    this.#words[(record + RECORD.handler) >> 2] = SPECIAL.lookup;
    const before = (record - RECORD_STRIDE + RECORD.handler) >> 2;
    this.#words[before] = this.handlers.first(this.#words[before] as number);
  }

  #mark(page: number, offset: number, length: number): void {
    const first = page + offset;
    const end = first + length;
    for (let byte = first >>> 3; byte <= (end - 1) >>> 3; byte++) {
      this.#map[byte] = (this.#map[byte] as number) | bitsOf(byte, first, end);
    }
    this.#setPage(page, 1);
  }

  #setPage(page: number, value: 0 | 1): void {
    const number = page >>> PAGE_SHIFT;
    if (this.pages[number] === value) return;
    this.pages[number] = value;
    this.#onChange(page);
  }

  /**
   * Decodes one instruction that is not kept, because it lies in two pages or in a page that the code segment covers in
   * part. `page2` is the host-physical address of the next page, −1 if it is not known: then the result is 0 if
   * the instruction reaches into it. Memory outside of RAM reads as all ones.
   * @param available bytes that may be read from `page` at `offset` on
   */
  scratch(page: number, offset: number, available: number, page2: number, mode: number): number {
    const inFirst = Math.min(available, MAX_INSTRUCTION_LENGTH);
    const start = RAM_BASE + page + offset;
    this.#joined.fill(0xff);
    this.#joined.set(this.#bytes.subarray(start, start + inFirst));
    const spans = page2 >= 0;
    if (spans) {
      const second = RAM_BASE + page2;
      this.#joined.set(this.#bytes.subarray(second, second + MAX_INSTRUCTION_LENGTH), inFirst);
    }
    const end = spans ? inFirst + MAX_INSTRUCTION_LENGTH : inFirst;
    if (this.#decoder.decode(this.#joined, 0, end, mode | UNLINKED, offset) === "short") return 0;
    const { length } = this.#decoder;
    this.#fill(SCRATCH_RECORD, offset);
    this.#special(SCRATCH_RECORD + RECORD_STRIDE, SPECIAL.lookup, offset + length);
    const here = Math.min(length, inFirst);
    this.#mark(page, offset, here);
    this.#scratch[0] = page + offset;
    this.#scratch[1] = here;
    this.#scratch[2] = page2;
    this.#scratch[3] = spans ? length - here : 0;
    if (length > here) this.#mark(page2, 0, length - here);
    return SCRATCH_RECORD;
  }

  /**
   * The record of the instruction behind a `cross` record, which begins at `offset` of host-physical `page` and ends in
   * `page2`. Its translation may change from one execution to the next, so that both pages are given each time.
   */
  crossing(cross: number, page: number, offset: number, page2: number, mode: number): number {
    const known = this.#crossings.get(cross);
    if (known !== undefined && known.page2 === page2) return known.record;
    const scratch = this.scratch(page, offset, PAGE - offset, page2, mode);
    // Without room it is decoded each time, until something else frees the records.
    if (this.#next + 2 * RECORD_STRIDE > RECORD_END) return scratch;
    const record = this.#allocate();
    this.#allocate();
    this.#words.copyWithin(record >> 2, scratch >> 2, (scratch + 2 * RECORD_STRIDE) >> 2);
    this.#crossings.set(cross, { page2, record });
    this.#words[(cross + RECORD.link) >> 2] = record;
    this.#words[(cross + RECORD.immediate) >> 2] = page2;
    const reaching = this.#reaching.get(page2);
    if (reaching === undefined) this.#reaching.set(page2, [cross]);
    else if (!reaching.includes(cross)) reaching.push(cross);
    return record;
  }

  #dropCrossing(cross: number): void {
    const known = this.#crossings.get(cross);
    if (known === undefined) return;
    this.#words[(known.record + RECORD.handler) >> 2] = SPECIAL.lookup;
    this.#words[(cross + RECORD.link) >> 2] = 0;
    this.#crossings.delete(cross);
  }

  /** The record of an instruction that consists of an undefined opcode: what is executed from open bus. */
  openBus(offset: number): number {
    this.#joined.fill(0xff);
    this.#decoder.decode(this.#joined, 0, MAX_INSTRUCTION_LENGTH, UNLINKED, offset);
    this.#fill(SCRATCH_RECORD, offset);
    return SCRATCH_RECORD;
  }

  /** Host-physical memory was written. Cheap when nothing of the page is decoded. */
  written(physical: number, length: number): void {
    let from = physical;
    const end = physical + length;
    while (from < end) {
      const number = from >>> PAGE_SHIFT;
      const page = number * PAGE;
      const to = Math.min(end, page + PAGE);
      if (this.pages[number] !== 0 && this.#unmark(from, to)) this.#invalidate(page, from - page, to - page);
      from = to;
    }
  }

  /** Takes the bytes of one page from the map; whether one was in it. */
  #unmark(from: number, to: number): boolean {
    let found = 0;
    for (let byte = from >>> 3; byte <= (to - 1) >>> 3; byte++) {
      const bits = bitsOf(byte, from, to);
      const before = this.#map[byte] as number;
      found |= before & bits;
      this.#map[byte] = before & ~bits;
    }
    return found !== 0;
  }

  /** Drops whatever was decoded from bytes `from` to `to` − 1 of a page. */
  #invalidate(page: number, from: number, to: number): void {
    const [first, length, second, length2] = this.#scratch;
    if (overlaps(first, length, page + from, page + to) || overlaps(second, length2, page + from, page + to)) {
      this.#words[(SCRATCH_RECORD + RECORD.handler) >> 2] = SPECIAL.lookup;
    }
    const reaching = this.#reaching.get(page);
    if (reaching !== undefined) this.#invalidateReaching(page, from, reaching);
    for (const { records } of this.#pages.get(page) ?? []) {
      for (let offset = Math.max(0, from - MAX_INSTRUCTION_LENGTH + 1); offset < to; offset++) {
        const record = records[offset] as number;
        if (record === 0 || offset + (this.#words[(record + RECORD.length) >> 2] as number) <= from) continue;
        records[offset] = 0;
        this.#drop(record);
        this.#dropCrossing(record);
        this.#dropJump(page + offset);
      }
    }
    if (this.#isMarked(page)) return;
    this.#pages.delete(page);
    this.#setPage(page, 0);
  }

  #isMarked(page: number): boolean {
    for (let byte = page >>> 3; byte < (page + PAGE) >>> 3; byte++) if (this.#map[byte] !== 0) return true;
    return false;
  }

  /** Drops the instructions that begin in the page before and end behind byte `from` of this one. */
  #invalidateReaching(page: number, from: number, reaching: readonly number[]): void {
    const kept = reaching.filter((cross) => {
      const known = this.#crossings.get(cross);
      if (known === undefined || known.page2 !== page) return false;
      const word = known.record >> 2;
      const offset = this.#words[word + (RECORD.offset >> 2)] as number;
      const length = this.#words[word + (RECORD.length >> 2)] as number;
      if (offset + length - PAGE <= from) return true;
      this.#dropCrossing(cross);
      return false;
    });
    if (kept.length === 0) this.#reaching.delete(page);
    else this.#reaching.set(page, kept);
  }

  #dropJump(physical: number): void {
    const slot = (JUMP_BASE + (physical & (JUMP_ENTRIES - 1)) * JUMP_STRIDE) >> 2;
    if (this.#words[slot + (JUMP.physical >> 2)] === physical) this.#words[slot + (JUMP.mode >> 2)] = -1;
  }

  /** Forgets all decoded code. Only between two instructions, or when nothing of the current record is read any more. */
  reset(): void {
    this.generation++;
    this.#pages.clear();
    this.#crossings.clear();
    this.#reaching.clear();
    for (let number = this.pages.indexOf(1); number >= 0; number = this.pages.indexOf(1, number + 1)) {
      this.#map.fill(0, number * MAP_BYTES, (number + 1) * MAP_BYTES);
      this.#setPage(number * PAGE, 0);
    }
    this.#next = RECORD_BASE;
    this.#scratch.fill(0);
    for (let slot = 0; slot < JUMP_ENTRIES; slot++) {
      this.#words[((JUMP_BASE + slot * JUMP_STRIDE) >> 2) + (JUMP.mode >> 2)] = -1;
    }
  }
}

const UNLINKED = MODE.unlinked;

/** The bits of a byte of the map that stand for addresses from `from` to `end` − 1. */
function bitsOf(byte: number, from: number, end: number): number {
  const first = Math.max(from - 8 * byte, 0);
  const last = Math.min(end - 8 * byte, 8);
  return (0xff >>> (8 - last)) & (0xff << first);
}

function overlaps(first: number, length: number, from: number, to: number): boolean {
  return length > 0 && first < to && first + length > from;
}
