import { expect, test } from "vitest";
import {
  CR_CLTS,
  CR_LMSW,
  CR_MOV_FROM,
  CR_MOV_TO,
  crQualification,
  describeExit,
  drQualification,
  ENTRY_FAILURE,
  EXIT,
  EXIT_REASONS,
  type ExitRecord,
  ioQualification,
  TASK_SWITCH_IDT_GATE,
  taskSwitchQualification,
} from "../../../src/cpu/vmx/exit-reasons.ts";

const lines: readonly (readonly [ExitRecord, string])[] = [
  [
    { reason: EXIT.IO_INSTRUCTION, qualification: ioQualification(0x3f8, 1, false, false, false, false) },
    "I/O instruction: OUT 0x3f8, 1 byte",
  ],
  [
    { reason: EXIT.IO_INSTRUCTION, qualification: ioQualification(0x310, 2, true, true, true, false) },
    "I/O instruction: REP INS 0x310, 2 bytes",
  ],
  [
    { reason: EXIT.IO_INSTRUCTION, qualification: ioQualification(0xffff, 4, true, false, false, true) },
    "I/O instruction: IN 0xffff, 4 bytes",
  ],
  [{ reason: EXIT.HLT, qualification: 0 }, "HLT"],
  [{ reason: EXIT.INVLPG, qualification: 0xc000_0000 }, "INVLPG: 0xc0000000"],
  [
    { reason: EXIT.CONTROL_REGISTER_ACCESS, qualification: crQualification(3, CR_MOV_TO, 2) },
    "control-register access: MOV CR3, EDX",
  ],
  [
    { reason: EXIT.CONTROL_REGISTER_ACCESS, qualification: crQualification(0, CR_MOV_FROM, 7) },
    "control-register access: MOV EDI, CR0",
  ],
  [
    { reason: EXIT.CONTROL_REGISTER_ACCESS, qualification: crQualification(0, CR_CLTS, 0) },
    "control-register access: CLTS",
  ],
  [
    { reason: EXIT.CONTROL_REGISTER_ACCESS, qualification: crQualification(0, CR_LMSW, 0, true, 0xfff1) },
    "control-register access: LMSW 0xfff1",
  ],
  [{ reason: EXIT.MOV_DR, qualification: drQualification(7, false, 0) }, "MOV DR: MOV DR7, EAX"],
  [{ reason: EXIT.MOV_DR, qualification: drQualification(6, true, 3) }, "MOV DR: MOV EBX, DR6"],
  [
    { reason: EXIT.TASK_SWITCH, qualification: taskSwitchQualification(0x48, TASK_SWITCH_IDT_GATE) },
    "task switch: to TSS selector 0x48 by task gate in the IDT",
  ],
  [
    { reason: EXIT.EPT_VIOLATION, qualification: 0x182 | (1 << 3), gpa: 0xfee0_0000, vectoring: 0x8000_0b0e },
    "EPT violation: write (data), readable: guest-physical 0xfee00000: while delivering hardware exception #PF",
  ],
  [
    { reason: EXIT.EPT_VIOLATION, qualification: 0x81, gpa: 4096 },
    "EPT violation: read (page walk), not present: guest-physical 0x1000",
  ],
  [
    { reason: EXIT.EPT_VIOLATION, qualification: 1, gpa: 0 },
    "EPT violation: read (PDPTEs), not present: guest-physical 0x0",
  ],
  [
    { reason: EXIT.EXCEPTION_OR_NMI, qualification: 0xdead, interruption: 0x8000_0b0e },
    "exception or NMI: hardware exception #PF: address 0xdead",
  ],
  [
    { reason: EXIT.EXCEPTION_OR_NMI, qualification: 0x4001, interruption: 0x8000_0301 },
    "exception or NMI: hardware exception #DB: DR6 B0+BS",
  ],
  [{ reason: EXIT.EXCEPTION_OR_NMI, qualification: 0, interruption: 0x8000_0202 }, "exception or NMI: NMI"],
  [{ reason: EXIT.EXTERNAL_INTERRUPT, qualification: 0 }, "external interrupt"],
  [{ reason: EXIT.EXTERNAL_INTERRUPT, qualification: 0, interruption: 0x8000_00ef }, "external interrupt: vector 0xef"],
  [
    { reason: ENTRY_FAILURE + EXIT.ENTRY_FAILURE_GUEST_STATE, qualification: 2 },
    "VM-entry failure: invalid guest state: PDPTEs",
  ],
  [
    { reason: ENTRY_FAILURE + EXIT.ENTRY_FAILURE_MSR_LOADING, qualification: 3 },
    "VM-entry failure: MSR loading: entry 3",
  ],
  [{ reason: 0x1234, qualification: 0 }, "exit reason 4660"],
];

for (const [exit, text] of lines) {
  test(`an exit reads "${text}"`, () => {
    expect(describeExit(exit)).toBe(text);
  });
}

test("every reason has one name, and text for any qualification", () => {
  expect(EXIT_REASONS.map(({ reason }) => reason)).toEqual(Object.values(EXIT));
  expect(new Set(EXIT_REASONS.map(({ name }) => name)).size).toBe(EXIT_REASONS.length);
  for (const { reason, name } of EXIT_REASONS) {
    for (const qualification of [0, 1, 0x5555_5555, 0xffff_ffff]) {
      expect(describeExit({ reason, qualification })).toContain(name);
    }
  }
});
