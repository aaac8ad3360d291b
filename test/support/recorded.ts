// Traces of bundled scenarios, recorded once for each test file that asks.

import { join } from "node:path";
import consoleInput from "../../scenarios/console-input.ts";
import firstLight from "../../scenarios/first-light.ts";
import { nodeImages } from "../../src/cli/host/images.ts";
import type { ImageLoader } from "../../src/machine/images.ts";
import { type Recording, record } from "../../src/replay/record.ts";

/** Bundled guests. */
export const load: ImageLoader = nodeImages(join(import.meta.dirname, "..", "..", "scenarios"));

const made = new Map<string, Recording>();

function once(name: string, make: () => Recording): Recording {
  const found = made.get(name) ?? make();
  made.set(name, found);
  return found;
}

/** 48 446 instructions, three typed lines: the quickest scenario. */
export function recordedConsole(): Recording {
  return once("console", () => record(consoleInput, { load, chunkEvents: 50 }));
}

/** Every part of the machine. */
export function recordedDisk(): Recording {
  return once("disk", () => record(firstLight, { load, chunkEvents: 1000 }));
}

export { consoleInput, firstLight };
