// Part: the snapshot contract.
// A part's state is versioned plain data kept apart from its behaviour: `save` copies it out, `load` takes it over
// without side effects (no edge on a wire, no frame, no event). A snapshot names its parts, so that it can be read
// without the classes that wrote it, and equal states give equal bytes.

import { InputError } from "./errors.ts";
import { decodePlain, encodePlain, type PlainData } from "./plain-data.ts";

/** State that can be saved and restored. `State` is plain data (see plain-data.ts) that shares nothing with the part. */
export interface Snapshotable<State> {
  save(): State;
  /** Replaces the part's state. @throws InputError when the state does not fit the part */
  load(state: State): void;
}

export interface SnapshotPart {
  name: string;
  /** Raised whenever the meaning of the part's state changes. */
  version: number;
  state: unknown;
}

export interface Snapshot {
  parts: SnapshotPart[];
}

interface Registered {
  readonly name: string;
  readonly version: number;
  readonly save: () => unknown;
  readonly load: (state: unknown) => void;
  readonly digest: () => unknown;
}

/** The parts of one machine. They are saved and loaded in the order in which they were registered. */
export class SnapshotRegistry implements Snapshotable<Snapshot> {
  readonly #parts: Registered[] = [];
  readonly #names = new Set<string>();

  /**
   * @param digest of the part's state, where the part keeps one because its state is large
   * @throws InputError when the name is taken
   */
  register<State>(name: string, version: number, part: Snapshotable<State>, digest?: () => bigint): void {
    if (this.#names.has(name)) throw new InputError("a part of this name is in the snapshot already", name);
    this.#names.add(name);
    // The version beside it vouches for the shape; `load` checks what the shape does not say.
    const save = (): unknown => part.save();
    this.#parts.push({ name, version, save, load: (state) => part.load(state as State), digest: digest ?? save });
  }

  save(): Snapshot {
    return { parts: this.#parts.map(({ name, version, save }) => ({ name, version, state: save() })) };
  }

  /** A snapshot for comparing only: a part that keeps a digest of its state gives that. */
  summary(): Snapshot {
    return { parts: this.#parts.map(({ name, version, digest }) => ({ name, version, state: digest() })) };
  }

  /** @throws InputError before anything is loaded when the parts or their versions are not this machine's */
  load(snapshot: Snapshot): void {
    const list = (parts: readonly { name: string; version: number }[]) =>
      parts.map(({ name, version }) => `${name} v${version}`).join(", ");
    if (list(snapshot.parts) !== list(this.#parts)) {
      throw new InputError(`parts [${list(snapshot.parts)}], this machine has [${list(this.#parts)}]`, "snapshot");
    }
    for (const [index, part] of this.#parts.entries()) part.load(snapshot.parts[index]!.state);
  }
}

/** Equal snapshots give equal bytes. */
export function encodeSnapshot(snapshot: Snapshot): Uint8Array {
  return encodePlain(snapshot);
}

/** @throws InputError when the bytes are not a snapshot; `context` says where they are from */
export function decodeSnapshot(bytes: Uint8Array, context: string): Snapshot {
  const value = decodePlain(bytes, context);
  const parts = isMap(value) ? value.parts : undefined;
  if (!Array.isArray(parts)) throw new InputError("not a snapshot", context);
  return {
    parts: (parts as readonly PlainData[]).map((part) => {
      if (!isMap(part) || typeof part.name !== "string" || typeof part.version !== "number" || !("state" in part)) {
        throw new InputError("not a part of a snapshot", context);
      }
      return { name: part.name, version: part.version, state: part.state };
    }),
  };
}

function isMap(value: PlainData): value is { readonly [key: string]: PlainData } {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
}
