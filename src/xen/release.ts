// Part: what a domain gives back at its end: VMCS regions, its memory, the hypervisor's pages for it, paging structures.

import { PAGE_SHIFT } from "../core/memory.ts";
import type { Domain } from "./domain.ts";
import type { FrameAllocator } from "./frames.ts";
import type { GrantOwner } from "./grant-table.ts";
import type { VmxInstructions } from "./host-processor.ts";
import { P2M_RAM, P2M_ROM } from "./p2m.ts";

/** Gives back all that a domain has. Frames that others have mapped stay until they unmap them. */
export function releaseDomain(
  domain: Domain,
  frames: FrameAllocator,
  vmx: VmxInstructions,
  ownerOf: (domid: number) => GrantOwner | undefined,
): void {
  domain.events.destroy();
  for (const handle of domain.mappings.handles()) {
    const owner = domain.mappings.get(handle)?.owner;
    domain.mappings.unmap(handle, owner === undefined ? undefined : ownerOf(owner));
  }
  for (const vcpu of domain.vcpus) {
    if (vcpu.vmcs !== 0) {
      vmx.vmclear(vcpu.vmcs);
      frames.free(vcpu.vmcs / 2 ** PAGE_SHIFT);
    }
    if (vcpu.vcpuInfoMoved) frames.release(Math.floor(vcpu.vcpuInfo / 2 ** PAGE_SHIFT));
  }
  domain.platform?.biosArea?.mapRam();
  domain.p2m.forEach((_gfn, frame, type) => {
    if (type === P2M_RAM || type === P2M_ROM) frames.free(frame);
  });
  domain.platform?.biosArea?.release();
  domain.grants.destroy();
  frames.free(domain.sharedInfoFrame);
  if (domain.platform !== undefined) {
    frames.free(domain.platform.ioreqs.page);
    frames.free(domain.platform.ioreqs.bufferedPage);
  }
  domain.p2m.destroy();
}
