// Part: where the bytes of kernels, modules and disks come from. A source is plain words; who has a file system (the command line's host, a
// test) resolves it. A trace names every image by size and SHA-256, and a replay refuses other bytes.

import { sha256Hex } from "../core/digest.ts";
import { InputError } from "../core/errors.ts";
import type { ImageRecord } from "../trace/format.ts";

export type ImageSource =
  /** A guest that comes with ringback: `guests/images/<guest>.elf`. */
  | { readonly guest: string }
  /** A file of an unpacked Debian package, see `scripts/fetch-guests`. */
  | { readonly package: string; readonly path: string }
  /** A file, relative to the scenario's module. */
  | { readonly file: string }
  /** Bytes that the scenario makes; the same each time. */
  | { readonly build: () => Uint8Array };

/** Gives the bytes of every source but `build`. @throws InputError when they cannot be had */
export type ImageLoader = (source: Exclude<ImageSource, { build: unknown }>) => Uint8Array;

/** For scenarios that make all their images themselves. */
export const noImages: ImageLoader = (source) => {
  throw new InputError("nobody loads it: give `load`, on Node nodeImages() of ringback/node", JSON.stringify(source));
};

/** The images of one machine, by the names that its configuration uses. */
export class Images {
  readonly #bytes: ReadonlyMap<string, Uint8Array>;

  constructor(sources: Readonly<Record<string, ImageSource>>, load: ImageLoader) {
    this.#bytes = new Map(
      Object.entries(sources).map(([name, source]) => [
        name,
        "build" in source ? built(name, source.build) : load(source),
      ]),
    );
  }

  /** @throws InputError when the configuration names an image that the scenario does not have */
  bytes(name: string): Uint8Array {
    const bytes = this.#bytes.get(name);
    if (bytes === undefined) throw new InputError("the scenario has no such image", `image ${name}`);
    return bytes;
  }

  records(): ImageRecord[] {
    return Array.from(this.#bytes, ([name, bytes]) => ({ name, size: bytes.length, sha256: sha256Hex(bytes) }));
  }

  /** @throws InputError naming the first image that is missing or differs from what a trace was recorded with */
  check(recorded: readonly ImageRecord[]): void {
    const present = this.records();
    for (const { name, size, sha256 } of recorded) {
      const image = present.find((candidate) => candidate.name === name);
      if (image === undefined) throw new InputError("the trace needs it, the scenario has it no more", `image ${name}`);
      if (image.sha256 !== sha256) {
        throw new InputError(
          `differs from the one the trace was recorded with (SHA-256 ${image.sha256}, ${image.size} bytes; ` +
            `recorded ${sha256}, ${size} bytes)`,
          `image ${name}`,
        );
      }
    }
  }
}

/** A scenario's code may be wrong. */
function built(name: string, build: () => Uint8Array): Uint8Array {
  let bytes: unknown;
  try {
    bytes = build();
  } catch (error) {
    throw new InputError(`cannot be built: ${String(error)}`, `image ${name}`, { cause: error });
  }
  if (!(bytes instanceof Uint8Array)) throw new InputError("its build gives no bytes", `image ${name}`);
  return bytes;
}
