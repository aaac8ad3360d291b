// Part: the builder of model domains. A few pages of memory from guest frame 0: two that the kernel keeps, the store's and the console's
// ring, then the program's.

import { InputError } from "../../core/errors.ts";
import { PAGE_SIZE } from "../../core/memory.ts";
import { type BuilderHost, populate, seedRings } from "../builder.ts";
import type { Domain, ModelDomainConfig } from "../domain.ts";
import { P2M_RAM } from "../p2m.ts";
import { MODEL_FIRST_PAGE } from "./kernel.ts";

/** 16 MiB: a disk's and a network card's rings and buffers many times over. */
const MAX_PAGES = 4096;
const RINGS = { store: 2, console: 3 } as const;

/** Fills in a new domain. @throws InputError when there is not enough memory */
export function buildModelDomain(domain: Domain, { name, pages }: ModelDomainConfig, host: BuilderHost): void {
  const context = `domain ${name}`;
  if (!Number.isSafeInteger(pages) || pages < MODEL_FIRST_PAGE || pages > MAX_PAGES) {
    throw new InputError(`${pages} pages of memory, must be ${MODEL_FIRST_PAGE} to ${MAX_PAGES}`, context);
  }
  domain.memoryMap = [{ address: 0, size: pages * PAGE_SIZE, type: 1 }];
  domain.maxPages = pages;
  for (let gfn = 0; gfn < pages; gfn++) populate(domain, host, gfn, P2M_RAM, context);
  seedRings(domain, host, context, RINGS);
}
