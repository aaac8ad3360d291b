/** What a store does to decoded code. A record is an address; one that is found again at the same address was not decoded again. */
import { describe, expect, test } from "vitest";
import { CodeCache } from "../../../src/cpu/code-cache.ts";
import { SPECIAL } from "../../../src/cpu/handlers.ts";
import { createArena, MODE, RAM_BASE, RECORD, RECORD_STRIDE } from "../../../src/cpu/layout.ts";

const RAM_BYTES = 0x1_0000;
const PAGE = 0x2000;
const NEXT_PAGE = 0x3000;
const FLAT = MODE.code32 | MODE.stack32;
const INC_EAX = 0x40;
/** CMP EAX, ECX; JE over one byte. */
const COMPARE = [0x39, 0xc8];
const JUMP = [0x74, 0x01];

function create(...code: readonly number[]) {
  const arena = createArena(RAM_BYTES);
  const changes: number[] = [];
  const cache = new CodeCache(arena, RAM_BYTES, (page) => changes.push(page));
  const memory = new Uint8Array(arena.buffer, RAM_BASE, RAM_BYTES);
  const words = new Int32Array(arena.buffer);
  memory.set(code, PAGE);
  return {
    cache,
    memory,
    /** Pages that became code, or ceased to be. */
    changes,
    find: (offset: number): number => cache.find(PAGE, offset, FLAT),
    handler: (record: number): number => words[(record + RECORD.handler) >> 2] as number,
  };
}

describe("a store", () => {
  test("beside an instruction leaves it as it is", () => {
    const { cache, find } = create(INC_EAX, 0xeb, 0xfd, 0, 0, 0);
    const record = find(0);
    cache.written(PAGE + 3, 4);
    cache.written(PAGE - 1, 1);
    expect(find(0)).toBe(record);
  });

  test("into an instruction turns it and no other into a lookup", () => {
    const { cache, find, handler } = create(INC_EAX, ...COMPARE, ...JUMP, INC_EAX, 0xeb, 0xf8);
    const records = [0, 1, 3, 5, 6].map(find);
    // The immediate of JE.
    cache.written(PAGE + 4, 1);
    expect(records.map((record) => handler(record) === SPECIAL.lookup)).toEqual([false, false, true, false, false]);
    expect([0, 1, 5, 6].map(find)).toEqual([records[0], records[1], records[3], records[4]]);
    expect(find(3)).not.toBe(records[2]);
  });

  test("into the second instruction of a pair leaves the first one to itself", () => {
    const { cache, find, handler } = create(...COMPARE, ...JUMP, INC_EAX, 0xeb, 0xf9);
    const compare = find(0);
    const alone = cache.handlers.first(handler(compare));
    expect(handler(compare)).not.toBe(alone);
    cache.written(PAGE + 2, 1);
    expect(handler(compare)).toBe(alone);
    expect(handler(compare + RECORD_STRIDE)).toBe(SPECIAL.lookup);
    // Decoded again, with the pair's first still in use: the run goes on where the old one is known.
    find(2);
    expect(handler(compare)).toBe(alone);
  });

  test("into the first instruction of a pair leaves the second one where it is", () => {
    const { cache, find, handler } = create(...COMPARE, ...JUMP, INC_EAX, 0xeb, 0xf9);
    const compare = find(0);
    const jump = find(2);
    cache.written(PAGE, 1);
    expect(handler(compare)).toBe(SPECIAL.lookup);
    expect(find(2)).toBe(jump);
    expect(find(0)).not.toBe(compare);
  });

  test("is met by instructions of every mode that share the byte", () => {
    const { cache, find } = create(0xb8, INC_EAX, INC_EAX, INC_EAX, INC_EAX, 0xeb, 0xfe);
    const [long, inside] = [find(0), find(2)];
    const narrow = cache.find(PAGE, 0, MODE.general);
    cache.written(PAGE + 2, 1);
    expect(find(0)).not.toBe(long);
    expect(find(2)).not.toBe(inside);
    expect(cache.find(PAGE, 0, MODE.general)).not.toBe(narrow);
  });

  test("into either page of an instruction in two pages is met by it, and one behind its end is not", () => {
    const { cache, memory, find } = create();
    // MOV EAX, imm32 with three bytes of the immediate in the second page.
    memory.set([0xb8, 0x78, 0x56, 0x34, 0x12], NEXT_PAGE - 2);
    const whole = (): number => cache.crossing(find(0xffe), PAGE, 0xffe, NEXT_PAGE, FLAT);
    let record = whole();
    cache.written(NEXT_PAGE + 3, 4);
    expect(whole()).toBe(record);
    for (const address of [NEXT_PAGE + 2, NEXT_PAGE, NEXT_PAGE - 1, NEXT_PAGE - 2]) {
      cache.written(address, 1);
      expect(whole()).not.toBe(record);
      record = whole();
    }
  });

  test("over all of a page's code makes it a page without code", () => {
    const { cache, find, changes } = create(INC_EAX, 0xeb, 0xfd);
    find(0);
    cache.written(PAGE + 1, 2);
    expect(cache.pages[PAGE >> 12]).toBe(1);
    cache.written(PAGE, 1);
    expect(cache.pages[PAGE >> 12]).toBe(0);
    expect(changes).toEqual([PAGE, PAGE]);
  });
});
