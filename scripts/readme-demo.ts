// Puts what the demo prints now into README.md's first screen. Run after a build: npx jiti scripts/readme-demo.ts

import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const { status, stdout } = spawnSync(process.execPath, [join(root, "dist", "src", "cli", "main.js"), "demo"], {
  encoding: "utf8",
});
if (status !== 0) throw new Error(`the demo ended with status ${status}`);
// What comes next names a temporary folder.
const shown = stdout.slice(0, stdout.indexOf("\nNext:")).trimEnd();
const path = join(root, "README.md");
const readme = readFileSync(path, "utf8");
writeFileSync(
  path,
  readme.replace(/(npm start\n)[\s\S]*?```/, (_, head: string) => `${head}${shown}\n\`\`\``),
);
