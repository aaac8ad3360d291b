// Part: I/O instructions (SDM Vol. 3 table 28-5). The machine's port bus answers; ports that nobody owns read all ones.

import { EAX } from "../../cpu/state.ts";
import type { HypervisorServices } from "../services.ts";
import { emulateInstruction } from "./ept.ts";
import type { Exit, ExitHandler } from "./exit.ts";

const INPUT = 1 << 3;
const STRING = 1 << 4;

type Width = 1 | 2 | 4;
const widthOf = (qualification: number): Width => ((qualification & 7) + 1) as Width;

function value({ ports, processor }: HypervisorServices, { qualification }: Exit): number | undefined {
  if ((qualification & STRING) !== 0) return undefined;
  const width = widthOf(qualification);
  if ((qualification & INPUT) !== 0) return ports.read(qualification >>> 16, width);
  const word = processor.state.gpr(EAX);
  return width === 4 ? word : width === 2 ? word & 0xffff : word & 0xff;
}

export const IO_INSTRUCTION: ExitHandler = {
  value: (host, _vcpu, exit) => value(host, exit),
  handle(host, vcpu, exit, carried) {
    // String I/O moves memory as well: the instruction emulator carries out one iteration.
    if (carried === undefined) return emulateInstruction(host, vcpu);
    const { state } = host.processor;
    const width = widthOf(exit.qualification);
    if ((exit.qualification & INPUT) === 0) host.ports.write(exit.qualification >>> 16, width, carried);
    else if (width === 1) state.setGpr8(EAX, carried);
    else if (width === 2) state.setGpr16(EAX, carried);
    else state.setGpr(EAX, carried);
    host.skip(vcpu);
  },
};
