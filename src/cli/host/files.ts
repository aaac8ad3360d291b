// Part: files, with the host's errors in plain words.

import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { InputError } from "../../core/errors.ts";

const PROBLEMS: Readonly<Record<string, string>> = {
  ENOENT: "no such file or folder",
  EACCES: "permission denied",
  EPERM: "permission denied",
  EISDIR: "is a folder",
  ENOTDIR: "a part of the path is no folder",
  ENOSPC: "no space left on the device",
  EROFS: "the file system is read-only",
  EFBIG: "the file is too large",
  ERR_FS_FILE_TOO_LARGE: "the file is too large to be read at once",
};

/** An error of the file system as bad input; anything else as it came. */
function translated(error: unknown, path: string): unknown {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  if (code === undefined) return error;
  return new InputError(PROBLEMS[code] ?? (error as Error).message, path, { cause: error });
}

/** @param name the path as a person wrote it, for messages @throws InputError on a file that cannot be read */
export function readInput(path: string, name = path): Uint8Array {
  try {
    return new Uint8Array(readFileSync(path));
  } catch (error) {
    throw translated(error, name);
  }
}

/** A file that grows while it is written, so that what was recorded survives the recorder. */
export interface GrowingFile {
  /** Every byte is with the operating system when it returns. */
  write(bytes: Uint8Array): void;
  close(): void;
}

/** @param name the path as a person wrote it @throws InputError when the file exists and may not be replaced, or cannot be written */
export function createGrowing(path: string, force: boolean, name: string): GrowingFile {
  let descriptor: number;
  try {
    descriptor = openSync(path, force ? "w" : "wx");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") {
      throw new InputError("exists already; --force replaces it", name, { cause: error });
    }
    throw translated(error, name);
  }
  return {
    write: (bytes) => {
      try {
        for (let written = 0; written < bytes.length; ) {
          written += writeSync(descriptor, bytes, written, bytes.length - written);
        }
      } catch (error) {
        throw translated(error, name);
      }
    },
    close: () => closeSync(descriptor),
  };
}
