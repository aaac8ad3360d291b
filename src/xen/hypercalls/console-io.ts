// Part: HYPERVISOR_console_io (xen.h): the emergency console. What a guest writes there goes to its own console output.

import { ERRNO_H as E, XEN_H } from "../abi/constants.ts";
import { EFAULT, type Hypercall } from "./call.ts";

/** Xen takes what a guest writes in pieces; a longer text is several calls' work. */
const MAX_WRITE = 4096;

export function consoleIo({ host, domain, arguments: [command, count, buffer] }: Hypercall): number {
  // Reading is the control domain's.
  if (command !== XEN_H.CONSOLEIO_write) return command === XEN_H.CONSOLEIO_read ? -E.XEN_EPERM : -E.XEN_ENOSYS;
  if (count > MAX_WRITE) return -E.XEN_E2BIG;
  const data = domain.access.read(buffer, count);
  if (data === undefined) return EFAULT;
  if (count > 0) host.emit({ kind: "console-output", at: host.clock.now, domain: domain.domid, data });
  return 0;
}
