// Before the cli tests: the program as it is installed.

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..", "..");

/** The program's file that `bin` in package.json names. */
export const program = join(root, "dist", "src", "cli", "main.js");

export default function build(): void {
  const compiler = join(root, "node_modules", "typescript", "bin", "tsc");
  const { stdout, stderr } = spawnSync(process.execPath, [compiler, "-p", "tsconfig.build.json"], {
    cwd: root,
    encoding: "utf8",
  });
  if (!existsSync(program)) throw new Error(`the build gave no ${program}:\n${stdout}${stderr}`);
}
