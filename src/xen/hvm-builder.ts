// Part: the builder of HVM domains. RAM from 0 with a hole for the VGA frame buffer, the firmware at the top of 4 GiB as ROM and its end once more
// below 1 MiB, in front of RAM (bios-area.ts) or copied into it. The special pages are where Xen's tool stack puts them. Without firmware a
// kernel starts at its PVH entry, as with QEMU's -kernel. Not modelled: memory above 4 GiB.

import { InputError } from "../core/errors.ts";
import { type GuestMemory, PAGE_SHIFT, PAGE_SIZE } from "../core/memory.ts";
import { PARAMS_H } from "./abi/constants.ts";
import { BIOS_AREA_END, BIOS_AREA_START, BiosArea } from "./bios-area.ts";
import { type BuilderHost, type BuiltDomain, copyIn, placeKernel, planKernel, populate, seedRings } from "./builder.ts";
import type { Domain, HvmDomainConfig } from "./domain.ts";
import { P2M_RAM, P2M_ROM } from "./p2m.ts";
import { BUFFERED_IOREQ_GFN, CONSOLE_GFN, IOREQ_GFN, memoryMap, STORE_GFN } from "./start-info.ts";

const KIB = 1024;
/** The VGA frame buffer's window, which the device model has. */
const VGA_START = 0xa_0000;
const VGA_END = 0xc_0000;
const FIRMWARE_END = 2 ** 32;
const SHADOW_END = 0x10_0000;
/** What is seen of the firmware below 1 MiB (QEMU: isa-bios). */
const SHADOW_SIZE = 128 * KIB;
/** The firmware must not reach down to the special pages. */
const MAX_FIRMWARE = 8 * 1024 * KIB;
const MIN_MEMORY = SHADOW_END;

/** Where the RAM of an HVM domain ends: what lies above belongs to devices (QEMU's i440FX: below 4 GiB). */
const MAX_HVM_MEMORY = 0xc000_0000;

/**
 * Fills in a new domain.
 * @returns where its kernel starts; undefined for firmware, which starts at the reset vector
 * @throws InputError when firmware or kernel and memory do not fit
 */
export function buildHvmDomain(domain: Domain, config: HvmDomainConfig, host: BuilderHost): BuiltDomain | undefined {
  const context = `domain ${config.name}`;
  const { boot, memorySize } = config;
  const firmware = "firmware" in boot ? boot.firmware : undefined;
  if (!Number.isSafeInteger(memorySize) || memorySize % PAGE_SIZE !== 0 || memorySize < MIN_MEMORY) {
    throw new InputError(`${memorySize} bytes of memory, at least ${MIN_MEMORY} in whole pages`, context);
  }
  if (memorySize > MAX_HVM_MEMORY) {
    throw new InputError(`${memorySize} bytes of memory, at most ${MAX_HVM_MEMORY}`, context);
  }
  if (firmware !== undefined) checkFirmware(firmware, context);
  domain.memoryMap = memoryMap(memorySize, [VGA_START, SHADOW_END]);
  const plan = "kernel" in boot ? planKernel(boot, memorySize, domain.memoryMap, context) : undefined;
  const lowest = plan?.image.segments[0]?.address ?? SHADOW_END;
  if (lowest < SHADOW_END) {
    throw new InputError(`a segment at 0x${lowest.toString(16)}, below 1 MiB`, `kernel of ${context}`);
  }
  const pages = (memorySize + (firmware?.length ?? 0)) / PAGE_SIZE;
  domain.maxPages = memorySize / PAGE_SIZE + 2;
  if (host.frames.available < pages) {
    throw new InputError(`${pages} pages of memory, the host has ${host.frames.available} left`, context);
  }
  for (let gfn = 0; gfn < memorySize / PAGE_SIZE; gfn++) {
    const isVga = gfn >= VGA_START / PAGE_SIZE && gfn < VGA_END / PAGE_SIZE;
    if (!isVga) populate(domain, host, gfn, P2M_RAM, context);
  }
  if (firmware !== undefined) placeFirmware(domain, firmware, host, context);
  const biosArea = BiosArea.create(host.memory, host.frames, domain.p2m, (firmware?.length ?? 0) / PAGE_SIZE);
  if (biosArea === undefined) throw new InputError("the host's memory is used up", context);
  if (domain.platform !== undefined) domain.platform.biosArea = biosArea;
  if (firmware !== undefined) showFirmware(domain, firmware, config.shadowed, host.memory);
  for (const gfn of [STORE_GFN, CONSOLE_GFN]) populate(domain, host, gfn, P2M_RAM, context);
  const built = plan === undefined ? undefined : placeKernel(domain, host.memory, plan);
  seedRings(domain, host, context);
  domain.setParam(PARAMS_H.HVM_PARAM_IOREQ_PFN, BigInt(IOREQ_GFN));
  domain.setParam(PARAMS_H.HVM_PARAM_BUFIOREQ_PFN, BigInt(BUFFERED_IOREQ_GFN));
  return built;
}

/**
 * Makes a domain's memory what it was when it was built. Only of a domain that does not show Xen: what it has, no other has a part in.
 * @returns where its kernel starts; undefined for firmware
 */
export function rebuildHvmDomain(
  domain: Domain,
  config: HvmDomainConfig,
  memory: GuestMemory,
): BuiltDomain | undefined {
  const { boot, memorySize, shadowed } = config;
  domain.platform?.biosArea?.mapRam();
  const zeros = new Uint8Array(PAGE_SIZE);
  for (let gfn = 0; gfn < memorySize / PAGE_SIZE; gfn++) {
    if (domain.p2m.typeOf(gfn) === P2M_RAM) memory.write(domain.p2m.frameOf(gfn) << PAGE_SHIFT, zeros);
  }
  if ("kernel" in boot) {
    return placeKernel(domain, memory, planKernel(boot, memorySize, domain.memoryMap, `domain ${config.name}`));
  }
  showFirmware(domain, boot.firmware, shadowed, memory);
  return undefined;
}

function checkFirmware(firmware: Uint8Array, context: string): void {
  if (firmware.length < 64 * KIB || firmware.length > MAX_FIRMWARE || firmware.length % (64 * KIB) !== 0) {
    throw new InputError(`${firmware.length} bytes are not 64 KiB to 8 MiB in whole 64 KiB`, `firmware of ${context}`);
  }
}

function placeFirmware(domain: Domain, firmware: Uint8Array, host: BuilderHost, context: string): void {
  const romStart = FIRMWARE_END - firmware.length;
  for (let address = romStart; address < FIRMWARE_END; address += PAGE_SIZE) {
    populate(domain, host, address / PAGE_SIZE, P2M_ROM, context);
  }
  copyIn(domain, host.memory, romStart, firmware);
}

/** Below 1 MiB: copied into RAM, or in front of it. */
function showFirmware(domain: Domain, firmware: Uint8Array, shadowed: boolean, memory: GuestMemory): void {
  if (!shadowed) {
    domain.platform?.biosArea?.set(BIOS_AREA_START, BIOS_AREA_END - BIOS_AREA_START, false, false);
    return;
  }
  const shadow = firmware.subarray(Math.max(0, firmware.length - SHADOW_SIZE));
  copyIn(domain, memory, SHADOW_END - shadow.length, shadow);
}
