// Part: the images of a scenario out of the file system.

import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { InputError } from "../../core/errors.ts";
import type { ImageLoader } from "../../machine/images.ts";
import { readInput } from "./files.ts";
import { packageRoot } from "./package.ts";

/**
 * Guests that come with ringback, files of the Debian packages that `scripts/fetch-guests.sh` unpacks, and files.
 * @param base folder that a scenario's `file` images are relative to
 */
export function nodeImages(base: string): ImageLoader {
  return (source) => {
    if ("file" in source) return readInput(resolve(base, source.file));
    if ("guest" in source) {
      const path = join(packageRoot, "guests", "images", `${source.guest}.elf`);
      if (!existsSync(path)) throw new InputError("ringback has no such guest", `guest ${source.guest}`);
      return readInput(path);
    }
    const path = join(packageRoot, "guests", ".cache", source.path);
    if (!existsSync(path)) {
      const problem = `${source.path} is not there; scripts/fetch-guests.sh in a checkout of ringback fetches it`;
      throw new InputError(problem, `Debian package ${source.package}`);
    }
    return readInput(path);
  };
}
