// Part: where ringback itself lies: as TypeScript sources in a checkout, or compiled in `dist` of a checkout or an installed package.

import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
/** The folder that holds `src` and `scenarios` in the form that runs now: the package's root, or its `dist`. */
const codeRoot = join(here, "..", "..", "..");

/** The folder with package.json, guests/ and, in a checkout, everything else. */
export const packageRoot = existsSync(join(codeRoot, "package.json")) ? codeRoot : dirname(codeRoot);

export const scenariosFolder = join(codeRoot, "scenarios");

const extension = codeRoot === packageRoot ? "ts" : "js";

/** The library's entry, as users import it. */
export const libraryEntry = join(codeRoot, "src", `index.${extension}`);

/** The benchmarks' entry; a package that was installed from a registry may not have it. */
export const benchmarksEntry = join(codeRoot, "bench", `index.${extension}`);
