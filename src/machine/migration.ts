// Part: what of a model domain crosses from one host to another: its memory and what its kernel and program keep, as plain bytes. Grants, event
// channels, xenstore connection and devices do not: the guest has let go of its devices before it suspended itself, and connects them again
// (docs/misc/xenstore-paths.pandoc, control/shutdown; sched.h, SHUTDOWN_suspend).

import { InputError } from "../core/errors.ts";
import { type GuestMemory, PAGE_SHIFT, PAGE_SIZE } from "../core/memory.ts";
import { decodePlain, encodePlain } from "../core/plain-data.ts";
import type { Domain } from "../xen/domain.ts";
import type { ModelKernel, ModelKernelState, ModelProgram } from "../xen/model/kernel.ts";
import { P2M_RAM } from "../xen/p2m.ts";
import type { FullMachineConfig } from "./config.ts";

/** A gigabit a second between the hosts: a domain is away while its memory is on its way. */
export const NS_PER_BYTE = 8;

/** A model domain with what runs in it. */
export interface Life {
  readonly domain: Domain;
  readonly kernel: ModelKernel;
  readonly program: ModelProgram;
}

/** What tells the parts of a domain that has migrated from those that it had on the host before: for each host of its life, the first without. */
export function livesOf({ actions }: FullMachineConfig, name: string): readonly string[] {
  const migrations = actions.filter(({ action, domain }) => action === "migrate" && domain === name);
  return ["", ...migrations.map((_, index) => ` on host ${index + 2}`)];
}

interface SavedDomain {
  readonly name: string;
  readonly pages: readonly { readonly gfn: number; readonly bytes: Uint8Array }[];
  readonly kernel: ModelKernelState;
  readonly program: unknown;
}

/** A domain that has suspended itself. */
export function saveDomain({ domain, kernel, program }: Life, memory: GuestMemory): Uint8Array {
  const pages: { gfn: number; bytes: Uint8Array }[] = [];
  domain.p2m.forEach((gfn, frame, type) => {
    if (type === P2M_RAM) pages.push({ gfn, bytes: memory.read(frame << PAGE_SHIFT, PAGE_SIZE) });
  });
  const saved: SavedDomain = { name: domain.name, pages, kernel: kernel.save(), program: program.save() };
  return encodePlain(saved);
}

/** Fills a new domain of the same configuration. @throws InputError when the bytes are of another domain */
export function restoreDomain({ domain, kernel, program }: Life, memory: GuestMemory, bytes: Uint8Array): void {
  const context = `saved domain ${domain.name}`;
  // What was saved by the function above; the name vouches for the rest.
  const saved = decodePlain(bytes, context) as unknown as SavedDomain;
  if (saved.name !== domain.name) throw new InputError(`is domain ${saved.name}`, context);
  for (const { gfn, bytes: page } of saved.pages) {
    const frame = domain.ownFrame(gfn);
    if (frame < 0) throw new InputError(`page ${gfn} is not there`, context);
    memory.write(frame << PAGE_SHIFT, page);
  }
  kernel.resume(saved.kernel);
  program.load(saved.program);
}
