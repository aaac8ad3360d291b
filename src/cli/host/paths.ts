// Part: paths as the host writes them.

import { join, resolve } from "node:path";

export function resolvePath(cwd: string, path: string): string {
  return resolve(cwd, path);
}

export function joinPath(folder: string, name: string): string {
  return join(folder, name);
}
