// Part: what the benchmarks load: guests, scenarios' images, and peers that are installed where git does not look.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { ImageLoader } from "../src/machine/images.ts";

const here = fileURLToPath(new URL(".", import.meta.url));
/** The checkout: the benchmarks run compiled, in `dist/bench`. */
export const root = join(here, "..", "..");

/** Where `npm install --prefix bench/.cache v86` puts it; never a dependency. */
const v86Build = join(root, "bench", ".cache", "node_modules", "v86", "build");

export const v86 = { library: join(v86Build, "libv86.mjs"), wasm: join(v86Build, "v86.wasm") };

const packages = join(root, "guests", ".cache");

/** Of Debian's packages seabios and ipxe. */
export const packaged = {
  bios: join(packages, "usr", "share", "seabios", "bios.bin"),
  vgaBios: join(packages, "usr", "share", "seabios", "vgabios-stdvga.bin"),
  ipxe: join(packages, "boot", "ipxe.lkrn"),
};

/** What iPXE shows once it has a lease. */
export const LEASED = /^Configuring \[dhcp\] .*\.\.\. ok/;

/** A program of the benchmarks, compiled. */
export const program = (name: string): string => join(here, `${name}.js`);

export function guestPath(name: string): string {
  return join(root, "guests", "images", `${name}.elf`);
}

export const loadImage: ImageLoader = (source) => {
  if ("file" in source) throw new TypeError("no bundled scenario has files of its own");
  return new Uint8Array(readFileSync("guest" in source ? guestPath(source.guest) : join(packages, source.path)));
};

export function hasPackages(): boolean {
  return existsSync(join(packages, "usr"));
}
