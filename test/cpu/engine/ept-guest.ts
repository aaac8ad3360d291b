/** A processor whose guest-physical memory the EPT maps for the first MiB only; elsewhere are emulated devices. */
import type { Processor } from "../../../src/cpu/processor.ts";
import { bareProcessor, RAM_BYTES } from "../../support/bare-processor.ts";

const PML4 = 0x6_0000;
const PDPT = 0x6_1000;
const DIRECTORY = 0x6_2000;
const TABLE = 0x6_3000;
/** SDM Vol. 3 table 29-6: read, write, execute; write-back in a leaf. */
const RWX = 7;
const WRITE_BACK = 6 << 3;

export interface EptGuest {
  readonly processor: Processor;
}

export function createMachine(): EptGuest {
  const processor = bareProcessor();
  const { memory, vmx } = processor;
  memory.store32(PML4, PDPT | RWX);
  memory.store32(PDPT, DIRECTORY | RWX);
  memory.store32(DIRECTORY, TABLE | RWX);
  for (let page = 0; page < RAM_BYTES / 4096; page++)
    memory.store32(TABLE + 8 * page, (page * 4096) | WRITE_BACK | RWX);
  vmx.controls.eptEnabled = true;
  vmx.controls.eptRoot = PML4;
  return { processor };
}
