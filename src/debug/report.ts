// Part: what a person needs to see where a replay left its trace, or where two traces part.

import type { MachineView } from "../machine/view.ts";
import type { Divergence } from "../replay/replayer.ts";
import type { TraceEvent } from "../trace/events.ts";
import { describeEvent, fieldText } from "./describe.ts";
import { disassemble } from "./disassemble.ts";
import { hexBytes } from "./printable.ts";

/** Instructions shown from the instruction pointer on. */
const SHOWN_INSTRUCTIONS = 8;
const REGISTERS_A_LINE = 4;

/** The whole report, without a line feed at its end. */
export function divergenceReport(divergence: Divergence): string {
  const { kind, event, chunk, agreed, recorded, replayed, fields, machine } = divergence;
  const digests =
    chunk === 0 ? "no state digest was compared before it" : `the state digests of chunks 0 to ${chunk - 1} agree`;
  const lines =
    kind === "digest"
      ? [
          `diverged behind event ${event - 1}: all events of chunk ${chunk} agree, the digest of the machine's state at its end does not`,
          `  first broken digest: chunk ${chunk}; ${digests}`,
          ...(agreed === undefined ? [] : [`  agreed    ${describeEvent(agreed)}`]),
        ]
      : [
          `diverged at event ${event}, in chunk ${chunk}; ${digests}`,
          `  agreed    ${agreed === undefined ? "nothing: it is the first event" : describeEvent(agreed)}`,
          `- recorded  ${recorded === undefined ? "no further event in this chunk" : describeEvent(recorded)}`,
          `+ replayed  ${replayed === undefined ? "no further event" : describeEvent(replayed)}`,
          ...differenceLines(fields, recorded, replayed, "recorded", "replayed"),
        ];
  return [...lines, "", ...machineLines(machine)].join("\n");
}

/** One line for each field that differs, with both values. */
export function differenceLines(
  fields: readonly string[],
  a: TraceEvent | undefined,
  b: TraceEvent | undefined,
  nameA: string,
  nameB: string,
): string[] {
  if (a === undefined || b === undefined) return [];
  return fields.map((field) => `  ${field}: ${nameA} ${fieldText(a, field)}, ${nameB} ${fieldText(b, field)}`);
}

/** Registers and the code at the instruction pointer. */
function machineLines({ registers, code, bits }: MachineView): string[] {
  const entries = Object.entries(registers).map(
    ([name, value]) => `${name.padEnd(6)} ${(value >>> 0).toString(16).padStart(8, "0")}`,
  );
  const lines: string[] = [];
  for (let index = 0; index < entries.length; index += REGISTERS_A_LINE) {
    lines.push(`  ${entries.slice(index, index + REGISTERS_A_LINE).join("   ")}`);
  }
  const instructions = disassemble(code.bytes, code.address, bits).slice(0, SHOWN_INSTRUCTIONS);
  const shown = instructions.map(
    ({ address, bytes, text }, index) =>
      `${index === 0 ? "> " : "  "}${address.toString(16).padStart(8, "0")}  ${hexBytes(bytes).padEnd(20)}  ${text}`,
  );
  return [...lines, "", ...(shown.length === 0 ? ["  no code is mapped at the instruction pointer"] : shown)];
}
