// Part: C structure layout for the two x86 ABIs that guests of Xen use.
// Structures are tables of member designators and types; offsets and sizes follow from the System V ABIs: i386 aligns a
// uint64_t in a structure to 4 bytes (Intel386 psABI §2.1.1), x86-64 to 8. scripts/abi-check.ts compares every one of them with
// what the C compiler makes of Xen's headers.

import { assert } from "../../core/errors.ts";

export type Abi = "x86_32" | "x86_64";

/** `ulong` is xen_ulong_t, xen_pfn_t and unsigned long; `pointer` a guest handle. Both are as wide as the ABI's registers. */
export type ScalarType = "u8" | "s8" | "u16" | "s16" | "u32" | "s32" | "u64" | "ulong" | "pointer";

/** A scalar, or an array of scalars or structures; where the ABIs differ in its length, the x86-64 one comes last. */
export type MemberType =
  | ScalarType
  | readonly [element: ScalarType | AnyStructure, count: number]
  | readonly [element: ScalarType | AnyStructure, count32: number, count64: number];

export type Members = Readonly<Record<string, MemberType>>;

/** Scalar members only: 64-bit ones are BigInts, the rest numbers (`ulong` and `pointer` below 2^53). */
export type RecordOf<M extends Members> = {
  -readonly [K in keyof M as M[K] extends ScalarType ? K : never]: M[K] extends "u64" ? bigint : number;
};

export interface Layout<K extends string> {
  readonly size: number;
  readonly alignment: number;
  readonly offset: Readonly<Record<K, number>>;
}

/** A structure of the ABI. Member names are C member designators, so a member of a nested structure is written `source.offset`. */
export interface Structure<M extends Members> {
  /** As C writes it: `struct evtchn_status`. */
  readonly name: string;
  /** Under xen/include/public. */
  readonly header: string;
  readonly members: M;
  readonly layouts: Readonly<Record<Abi, Layout<keyof M & string>>>;
}

export interface AnyStructure {
  readonly name: string;
  readonly header: string;
  readonly members: Members;
  readonly layouts: Readonly<Record<Abi, Layout<string>>>;
}

const SIZES: Readonly<Record<ScalarType, readonly [number, number]>> = {
  u8: [1, 1],
  s8: [1, 1],
  u16: [2, 2],
  s16: [2, 2],
  u32: [4, 4],
  s32: [4, 4],
  u64: [8, 8],
  ulong: [4, 8],
  pointer: [4, 8],
};

export const sizeOf = (type: ScalarType, abi: Abi): number => SIZES[type][abi === "x86_32" ? 0 : 1];

/** Member → the earlier member with which it shares its offset. */
type Unions = Readonly<Record<string, string>>;

export function structure<const M extends Members>(
  name: string,
  header: string,
  members: M,
  unions: Unions = {},
): Structure<M> {
  return {
    name,
    header,
    members,
    layouts: { x86_32: layOut(members, unions, "x86_32"), x86_64: layOut(members, unions, "x86_64") },
  };
}

const roundUp = (value: number, alignment: number): number => Math.ceil(value / alignment) * alignment;

function layOut(members: Members, unions: Unions, abi: Abi): Layout<string> {
  const offset: Record<string, number> = {};
  let end = 0;
  let alignment = 1;
  for (const [name, type] of Object.entries(members)) {
    const [size, align] = measure(type, abi);
    const shared = unions[name];
    const at = shared === undefined ? roundUp(end, align) : offset[shared];
    assert(at !== undefined, `union partner ${shared} of ${name} comes first`);
    offset[name] = at;
    end = Math.max(end, at + size);
    alignment = Math.max(alignment, align);
  }
  return { size: roundUp(end, alignment), alignment, offset };
}

function measure(type: MemberType, abi: Abi): readonly [size: number, alignment: number] {
  if (typeof type === "string") {
    const size = sizeOf(type, abi);
    return [size, abi === "x86_32" ? Math.min(size, 4) : size];
  }
  const [element, count32, count64 = count32] = type;
  const count = abi === "x86_32" ? count32 : count64;
  if (typeof element === "string") {
    const [size, alignment] = measure(element, abi);
    return [size * count, alignment];
  }
  return [element.layouts[abi].size * count, element.layouts[abi].alignment];
}

/** Decodes the scalar members of a structure that begins at `start` of `bytes`, which must hold all of it. */
export function decode<M extends Members>(
  structure: Structure<M>,
  bytes: Uint8Array,
  abi: Abi = "x86_32",
  start = 0,
): RecordOf<M> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const offsets: Readonly<Record<string, number>> = structure.layouts[abi].offset;
  const record: Record<string, number | bigint> = {};
  for (const [name, type] of Object.entries(structure.members)) {
    if (typeof type !== "string") continue;
    record[name] = readScalar(view, start + offsets[name]!, type, abi);
  }
  return record as RecordOf<M>;
}

/** Stores the given members of a structure into `bytes`; the others keep what is there. */
export function encode<M extends Members>(
  structure: Structure<M>,
  bytes: Uint8Array,
  values: Partial<RecordOf<M>>,
  abi: Abi = "x86_32",
  start = 0,
): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const offsets: Readonly<Record<string, number>> = structure.layouts[abi].offset;
  const members: Members = structure.members;
  for (const [name, value] of Object.entries<number | bigint | undefined>(values)) {
    const type = members[name];
    if (value === undefined || typeof type !== "string") continue;
    writeScalar(view, start + offsets[name]!, type, value, abi);
  }
  return bytes;
}

/** A new structure whose other members are zero. */
export function create<M extends Members>(
  structure: Structure<M>,
  values: Partial<RecordOf<M>>,
  abi: Abi = "x86_32",
): Uint8Array {
  return encode(structure, new Uint8Array(structure.layouts[abi].size), values, abi);
}

function readScalar(view: DataView, at: number, type: ScalarType, abi: Abi): number | bigint {
  switch (type) {
    case "u8":
      return view.getUint8(at);
    case "s8":
      return view.getInt8(at);
    case "u16":
      return view.getUint16(at, true);
    case "s16":
      return view.getInt16(at, true);
    case "u32":
      return view.getUint32(at, true);
    case "s32":
      return view.getInt32(at, true);
    case "u64":
      return view.getBigUint64(at, true);
    default:
      return abi === "x86_32" ? view.getUint32(at, true) : Number(view.getBigUint64(at, true));
  }
}

function writeScalar(view: DataView, at: number, type: ScalarType, value: number | bigint, abi: Abi): void {
  const size = sizeOf(type, abi);
  if (size === 8) view.setBigUint64(at, BigInt.asUintN(64, BigInt(value)), true);
  else if (size === 4) view.setUint32(at, Number(value), true);
  else if (size === 2) view.setUint16(at, Number(value), true);
  else view.setUint8(at, Number(value));
}
