// Part: the pages that a network front end lends to its back end for as long as it is connected: frames are copied into them and out of them,
// so that no page holds anything but frames, and nothing is granted anew for each.

import type { ModelKernel } from "../../xen/model/kernel.ts";
import type { Page } from "../../xen/model/memory.ts";

/** A granted page. */
export interface Buffer {
  readonly page: Page;
  readonly ref: number;
}

export interface BufferState {
  gfn: number;
  ref: number;
}

/** A page granted to `domid`; undefined when there is no page or no grant. */
export function lend(kernel: ModelKernel, domid: number, readOnly: boolean): Buffer | undefined {
  const page = kernel.allocatePage();
  if (page === undefined) return undefined;
  const ref = kernel.grantAccess(domid, page, readOnly);
  if (ref >= 0) return { page, ref };
  kernel.freePage(page);
  return undefined;
}

/** A page that the back end still holds stays lost: it may write to it at any time. */
export function takeBack(kernel: ModelKernel, buffers: readonly Buffer[]): void {
  for (const { page, ref } of buffers) if (kernel.endAccess(ref)) kernel.freePage(page);
}

export function saveBuffers(buffers: readonly Buffer[]): BufferState[] {
  return buffers.map(({ page, ref }) => ({ gfn: page.gfn, ref }));
}

export function loadBuffers(kernel: ModelKernel, states: readonly BufferState[]): Buffer[] {
  return states.map(({ gfn, ref }) => ({ page: kernel.page(gfn), ref }));
}
