/** Every integer instruction form against what a real processor did; see test/vectors/integer/README.md. */
import { beforeAll, describe, expect, test } from "vitest";
import { createProcessorUnderTest, type ProcessorUnderTest } from "../support/processor.ts";
import { background, type IntegerVector, loadIntegerVectors, type MemoryPiece } from "../vectors/integer/load.ts";
import { dependsOnCount, type Undefined, undefinedBy } from "./undefined-flags.ts";

const { code, window, forms } = loadIntegerVectors();
const REGISTER_NAMES = ["EAX", "ECX", "EDX", "EBX", "ESP", "EBP", "ESI", "EDI"];
const ECX = 1;
const INT3 = 0xcc;
/** Flat segments: any value will do, the processor under test sets its own. */
const NO_SEGMENTS = [0, 0, 0, 0];
/** The longest repeated string instruction of the vectors has 12 iterations. */
const MAX_STEPS = 16;

const hex = (value: number): string => value.toString(16).padStart(8, "0");
const hexBytes = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

/** What the manual leaves open for this vector: the form's name gives mnemonic, width and where the count is. */
function undefinedIn(vector: IntegerVector): Undefined {
  // Encodings the manual does not list carry their opcode in parentheses: "shl r/m32, cl (D3 /6)".
  const words = vector.form.replace(/ \(.*/, "").split(" ");
  const mnemonic = words[0]!;
  if (!dependsOnCount(mnemonic)) return undefinedBy(mnemonic, 32, 0);
  const bits = Number(/r\/m(\d+)/.exec(vector.form)![1]);
  const source = words.at(-1)!;
  const count = source === "1" ? 1 : source === "cl" ? vector.initial.gpr[ECX]! & 0xff : vector.bytes.at(-1)!;
  return undefinedBy(mnemonic, bits, count);
}

/** The window as the vectors presume it, kept in step with the processor's memory. */
class Window {
  readonly #idle = Uint8Array.from({ length: window.size }, (_, i) => background(window.address + i));
  readonly bytes = this.#idle.slice();
  readonly #processor: ProcessorUnderTest;

  constructor(processor: ProcessorUnderTest) {
    this.#processor = processor;
    processor.write(window.address, this.#idle);
  }

  expect(pieces: readonly MemoryPiece[]): void {
    for (const { address, bytes } of pieces) this.bytes.set(bytes, address - window.address);
  }

  prepare(pieces: readonly MemoryPiece[]): void {
    for (const { address, bytes } of pieces) this.#processor.write(address, bytes);
    this.expect(pieces);
  }

  restore(pieces: readonly MemoryPiece[]): void {
    for (const { address, bytes } of pieces) {
      const at = address - window.address;
      const idle = this.#idle.subarray(at, at + bytes.length);
      this.bytes.set(idle, at);
      this.#processor.write(address, idle);
    }
  }

  restoreAll(): void {
    this.bytes.set(this.#idle);
    this.#processor.write(window.address, this.#idle);
  }
}

/** Runs one vector; the differences from the real processor, in words. */
function differences(processor: ProcessorUnderTest, memory: Window, vector: IntegerVector): string[] {
  const { initial, final } = vector;
  memory.prepare(vector.memory);
  processor.write(code, vector.bytes);
  processor.write(code + vector.bytes.length, Uint8Array.of(INT3));
  processor.setRegisters({ ...initial, eip: code, segments: NO_SEGMENTS });

  let step = processor.step();
  let after = processor.getRegisters();
  for (let steps = 1; steps < MAX_STEPS && after.eip === code && step.exception === undefined; steps++) {
    step = processor.step();
    after = processor.getRegisters();
  }

  const found: string[] = [];
  const compare = (what: string, actual: string, expected: string) => {
    if (actual !== expected) found.push(`${what} is ${actual}, should be ${expected}`);
  };
  const words = (e: typeof step.exception) => (e === undefined ? "none" : `vector ${e.vector} error ${e.errorCode}`);
  compare("exception", words(step.exception), words(vector.exception));
  if (after.eip !== final.eip) compare("EIP", hex(after.eip), hex(final.eip));

  const open = undefinedIn(vector);
  const flagsDiffer = (after.eflags ^ final.eflags) & ~open.flags;
  if (flagsDiffer !== 0)
    found.push(`EFLAGS is ${hex(after.eflags)}, should be ${hex(final.eflags)}, differs in ${hex(flagsDiffer >>> 0)}`);
  if (open.result) {
    memory.restoreAll();
    return found;
  }
  for (const [i, name] of REGISTER_NAMES.entries()) {
    if (after.gpr[i] !== final.gpr[i]) compare(name, hex(after.gpr[i]!), hex(final.gpr[i]!));
  }
  memory.expect(vector.written);
  const actual = processor.read(window.address, window.size);
  if (Buffer.compare(actual, memory.bytes) !== 0) {
    const at = actual.findIndex((byte, i) => byte !== memory.bytes[i]);
    const end = Math.min(at + 16, window.size);
    compare(
      `memory at ${hex(window.address + at)}`,
      hexBytes(actual.subarray(at, end)),
      hexBytes(memory.bytes.subarray(at, end)),
    );
    memory.restoreAll();
  } else {
    memory.restore(vector.written);
    memory.restore(vector.memory);
  }
  return found;
}

function describeVector(vector: IntegerVector): string {
  const registers = REGISTER_NAMES.map((name, i) => `${name}=${hex(vector.initial.gpr[i]!)}`).join(" ");
  const pieces = vector.memory.map(({ address, bytes }) => `[${hex(address)}]=${hexBytes(bytes)}`).join(" ");
  return `${vector.form} #${vector.index}, bytes ${hexBytes(vector.bytes)}\n  ${registers} EFLAGS=${hex(vector.initial.eflags)} ${pieces}`;
}

describe("integer instructions do what a real processor did", () => {
  let processor: ProcessorUnderTest;
  let memory: Window;

  beforeAll(() => {
    processor = createProcessorUnderTest();
    processor.reset("flat32");
    memory = new Window(processor);
  });

  test.each(forms)("$name", ({ vectors }) => {
    const failures = vectors.flatMap((vector) => {
      const found = differences(processor, memory, vector);
      return found.length === 0 ? [] : [`${describeVector(vector)}\n  ${found.join("\n  ")}`];
    });
    if (failures.length > 0)
      expect.fail(`${failures.length} of ${vectors.length} vectors differ; the first:\n${failures[0]}`);
  });
});

describe("the table of undefined flags", () => {
  test("leaves every vector something to compare", () => {
    const open = forms.flatMap(({ vectors }) => vectors).filter((vector) => undefinedIn(vector).result);
    // Only SHLD and SHRD of 16-bit operands by more than 16 have an undefined result.
    expect(new Set(open.map(({ form }) => form.split(",")[0]))).toEqual(new Set(["shld r/m16", "shrd r/m16"]));
  });
});
