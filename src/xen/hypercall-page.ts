// Part: the hypercall page (xen.h): 128 entries of 32 bytes. For HVM domains entry N is MOV EAX, N; VMCALL; RET.

import { PAGE_SIZE } from "../core/memory.ts";

const ENTRY_SIZE = 32;

/** HYPERVISOR_iret (23) makes no sense in an HVM domain: Xen puts UD2 there. */
const IRET = 23;

export function hypercallPage(): Uint8Array {
  const page = new Uint8Array(PAGE_SIZE);
  const view = new DataView(page.buffer);
  for (let number = 0; number < PAGE_SIZE / ENTRY_SIZE; number++) {
    const at = number * ENTRY_SIZE;
    if (number === IRET) {
      page.set([0x0f, 0x0b], at);
      continue;
    }
    page[at] = 0xb8;
    view.setUint32(at + 1, number, true);
    page.set([0x0f, 0x01, 0xc1, 0xc3], at + 5);
  }
  return page;
}
