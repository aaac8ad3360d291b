// Program: from power-on to iPXE's DHCP lease in the npm package v86, as boot.ts asks:  node run-v86-boot.js COMMAND-LINE

import { readFileSync } from "node:fs";
import { LEASED, packaged, v86 } from "./files.ts";

interface Emulator {
  add_listener(event: "screen-put-char", listener: (place: readonly [number, number, number]) => void): void;
}

interface Library {
  V86: new (options: object) => Emulator;
}

/** It looks at kernels as 16- and 32-bit numbers. */
const WORD = 4;
const POLL_MS = 20;

function image(name: keyof typeof packaged): { readonly buffer: ArrayBuffer } {
  const bytes = readFileSync(packaged[name]);
  const padded = new Uint8Array(Math.ceil(bytes.length / WORD) * WORD);
  padded.set(bytes);
  return { buffer: padded.buffer };
}

const { V86 } = (await import(v86.library)) as Library;
const emulator = new V86({
  wasm_path: v86.wasm,
  bios: image("bios"),
  vga_bios: image("vgaBios"),
  bzimage: image("ipxe"),
  cmdline: process.argv[2] ?? "",
  memory_size: 32 * 2 ** 20,
  vga_memory_size: 2 * 2 ** 20,
  // Its network answers DHCP by itself.
  net_device: { type: "ne2k", relay_url: "fetch" },
  disable_speaker: true,
  log_level: 0,
  autostart: true,
});
const rows: string[][] = [];
emulator.add_listener("screen-put-char", ([row, column, character]) => {
  rows[row] ??= [];
  rows[row][column] = character === 0 ? " " : String.fromCharCode(character);
});
setInterval(() => {
  const text = rows.map((row) => Array.from(row, (character = " ") => character).join(""));
  if (text.some((row) => LEASED.test(row))) process.stdout.write(text.join("\n"), () => process.exit(0));
}, POLL_MS);
