// Part: I/O instructions (SDM Vol. 3 table 28-5). In an HVM domain its platform's devices answer, else the device model; in a PVH domain the
// machine's port bus, and ports that nobody owns read all ones.

import { EAX } from "../../cpu/state.ts";
import { IOREQ_H as R } from "../abi/constants.ts";
import type { IoRequest } from "../ioreq.ts";
import type { Platform } from "../platform.ts";
import type { HypervisorServices } from "../services.ts";
import type { Vcpu } from "../vcpu.ts";
import { emulateInstruction } from "./ept.ts";
import type { Exit, ExitHandler } from "./exit.ts";
import { INPUT, mergeInput, portOf, request, STRING, widthOf } from "./io-request.ts";
import { stringIo } from "./string-io.ts";

/** The request for the device model; nobody keeps it. */
const REQUEST: IoRequest = {
  type: R.IOREQ_TYPE_PIO,
  read: false,
  address: 0,
  size: 1,
  count: 1,
  data: 0,
  pointer: false,
  down: false,
};

/** What an input reads, if a device answers at once, or what an output carries. */
function value(host: HypervisorServices, { domain }: Vcpu, { qualification }: Exit): number | undefined {
  if ((qualification & STRING) !== 0) return undefined;
  const { processor } = host;
  const width = widthOf(qualification);
  if ((qualification & INPUT) !== 0) {
    const { platform } = domain;
    if (platform === undefined) return host.ports.read(portOf(qualification), width);
    return platform.ports.owns(portOf(qualification), width)
      ? platform.ports.read(portOf(qualification), width)
      : undefined;
  }
  const word = processor.state.gpr(EAX);
  return width === 4 ? word : width === 2 ? word & 0xffff : word & 0xff;
}

export const IO_INSTRUCTION: ExitHandler = {
  value,
  handle(host, vcpu, exit, carried) {
    const { platform } = vcpu.domain;
    if (platform !== undefined) return platformIo(host, vcpu, platform, exit.qualification, carried);
    // String I/O moves memory as well: the instruction emulator carries out one iteration.
    if (carried === undefined) return emulateInstruction(host, vcpu);
    const width = widthOf(exit.qualification);
    if ((exit.qualification & INPUT) === 0) host.ports.write(portOf(exit.qualification), width, carried);
    else mergeInput(host, width, carried);
    host.skip(vcpu);
  },
};

/** In an HVM domain: a device in the hypervisor answers at once, the device model is asked for everything else. */
function platformIo(
  host: HypervisorServices,
  vcpu: Vcpu,
  platform: Platform,
  qualification: number,
  carried: number | undefined,
): void {
  if ((qualification & STRING) !== 0) {
    stringIo(host, vcpu, platform, qualification);
    return;
  }
  const width = widthOf(qualification);
  const port = portOf(qualification);
  const read = (qualification & INPUT) !== 0;
  if (read ? carried !== undefined : platform.ports.owns(port, width)) {
    if (carried === undefined) return;
    if (read) mergeInput(host, width, carried);
    else platform.ports.write(port, width, carried);
    host.skip(vcpu);
    return;
  }
  REQUEST.read = read;
  REQUEST.address = port;
  REQUEST.size = width;
  REQUEST.data = carried ?? 0;
  vcpu.io.instruction = "port";
  request(host, vcpu, platform, REQUEST);
}
