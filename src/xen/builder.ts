// Part: the PVH domain builder (docs/misc/pvh.pandoc; Xen's libxenguest). Memory from 0, the kernel where its ELF says, modules and start
// info after it, console and store rings in the special pages, grants 0 and 1 seeded for the control domain.

import { InputError } from "../core/errors.ts";
import { type GuestMemory, PAGE_SHIFT, PAGE_SIZE } from "../core/memory.ts";
import { GRANT_TABLE_H, PARAMS_H } from "./abi/constants.ts";
import type { Domain, PvhDomainConfig, PvhKernel } from "./domain.ts";
import { type PvhImage, parsePvhImage } from "./elf.ts";
import type { FrameAllocator } from "./frames.ts";
import { P2M_RAM } from "./p2m.ts";
import {
  CONSOLE_GFN,
  MAX_MEMORY_SIZE,
  type MemoryMapEntry,
  memoryMap,
  type PlacedModule,
  STORE_GFN,
  startInfo,
} from "./start-info.ts";

/** MAX_GUEST_CMDLINE (xen.h). */
const MAX_COMMAND_LINE = 1024;
/** xl passes one or two; the list must stay small beside the kernel. */
const MAX_MODULES = 16;

export interface BuiltDomain {
  readonly entry: number;
  /** Guest-physical address of hvm_start_info. */
  readonly startInfo: number;
}

/** What the builder needs from the hypervisor. */
export interface BuilderHost {
  readonly memory: GuestMemory;
  readonly frames: FrameAllocator;
  /** The domain that serves consoles and the store. */
  readonly controlDomain: number;
}

/** Fills in a new domain. @throws InputError when image, options and memory do not fit each other */
export function buildDomain(domain: Domain, config: PvhDomainConfig, host: BuilderHost): BuiltDomain {
  const context = `domain ${config.name}`;
  const { memorySize } = config;
  if (!Number.isSafeInteger(memorySize) || memorySize <= 0 || memorySize % PAGE_SIZE !== 0) {
    throw new InputError(`${memorySize} bytes of memory are no whole number of pages`, context);
  }
  if (memorySize > MAX_MEMORY_SIZE) {
    throw new InputError(`${memorySize} bytes of memory, at most ${MAX_MEMORY_SIZE}`, context);
  }
  domain.memoryMap = memoryMap(memorySize);
  const plan = planKernel(config, memorySize, domain.memoryMap, context);
  const pages = memorySize / PAGE_SIZE;
  domain.maxPages = pages + 2;
  if (host.frames.available < pages) {
    throw new InputError(`${pages} pages of memory, the host has ${host.frames.available} left`, context);
  }
  for (let gfn = 0; gfn < pages; gfn++) populate(domain, host, gfn, P2M_RAM, context);
  for (const gfn of [STORE_GFN, CONSOLE_GFN]) populate(domain, host, gfn, P2M_RAM, context);
  const built = placeKernel(domain, host.memory, plan);
  seedRings(domain, host, context);
  return built;
}

/** What goes where in the memory of a domain that starts with a kernel. */
export interface KernelPlan {
  readonly image: PvhImage;
  readonly modules: readonly (PlacedModule & { readonly bytes: Uint8Array })[];
  readonly startInfo: { readonly address: number; readonly bytes: Uint8Array };
}

/** Modules and start info follow the kernel. @throws InputError when image, options and memory do not fit each other */
export function planKernel(
  { kernel, commandLine, modules = [] }: PvhKernel,
  memorySize: number,
  map: readonly MemoryMapEntry[],
  context: string,
): KernelPlan {
  if (modules.length > MAX_MODULES) throw new InputError(`${modules.length} modules, at most ${MAX_MODULES}`, context);
  for (const line of [commandLine, ...modules.map((module) => module.commandLine)]) {
    if (line.length >= MAX_COMMAND_LINE) {
      throw new InputError(`a command line of ${line.length} characters, at most ${MAX_COMMAND_LINE - 1}`, context);
    }
  }
  const image = parsePvhImage(kernel, `kernel of ${context}`);
  const pageUp = (address: number) => Math.ceil(address / PAGE_SIZE) * PAGE_SIZE;
  let end = pageUp(image.end);
  const placed = modules.map((module) => {
    const address = end;
    end = pageUp(end + module.bytes.length);
    return { ...module, address, size: module.bytes.length };
  });
  const info = startInfo(end, commandLine, placed, map);
  if (pageUp(end + info.length) > memorySize) {
    throw new InputError(
      `kernel, modules and start info need ${pageUp(end + info.length)} bytes of memory, there are ${memorySize}`,
      context,
    );
  }
  return { image, modules: placed, startInfo: { address: end, bytes: info } };
}

/** Copies everything into the domain's memory, whose pages are there. */
export function placeKernel(domain: Domain, memory: GuestMemory, plan: KernelPlan): BuiltDomain {
  const { image, modules, startInfo } = plan;
  for (const { address, bytes } of [...image.segments, ...modules, startInfo]) copyIn(domain, memory, address, bytes);
  return { entry: image.entry, startInfo: startInfo.address };
}

/** Console and store rings: pages granted to the control domain, event channels, and the parameters that name them. */
export function seedRings(
  domain: Domain,
  host: BuilderHost,
  context: string,
  gfns: { readonly store: number; readonly console: number } = { store: STORE_GFN, console: CONSOLE_GFN },
): void {
  if (!domain.grants.grow(1)) throw new InputError("the host's memory is used up", context);
  domain.grants.seed(GRANT_TABLE_H.GNTTAB_RESERVED_CONSOLE, host.controlDomain, gfns.console);
  domain.grants.seed(GRANT_TABLE_H.GNTTAB_RESERVED_XENSTORE, host.controlDomain, gfns.store);
  domain.store = { gfn: gfns.store, port: domain.events.allocUnbound(host.controlDomain) };
  domain.console = { gfn: gfns.console, port: domain.events.allocUnbound(host.controlDomain) };
  domain.setParam(PARAMS_H.HVM_PARAM_STORE_PFN, BigInt(domain.store.gfn));
  domain.setParam(PARAMS_H.HVM_PARAM_STORE_EVTCHN, BigInt(domain.store.port));
  domain.setParam(PARAMS_H.HVM_PARAM_CONSOLE_PFN, BigInt(domain.console.gfn));
  domain.setParam(PARAMS_H.HVM_PARAM_CONSOLE_EVTCHN, BigInt(domain.console.port));
}

/** Gives the domain a zeroed page. @throws InputError when there is none left */
export function populate(domain: Domain, host: BuilderHost, gfn: number, type: number, context: string): void {
  const frame = host.frames.allocate();
  if (frame === undefined || !domain.p2m.set(gfn, frame, type)) {
    throw new InputError("the host's memory is used up", context);
  }
}

/** Copies into the domain's memory, whose pages are there. */
export function copyIn(domain: Domain, memory: GuestMemory, address: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) {
    const at = address + done;
    const offset = at % PAGE_SIZE;
    const count = Math.min(PAGE_SIZE - offset, bytes.length - done);
    memory.write((domain.p2m.frameOf(at >>> PAGE_SHIFT) << PAGE_SHIFT) + offset, bytes.subarray(done, done + count));
    done += count;
  }
}
