// Part: what a model domain's kernel does with grants (grant_table.h, version 1): it fills in the entries of its own table, whose frames it
// has mapped by XENMEM_add_to_physmap, and maps and copies what others have granted by GNTTABOP_ hypercalls.

import { PAGE_SIZE } from "../../core/memory.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import { GRANT_TABLE_H as G, XEN_H } from "../abi/constants.ts";
import { create, decode } from "../abi/layout.ts";
import { GNTTAB_COPY, GNTTAB_COPY_PTR, GNTTAB_MAP_GRANT_REF, GNTTAB_UNMAP_GRANT_REF } from "../abi/structures.ts";
import type { GrantMapping } from "../backend-host.ts";
import { MAX_GRANT_FRAMES } from "../grant-table.ts";
import { type ModelMemory, Page } from "./memory.ts";

const ENTRY_SIZE = 8;
const ENTRIES_PER_FRAME = PAGE_SIZE / ENTRY_SIZE;
const FLAGS = 0;
const FRAME = 4;
const COPY = GNTTAB_COPY.layouts.x86_32;

/** What this part needs of the kernel. */
export interface GrantWires {
  readonly domid: number;
  readonly memory: ModelMemory;
  /** First guest frame of the grant table's window. */
  readonly tableGfn: number;
  /** First guest frame of those where grants of others are mapped. */
  readonly windowGfn: number;
  /** A page to copy through. */
  readonly bounce: Page;
  /** GNTTABOP_ with one structure, which is copied in and out: its bytes after the call, undefined when the call failed. */
  readonly grantOp: (operation: number, structure: Uint8Array) => Uint8Array | undefined;
  /** XENMEM_add_to_physmap of a frame of the table; false past the table's limit. */
  readonly mapTableFrame: (index: number, gfn: number) => boolean;
}

export interface GrantsState {
  frames: number;
  freeRefs: number[];
  freeSlots: number[];
  nextSlot: number;
  slots: { handle: number; slot: number; readOnly: boolean }[];
}

export class ModelGrants implements Snapshotable<GrantsState> {
  readonly #wires: GrantWires;
  /** Frames of the table that are mapped. */
  #frames = 0;
  /** References that may be handed out, the next one last. */
  #freeRefs: number[] = [];
  #freeSlots: number[] = [];
  #nextSlot = 0;
  readonly #slots = new Map<number, { slot: number; readOnly: boolean }>();

  constructor(wires: GrantWires) {
    this.#wires = wires;
  }

  /** Lets `domid` use a page of this domain: the reference, −1 when the table is full. */
  grant(domid: number, gfn: number, readOnly: boolean): number {
    if (this.#freeRefs.length === 0 && !this.#grow()) return -1;
    const ref = this.#freeRefs.pop() as number;
    const address = this.#entry(ref);
    const { host } = this.#wires.memory;
    host.store32(address + FRAME, gfn);
    host.store32(address + FLAGS, (G.GTF_permit_access | (readOnly ? G.GTF_readonly : 0)) + domid * 2 ** 16);
    return ref;
  }

  /** Takes a grant back; false while somebody still uses it, as Linux's gnttab_end_foreign_access_ref. */
  end(ref: number): boolean {
    const address = this.#entry(ref);
    const { host } = this.#wires.memory;
    if ((host.load16(address + FLAGS) & (G.GTF_reading | G.GTF_writing)) !== 0) return false;
    host.store16(address + FLAGS, G.GTF_invalid);
    this.#freeRefs.push(ref);
    return true;
  }

  map(owner: number, ref: number, readOnly: boolean): GrantMapping | number {
    const slot = this.#freeSlots.pop() ?? this.#nextSlot++;
    const gfn = this.#wires.windowGfn + slot;
    const flags = G.GNTMAP_host_map | (readOnly ? G.GNTMAP_readonly : 0);
    const request = { host_addr: BigInt(gfn * PAGE_SIZE), flags, ref, dom: owner };
    const bytes = this.#wires.grantOp(G.GNTTABOP_map_grant_ref, create(GNTTAB_MAP_GRANT_REF, request));
    const { status, handle } = bytes ? decode(GNTTAB_MAP_GRANT_REF, bytes) : FAILED;
    if (status !== G.GNTST_okay) {
      this.#freeSlots.push(slot);
      return status;
    }
    this.#slots.set(handle, { slot, readOnly });
    return this.#mapping(handle, gfn, readOnly);
  }

  adopt(handle: number): GrantMapping | undefined {
    const entry = this.#slots.get(handle);
    return entry && this.#mapping(handle, this.#wires.windowGfn + entry.slot, entry.readOnly);
  }

  copyFrom(owner: number, ref: number, offset: number, length: number): Uint8Array | number {
    if (offset + length > PAGE_SIZE) return G.GNTST_bad_copy_arg;
    const source = { "u.ref": ref, domid: owner, offset };
    const status = this.#copy(source, { "u.gmfn": this.#wires.bounce.gfn }, length, G.GNTCOPY_source_gref);
    return status === G.GNTST_okay ? this.#wires.bounce.read(0, length) : status;
  }

  copyTo(owner: number, ref: number, offset: number, bytes: Uint8Array): number {
    if (offset + bytes.length > PAGE_SIZE) return G.GNTST_bad_copy_arg;
    this.#wires.bounce.write(0, bytes);
    const dest = { "u.ref": ref, domid: owner, offset };
    return this.#copy({ "u.gmfn": this.#wires.bounce.gfn }, dest, bytes.length, G.GNTCOPY_dest_gref);
  }

  #copy(source: CopyEnd, dest: CopyEnd, len: number, flags: number): number {
    const request = create(GNTTAB_COPY, { len, flags });
    request.set(create(GNTTAB_COPY_PTR, { domid: XEN_H.DOMID_SELF, ...source }), COPY.offset.source);
    request.set(create(GNTTAB_COPY_PTR, { domid: XEN_H.DOMID_SELF, ...dest }), COPY.offset.dest);
    const bytes = this.#wires.grantOp(G.GNTTABOP_copy, request);
    return bytes ? decode(GNTTAB_COPY, bytes).status : G.GNTST_general_error;
  }

