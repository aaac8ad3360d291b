// The guest images kept in the repository are what their sources say: rebuilt with the same compiler they have the same bytes.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";

const guests = join(import.meta.dirname, "../../guests");
const images = join(guests, "images");
const names = readdirSync(images).filter((name) => name.endsWith(".elf"));

/** First lines of `gcc --version` and `ld --version`, as guests/build.sh records them; undefined where one is missing. */
function toolchain(): string | undefined {
  try {
    const versions = ["gcc", "ld"].map(
      (tool) => execFileSync(tool, ["--version"], { encoding: "utf8" }).split("\n")[0],
    );
    return `${versions.join("\n")}\n`;
  } catch {
    return undefined;
  }
}

test("every guest image is rebuilt byte for byte from its sources", { timeout: 60_000 }, (context) => {
  const recorded = readFileSync(join(images, "toolchain.txt"), "utf8");
  if (toolchain() !== recorded) {
    context.skip(`the images were made by another compiler or linker:\n${recorded}`);
  }
  const out = mkdtempSync(join(tmpdir(), "ringback-guests-"));
  onTestFinished(() => rmSync(out, { recursive: true }));
  execFileSync(join(guests, "build.sh"), [out], { stdio: "pipe" });
  expect(readdirSync(out).filter((name) => name.endsWith(".elf"))).toEqual(names);
  for (const name of names) {
    expect(
      readFileSync(join(out, name)).equals(readFileSync(join(images, name))),
      `${name}, after guests/build.sh`,
    ).toBe(true);
  }
});

/** The descriptors of the notes of one owner in an ELF32 file: note type to descriptor bytes. ELF specification 1.2, figures 2-1 and 2-3. */
function notes(file: Buffer, owner: string): Map<number, Buffer> {
  const found = new Map<number, Buffer>();
  const [headers, size, count] = [file.readUInt32LE(28), file.readUInt16LE(42), file.readUInt16LE(44)];
  for (let i = 0; i < count; i++) {
    const header = headers + i * size;
    if (file.readUInt32LE(header) !== 4 /* PT_NOTE */) continue;
    const start = file.readUInt32LE(header + 4);
    const end = start + file.readUInt32LE(header + 16);
    for (let at = start; at < end; ) {
      const [nameSize, descriptorSize, type] = [0, 4, 8].map((offset) => file.readUInt32LE(at + offset)) as [
        number,
        number,
        number,
      ];
      const descriptor = at + 12 + ((nameSize + 3) & ~3);
      if (file.toString("latin1", at + 12, at + 12 + nameSize) === `${owner}\0`) {
        found.set(type, file.subarray(descriptor, descriptor + descriptorSize));
      }
      at = descriptor + ((descriptorSize + 3) & ~3);
    }
  }
  return found;
}

test("every guest image has a PVH entry point", () => {
  for (const name of names) {
    const entry = notes(readFileSync(join(images, name)), "Xen").get(18);
    expect(entry?.readUInt32LE(0), name).toBeGreaterThanOrEqual(0x10_0000);
  }
});

/** Guests that are nothing without Xen. */
const XEN_ONLY = ["blkfront.elf", "first-light.elf", "hvm-interrupts.elf", "netfront-echo.elf"];

test("every image that other machines start too has a multiboot header where a loader looks for it", () => {
  const portable = names.filter((name) => !XEN_ONLY.includes(name));
  expect(portable).toContain("ne2000-echo.elf");
  for (const name of portable) {
    const file = readFileSync(join(images, name));
    // Multiboot specification 0.6.96, 3.1: within the first 8192 bytes, aligned to 4; magic, flags and checksum add up to 0.
    const at = file.indexOf(Uint8Array.of(0x02, 0xb0, 0xad, 0x1b));
    expect(at % 4, name).toBe(0);
    expect(at, name).toBeLessThanOrEqual(8192 - 12);
    const [magic, flags, checksum] = [0, 4, 8].map((offset) => file.readUInt32LE(at + offset)) as [
      number,
      number,
      number,
    ];
    expect((magic + flags + checksum) >>> 0, name).toBe(0);
  }
});

test("every benchmark image states a count of about 300 million instructions", () => {
  const benchmarks = names.filter((name) => name.startsWith("bench-"));
  expect(benchmarks).toEqual(["bench-alu.elf", "bench-mem.elf", "bench-mixed.elf"]);
  for (const name of benchmarks) {
    const facts = notes(readFileSync(join(images, name)), "ringback").get(1);
    const instructions = Number(facts?.readBigUInt64LE(0));
    expect(instructions, name).toBeGreaterThan(270e6);
    expect(instructions, name).toBeLessThan(330e6);
  }
});
