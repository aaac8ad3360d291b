// Part: the pages that a block front end lends to its back end: taken from the domain, granted for one request, or, with persistent grants
// (io/blkif.h, feature-persistent), granted once and used again.

import { PAGE_SIZE } from "../../core/memory.ts";
import type { ModelKernel } from "../../xen/model/kernel.ts";
import type { Page } from "../../xen/model/memory.ts";

/** A page and, while it is granted, the grant's reference; −1 without. */
export interface Lent {
  readonly page: Page;
  ref: number;
}

export interface FrontPagesState {
  free: { gfn: number; ref: number }[];
}

/** Of the domain's pages, those that one device has. */
export class FrontPages {
  readonly #kernel: ModelKernel;
  readonly #backDomid: number;
  /** Grants are kept when a page is given back. */
  readonly #persistent: boolean;
  #free: Lent[] = [];

  constructor(kernel: ModelKernel, backDomid: number, persistent: boolean) {
    this.#kernel = kernel;
    this.#backDomid = backDomid;
    this.#persistent = persistent;
  }

  /** `count` granted pages; undefined, and nothing taken, when there are not so many pages or grants. */
  take(count: number, readOnly: boolean): Lent[] | undefined {
    const taken: Lent[] = [];
    while (taken.length < count) {
      const lent = this.#free.pop() ?? this.#fresh();
      // With persistent grants the back end may use a page for either direction later.
      if (lent !== undefined && lent.ref < 0)
        lent.ref = this.#kernel.grantAccess(this.#backDomid, lent.page, readOnly && !this.#persistent);
      if (lent === undefined || lent.ref < 0) {
        if (lent !== undefined) this.#free.push(lent);
        this.give(taken);
        return undefined;
      }
      taken.push(lent);
    }
    return taken;
  }

  /**
   * Takes pages back after use. A page that the back end still holds is not used again by anybody.
   * @returns how many those are
   */
  give(lent: readonly Lent[]): number {
    let held = 0;
    for (let index = lent.length - 1; index >= 0; index--) {
      const entry = lent[index]!;
      if (!this.#persistent) {
        if (!this.#kernel.endAccess(entry.ref)) {
          held++;
          continue;
        }
        entry.ref = -1;
      }
      this.#free.push(entry);
    }
    return held;
  }

  /** The device is closed: all grants end and all pages go back to the domain. @returns how many the back end still holds */
  release(): number {
    let held = 0;
    for (const { page, ref } of this.#free) {
      if (ref < 0 || this.#kernel.endAccess(ref)) this.#kernel.freePage(page);
      else held++;
    }
    this.#free = [];
    return held;
  }

  #fresh(): Lent | undefined {
    const page = this.#kernel.allocatePage();
    return page && { page, ref: -1 };
  }

  save(): FrontPagesState {
    return { free: this.#free.map(saveLent) };
  }

  load(state: FrontPagesState): void {
    this.#free = state.free.map((entry) => loadLent(this.#kernel, entry));
  }
}

export function saveLent({ page, ref }: Lent): { gfn: number; ref: number } {
  return { gfn: page.gfn, ref };
}

export function loadLent(kernel: ModelKernel, { gfn, ref }: { gfn: number; ref: number }): Lent {
  return { page: kernel.page(gfn), ref };
}

/** `length` bytes of pages, from `offset` of the first on. */
export function dataOf(pages: readonly Lent[], offset: number, length: number): Uint8Array {
  const [only] = pages;
  if (pages.length === 1 && only !== undefined) return only.page.read(offset, length);
  const data = new Uint8Array(length);
  let done = 0;
  for (const { page } of pages) {
    const start = done === 0 ? offset : 0;
    const count = Math.min(PAGE_SIZE - start, length - done);
    data.set(page.read(start, count), done);
    done += count;
  }
  return data;
}

/** Writes into pages, from `offset` of the first on. */
export function putData(pages: readonly Lent[], offset: number, data: Uint8Array): void {
  let done = 0;
  for (const { page } of pages) {
    const start = done === 0 ? offset : 0;
    const count = Math.min(PAGE_SIZE - start, data.length - done);
    page.write(start, data.subarray(done, done + count));
    done += count;
  }
}