  #mapping(handle: number, gfn: number, readOnly: boolean): GrantMapping {
    return new MappedPage(this.#wires.memory, gfn, handle, readOnly, () => this.#unmap(handle, gfn));
  }

  #unmap(handle: number, gfn: number): number {
    const entry = this.#slots.get(handle);
    const request = create(GNTTAB_UNMAP_GRANT_REF, { host_addr: BigInt(gfn * PAGE_SIZE), handle });
    const bytes = this.#wires.grantOp(G.GNTTABOP_unmap_grant_ref, request);
    const status = bytes ? decode(GNTTAB_UNMAP_GRANT_REF, bytes).status : G.GNTST_general_error;
    if (status === G.GNTST_okay && entry !== undefined) {
      this.#slots.delete(handle);
      this.#freeSlots.push(entry.slot);
    }
    return status;
  }

  /** Maps the table's next frame; its references come in ascending order. */
  #grow(): boolean {
    const frame = this.#frames;
    if (frame >= MAX_GRANT_FRAMES || !this.#wires.mapTableFrame(frame, this.#wires.tableGfn + frame)) return false;
    this.#frames++;
    const first = frame === 0 ? G.GNTTAB_NR_RESERVED_ENTRIES : frame * ENTRIES_PER_FRAME;
    for (let ref = this.#frames * ENTRIES_PER_FRAME - 1; ref >= first; ref--) this.#freeRefs.push(ref);
    return true;
  }

  #entry(ref: number): number {
    const gfn = this.#wires.tableGfn + Math.floor(ref / ENTRIES_PER_FRAME);
    return this.#wires.memory.address(gfn, (ref % ENTRIES_PER_FRAME) * ENTRY_SIZE, ENTRY_SIZE, true);
  }

  save(): GrantsState {
    return {
      frames: this.#frames,
      freeRefs: [...this.#freeRefs],
      freeSlots: [...this.#freeSlots],
      nextSlot: this.#nextSlot,
      slots: Array.from(this.#slots, ([handle, entry]) => ({ handle, ...entry })),
    };
  }

  load(state: GrantsState): void {
    this.#frames = state.frames;
    this.#freeRefs = [...state.freeRefs];
    this.#freeSlots = [...state.freeSlots];
    this.#nextSlot = state.nextSlot;
    this.#slots.clear();
    for (const { handle, ...entry } of state.slots) this.#slots.set(handle, entry);
  }
}

const FAILED = { status: G.GNTST_general_error, handle: 0 };

type CopyEnd = Partial<Record<"u.gmfn" | "u.ref" | "domid" | "offset", number>>;

class MappedPage extends Page implements GrantMapping {
  readonly handle: number;
  readonly readOnly: boolean;
  readonly unmap: () => number;

  constructor(memory: ModelMemory, gfn: number, handle: number, readOnly: boolean, unmap: () => number) {
    super(memory, gfn);
    this.handle = handle;
    this.readOnly = readOnly;
    this.unmap = unmap;
  }
}
