// Writes the schema that the event catalogue gives into docs/trace-format.md. Run: npx jiti scripts/trace-schema.ts

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { traceSchema } from "../src/trace/cddl.ts";

const path = join(import.meta.dirname, "..", "docs", "trace-format.md");
const text = readFileSync(path, "utf8");
const replaced = text.replace(/```cddl\n[\s\S]*?```/, () => `\`\`\`cddl\n${traceSchema()}\`\`\``);
if (!replaced.includes("```cddl\n")) throw new Error(`${path} has no cddl block`);
writeFileSync(path, replaced);
