// Part: reading the x87 vectors. README.md beside this file describes the format.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";

/** The x87 state before an instruction. */
export interface InitialState {
  readonly control: number;
  readonly status: number;
  /** Bit n: physical register n is not empty. */
  readonly occupied: number;
  readonly flags: number;
  /** ST(0) to ST(7), ten bytes each. */
  readonly registers: Uint8Array;
  readonly memory: Uint8Array;
}

/** The x87 state after an instruction. */
export interface FinalState {
  readonly control: number;
  readonly status: number;
  /** Two bits a physical register. */
  readonly tags: number;
  readonly flags: number;
  readonly ax: number;
  readonly registers: Uint8Array;
  readonly memory: Uint8Array;
}

export interface Vector {
  readonly initial: InitialState;
  /** The final state, or the vector of the exception raised in place of the instruction. */
  readonly outcome: FinalState | number;
}

export interface Form {
  /** Prefix 66 where present, opcode, ModRM. */
  readonly bytes: Uint8Array;
  readonly memoryLength: number;
  readonly vectors: readonly Vector[];
}

export interface X87Vectors {
  /** Whether the processor executes (opcode - D8) * 72 + slot; slots 0..63 are ModRM C0..FF, 64..71 the memory forms /0../7. */
  readonly exists: readonly boolean[];
  readonly forms: readonly Form[];
}

const MAGIC = "X87V1\n";
const ENCODINGS = 8 * 72;
const REGISTERS_LENGTH = 80;
/** EAX before every instruction, so that FNSTSW AX is seen. */
export const INITIAL_AX = 0x5aa5;

export function loadX87Vectors(): X87Vectors {
  const bytes = new Uint8Array(gunzipSync(readFileSync(fileURLToPath(new URL("x87.bin.gz", import.meta.url)))));
  const view = new DataView(bytes.buffer);
  let position = 0;
  const byte = (): number => view.getUint8(position++);
  const word = (): number => {
    position += 2;
    return view.getUint16(position - 2, true);
  };
  const take = (length: number): Uint8Array => {
    position += length;
    return bytes.subarray(position - length, position);
  };
  const difference = (from: Uint8Array): Uint8Array => take(from.length).map((b, i) => b ^ (from[i] ?? 0));

  if (new TextDecoder().decode(take(MAGIC.length)) !== MAGIC)
    throw new Error("x87.bin.gz is not a file of x87 vectors");
  const exists = [...take(ENCODINGS)].map((exception) => exception === 0);
  const forms: Form[] = [];
  while (position < bytes.length) {
    const form = { bytes: take(byte()), memoryLength: word(), vectors: [] as Vector[] };
    for (let count = word(); count > 0; count--) {
      const [control, status, occupied, flags] = [word(), word(), word(), word()];
      const initial = {
        control,
        status,
        occupied,
        flags,
        registers: take(REGISTERS_LENGTH),
        memory: take(form.memoryLength),
      };
      const exception = byte();
      if (exception !== 0) {
        form.vectors.push({ initial, outcome: exception });
        continue;
      }
      const final = { control: word(), status: word(), tags: word(), flags: word() };
      const registers = difference(initial.registers);
      const memory = difference(initial.memory);
      form.vectors.push({ initial, outcome: { ...final, registers, memory, ax: word() } });
    }
    forms.push(form);
  }
  return { exists, forms };
}
