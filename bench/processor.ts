// Part: how fast the processor runs. Prints millions of instructions a second, of elapsed and of processor time, for
// loops of registers, memory, calls, string moves and a loop across a page end, in flat 32-bit protected mode with paging.
// Run by hand: npx rolldown bench/processor.ts --platform node -f esm -o /tmp/bench.mjs && node /tmp/bench.mjs

import { Processor } from "../src/cpu/processor.ts";
import { CR0_PG, CS, OFFSET } from "../src/cpu/state.ts";

const CODE = 0x1000;
const PAGE_DIRECTORY = 0x10_0000;
const PAGE_TABLE = 0x10_1000;
const RAM_BYTES = 16 * 1024 * 1024;
const INSTRUCTIONS = 100_000_000;
const ROUNDS = 5;

const LOOPS: readonly { name: string; at: number; code: readonly number[] }[] = [
  // L: ADD EAX, ECX; XOR EDX, EAX; LEA EBX, [EDX+EAX*2]; SHL EBX, 3; DEC ECX; JMP L
  { name: "registers", at: CODE, code: [0x01, 0xc8, 0x31, 0xc2, 0x8d, 0x1c, 0x42, 0xc1, 0xe3, 3, 0x49, 0xeb, 0xf3] },
  // L: MOV EAX, [20000h+EBX*4]; ADD EAX, EDX; MOV [20000h+EBX*4], EAX; INC EBX; AND EBX, 0FFFh; DEC ECX; JMP L
  {
    name: "memory",
    at: CODE,
    code: [
      ...[0x8b, 0x04, 0x9d, 0, 0, 2, 0, 0x01, 0xd0, 0x89, 0x04, 0x9d, 0, 0, 2, 0],
      ...[0x43, 0x81, 0xe3, 0xff, 0x0f, 0, 0, 0x49, 0xeb, 0xe6],
    ],
  },
  // L: CALL F; DEC ECX; JMP L; F: PUSH EAX; POP EAX; RET
  { name: "calls", at: CODE, code: [0xe8, 3, 0, 0, 0, 0x49, 0xeb, 0xf8, 0x50, 0x58, 0xc3] },
  // L: MOV ESI, 20000h; MOV EDI, 40000h; MOV ECX, 4000h; REP MOVSD; JMP L
  {
    name: "strings",
    at: CODE,
    code: [0xbe, 0, 0, 2, 0, 0xbf, 0, 0, 4, 0, 0xb9, 0, 0x40, 0, 0, 0xf3, 0xa5, 0xeb, 0xed],
  },
  // The register loop with an instruction that lies in two pages.
  {
    name: "page end",
    at: CODE + 0xffb,
    code: [0x01, 0xc8, 0x31, 0xc2, 0x8d, 0x1c, 0x42, 0xc1, 0xe3, 3, 0x49, 0xeb, 0xf3],
  },
];

function prepare(at: number, code: readonly number[]): Processor {
  const platform = {
    readTsc: () => 0n,
    instructionsUntilTsc: () => Number.MAX_SAFE_INTEGER,
    portRead: () => 0xff,
    portWrite: () => {},
  };
  const processor = new Processor({ ramBytes: RAM_BYTES, platform });
  const { state, memory } = processor;
  for (let segment = 0; segment < 6; segment++) {
    state.setSelector(segment, segment === CS ? 8 : 16);
    state.setSegmentBase(segment, 0);
    state.setLimit(segment, 0xffff_ffff);
    state.setAccessRights(segment, segment === CS ? 0xc09b : 0xc093);
  }
  memory.store32(PAGE_DIRECTORY, PAGE_TABLE | 7);
  for (let page = 0; page < 1024; page++) memory.store32(PAGE_TABLE + 4 * page, (page * 4096) | 7);
  state.set(OFFSET.cr3, PAGE_DIRECTORY);
  state.set(OFFSET.cr0, (0x11 | CR0_PG) >>> 0);
  memory.write(at, Uint8Array.from(code));
  state.eip = at;
  state.setGpr(4, 0x8000);
  processor.modeChanged();
  return processor;
}

for (const { name, at, code } of LOOPS) {
  const processor = prepare(at, code);
  processor.execute(INSTRUCTIONS / 10);
  let elapsed = 0;
  let used = 0;
  let best = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const start = performance.now();
    const cpu = process.cpuUsage();
    processor.execute(INSTRUCTIONS);
    const ms = performance.now() - start;
    elapsed += ms;
    used += process.cpuUsage(cpu).user / 1000;
    best = Math.max(best, INSTRUCTIONS / ms / 1000);
  }
  const rate = (ms: number): string => ((ROUNDS * INSTRUCTIONS) / ms / 1000).toFixed(0);
  console.log(`${name.padEnd(10)} ${rate(elapsed)} MIPS, best ${best.toFixed(0)}, of processor time ${rate(used)}`);
}
