// Program: runs one benchmark guest in the npm package v86, as guests.ts asks:  node run-v86.js IMAGE compiler|interpreter COMMAND-LINE

import { readFileSync } from "node:fs";
import { v86 } from "./files.ts";

interface Emulator {
  add_listener(event: string, listener: (value: number) => void): void;
}

interface Library {
  V86: new (options: object) => Emulator;
}

const [image = "", mode, cmdline = ""] = process.argv.slice(2);
const { V86 } = (await import(v86.library)) as Library;
let output = "";

// The guest's write to port 0xf4 ends v86 by an exception that nobody catches.
process.on("uncaughtException", (error: unknown) => {
  process.stdout.write(error === "HALT" ? output : `${String(error)}\n`, () => process.exit(error === "HALT" ? 0 : 1));
});

const emulator = new V86({
  wasm_path: v86.wasm,
  multiboot: { buffer: new Uint8Array(readFileSync(image)).buffer },
  cmdline,
  memory_size: 64 * 2 ** 20,
  vga_memory_size: 2 ** 20,
  disable_jit: mode === "interpreter",
  // For ne2000-bench; no cable is plugged in.
  net_device: { type: "ne2k" },
  disable_speaker: true,
  log_level: 0,
  autostart: true,
});
emulator.add_listener("serial0-output-byte", (byte) => {
  output += String.fromCharCode(byte);
});
