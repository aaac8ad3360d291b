/**
 * The processor as the conformance tests see it: registers in, one instruction, registers out. The tests know nothing
 * of VMX; what it takes to run one guest instruction stands in this file alone. It goes the hypervisor's way: a VMCS,
 * an identity EPT, and VM entries with a budget of one instruction.
 */
import { Processor } from "../../src/cpu/processor.ts";
import {
  CR0_ET,
  CR0_NE,
  CR0_PE,
  CR0_PG,
  CR4_VMXE,
  EAX,
  EBP,
  EBX,
  ECX,
  EDI,
  EDX,
  ESI,
  RF,
} from "../../src/cpu/state.ts";
import { VMCS_REVISION } from "../../src/cpu/vmx/capabilities.ts";
import { controlWord, PIN_BASED, PRIMARY, SECONDARY, VM_ENTRY, VM_EXIT } from "../../src/cpu/vmx/controls.ts";
import { EXIT, INTERRUPTION_ERROR_CODE, SOFTWARE_EXCEPTION } from "../../src/cpu/vmx/exit-reasons.ts";
import { VMCS, type VmcsFieldName } from "../../src/cpu/vmx/fields.ts";
import { VM_SUCCEED } from "../../src/cpu/vmx/operation.ts";

/**
 * `real16`: CR0.PE clear, 16-bit segments of 64 KiB at selector × 16, A20 on, exceptions delivered through the vector
 * table at linear address 0.
 * `flat32`: protected mode without paging, all segments base 0 and limit 4 GiB, CPL 3, IOPL 0, exceptions reported and
 * not delivered.
 */
export type ProcessorMode = "real16" | "flat32";

export interface Registers {
  /** EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI: 0 to 2^32 - 1. */
  readonly gpr: readonly number[];
  readonly eip: number;
  /** Without RF, which belongs to how a fault is delivered. */
  readonly eflags: number;
  /** Selectors of ES, CS, SS, DS. `flat32` has its own. */
  readonly segments: readonly number[];
}

export interface Step {
  /** The exception that the instruction raised and that was not delivered. */
  readonly exception?: { readonly vector: number; readonly errorCode: number };
}

export interface ProcessorUnderTest {
  /** Bytes of memory from linear address 0. */
  readonly memorySize: number;
  reset(mode: ProcessorMode): void;
  /** Also ends a HLT, an interrupt shadow and any pending debug exception. */
  setRegisters(registers: Registers): void;
  /** After an exception, EIP is the one that delivery would push. */
  getRegisters(): Registers;
  read(linear: number, length: number): Uint8Array;
  write(linear: number, bytes: Uint8Array): void;
  /**
   * Executes one instruction, or one iteration of a repeated string instruction; after an exception that is delivered,
   * the first of its handler. HLT is not executed: EIP stays at it. Ports read all ones and ignore writes.
   */
  step(): Step;
}

/** The tests' memory: real-mode addresses end at 10FFEFh. */
const MEMORY_SIZE = 0x20_0000;
/** What VMX needs lies above it. */
const TSS = 0x20_0000;
const VMXON_REGION = 0x20_1000;
const VMCS_REGION = 0x20_2000;
const EPT_PML4 = 0x20_3000;
const EPT_PDPT = 0x20_4000;
const RAM_SIZE = 0x21_0000;

/** SDM Vol. 3 §29.3.2: read, write, execute; write-back (6) in bits 5:3, bit 7 for a 1-GByte page. */
const EPT_RWX = 7;
const EPT_IDENTITY_1G = EPT_RWX | (6 << 3) | (1 << 7);
/** EPTP: write-back, walk length 4 (SDM Vol. 3 table 25-9). */
const EPT_POINTER = EPT_PML4 | 6 | (3 << 3);

const TSS_LIMIT = 0x67;
/** Offset of the I/O-map base, and a base beyond the limit: no port is permitted (SDM Vol. 1 §19.5.2). */
const TSS_IO_MAP = 0x66;
const NO_IO_MAP = 0xffff;

const RIGHTS_BUSY_TSS = 0x8b;
const RIGHTS_UNUSABLE = 0x1_0000;
const RIGHTS_FLAT_CODE = 0xc0fb;
const RIGHTS_FLAT_DATA = 0xc0f3;
/** Present, DPL 0, read/write, accessed, 16-bit. */
const RIGHTS_REAL = 0x93;
const USER_CODE = 0x1b;
const USER_DATA = 0x23;

const ALL_EXCEPTIONS = 0xffff_ffff;

/** Encoding order of the segment registers. */
const SEGMENTS = ["ES", "CS", "SS", "DS", "FS", "GS"] as const;
/** ESP is a VMCS field, the others are not. */
const GENERAL = [EAX, ECX, EDX, EBX, EBP, ESI, EDI];

class VmxGuest implements ProcessorUnderTest {
  readonly memorySize = MEMORY_SIZE;
  readonly #processor: Processor;
  #mode: ProcessorMode = "real16";
  #launched = false;
  /** INTO and INT3 push the address behind themselves, but the VMCS holds that of the instruction. */
  #trapLength = 0;

  constructor(processor: Processor) {
    this.#processor = processor;
    const { memory, vmx } = processor;
    memory.store32(VMXON_REGION, VMCS_REVISION);
    memory.store32(VMCS_REGION, VMCS_REVISION);
    memory.store32(EPT_PML4, EPT_PDPT | EPT_RWX);
    memory.store32(EPT_PDPT, EPT_IDENTITY_1G);
    memory.store16(TSS + TSS_IO_MAP, NO_IO_MAP);
    vmx.vmxon(VMXON_REGION);
  }

  reset(mode: ProcessorMode): void {
    const { vmx } = this.#processor;
    vmx.vmclear(VMCS_REGION);
    vmx.vmptrld(VMCS_REGION);
    this.#mode = mode;
    this.#launched = false;
    this.#writeControls();
    this.#writeHostState();
    this.#writeGuestState();
  }

  setRegisters({ gpr, eip, eflags, segments }: Registers): void {
    for (const register of GENERAL) this.#processor.state.setGpr(register, gpr[register]!);
    this.#write("GUEST_RSP", gpr[4]!);
    this.#write("GUEST_RIP", eip);
    this.#write("GUEST_RFLAGS", eflags);
    this.#write("GUEST_INTERRUPTIBILITY", 0);
    this.#write("GUEST_ACTIVITY", 0);
    this.#write("GUEST_PENDING_DEBUG_EXCEPTIONS", 0);
    this.#trapLength = 0;
    if (this.#mode === "real16") {
      for (const [i, selector] of segments.entries()) {
        const name = SEGMENTS[i]!;
        this.#writeSegment(name, selector, selector * 16, 0xffff, RIGHTS_REAL);
      }
    }
  }

  getRegisters(): Registers {
    const { state } = this.#processor;
    const gpr = Array.from({ length: 8 }, (_, i) => state.gpr(i));
    gpr[4] = this.#read("GUEST_RSP");
    return {
      gpr,
      eip: this.#read("GUEST_RIP") + this.#trapLength,
      eflags: this.#read("GUEST_RFLAGS") & ~RF,
      segments: SEGMENTS.slice(0, 4).map((name) => this.#read(`GUEST_${name}_SELECTOR`)),
    };
  }

  read(linear: number, length: number): Uint8Array {
    return this.#processor.memory.read(linear, length);
  }

  write(linear: number, bytes: Uint8Array): void {
    this.#processor.memory.write(linear, bytes);
  }

  step(): Step {
    const { vmx } = this.#processor;
    const result = this.#launched ? vmx.vmresume(1) : vmx.vmlaunch(1);
    if (result !== VM_SUCCEED) throw new Error(`VM entry fails: ${vmx.failedCheck?.rule ?? `result ${result}`}`);
    this.#launched = true;
    const reason = this.#read("EXIT_REASON");
    if (reason === EXIT.EXTERNAL_INTERRUPT || reason === EXIT.HLT) return {};
    if (reason !== EXIT.EXCEPTION_OR_NMI) {
      throw new Error(
        `VM exit with reason ${reason.toString(16)}: ${vmx.failedCheck?.rule ?? "not what these tests do"}`,
      );
    }
    const information = this.#read("EXIT_INTERRUPTION_INFORMATION");
    if (((information >>> 8) & 7) === SOFTWARE_EXCEPTION) this.#trapLength = this.#read("EXIT_INSTRUCTION_LENGTH");
    const hasErrorCode = (information & INTERRUPTION_ERROR_CODE) !== 0;
    const errorCode = hasErrorCode ? this.#read("EXIT_INTERRUPTION_ERROR_CODE") : 0;
    return { exception: { vector: information & 0xff, errorCode } };
  }

  #read(name: VmcsFieldName): number {
    return this.#processor.vmx.vmread(VMCS[name]);
  }

  #write(name: VmcsFieldName, value: number): void {
    this.#processor.vmx.vmwrite(VMCS[name], value);
  }

  #writeSegment(
    name: (typeof SEGMENTS)[number] | "TR" | "LDTR",
    selector: number,
    base: number,
    limit: number,
    rights: number,
  ): void {
    this.#write(`GUEST_${name}_SELECTOR`, selector);
    this.#write(`GUEST_${name}_BASE`, base);
    this.#write(`GUEST_${name}_LIMIT`, limit);
    this.#write(`GUEST_${name}_ACCESS_RIGHTS`, rights);
  }

  #writeControls(): void {
    this.#write("PIN_BASED_CONTROLS", controlWord(PIN_BASED, "externalInterruptExiting"));
    this.#write("PRIMARY_CONTROLS", controlWord(PRIMARY, "activateSecondaryControls", "hltExiting"));
    this.#write("SECONDARY_CONTROLS", controlWord(SECONDARY, "eptEnabled", "unrestrictedGuest"));
    this.#write("EXIT_CONTROLS", controlWord(VM_EXIT));
    this.#write("ENTRY_CONTROLS", controlWord(VM_ENTRY));
    this.#write("EPT_POINTER", EPT_POINTER);
    this.#write("EXCEPTION_BITMAP", this.#mode === "flat32" ? ALL_EXCEPTIONS : 0);
    // No page fault arises without paging; mask and match of 0 leave the bitmap's bit in force.
    for (const name of [
      "CR0_MASK",
      "CR4_MASK",
      "CR3_TARGET_COUNT",
      "PAGE_FAULT_ERROR_CODE_MASK",
      "PAGE_FAULT_ERROR_CODE_MATCH",
      "EXIT_MSR_STORE_COUNT",
      "EXIT_MSR_LOAD_COUNT",
      "ENTRY_MSR_LOAD_COUNT",
      "ENTRY_INTERRUPTION_INFORMATION",
    ] as const) {
      this.#write(name, 0);
    }
  }

  /** Checked at VM entry (SDM Vol. 3 §27.2.2); nothing runs there. */
  #writeHostState(): void {
    this.#write("HOST_CR0", (CR0_PG | CR0_PE | CR0_NE | CR0_ET) >>> 0);
    this.#write("HOST_CR3", 0);
    this.#write("HOST_CR4", CR4_VMXE);
    this.#write("HOST_CS_SELECTOR", 0x08);
    for (const name of ["ES", "SS", "DS", "FS", "GS"] as const) this.#write(`HOST_${name}_SELECTOR`, 0x10);
    this.#write("HOST_TR_SELECTOR", 0x18);
  }

  #writeGuestState(): void {
    const flat = this.#mode === "flat32";
    this.#write("GUEST_CR0", CR0_NE | CR0_ET | (flat ? CR0_PE : 0));
    this.#write("GUEST_CR3", 0);
    this.#write("GUEST_CR4", CR4_VMXE);
    this.#write("GUEST_DR7", 0x400);
    for (const name of SEGMENTS) {
      if (!flat) this.#writeSegment(name, 0, 0, 0xffff, RIGHTS_REAL);
      else if (name === "CS") this.#writeSegment(name, USER_CODE, 0, 0xffff_ffff, RIGHTS_FLAT_CODE);
      else this.#writeSegment(name, USER_DATA, 0, 0xffff_ffff, RIGHTS_FLAT_DATA);
    }
    this.#writeSegment("TR", 0x28, TSS, TSS_LIMIT, RIGHTS_BUSY_TSS);
    this.#writeSegment("LDTR", 0, 0, 0, RIGHTS_UNUSABLE);
    for (const name of ["GDTR", "IDTR"] as const) {
      this.#write(`GUEST_${name}_BASE`, 0);
      this.#write(`GUEST_${name}_LIMIT`, flat ? 0 : 0x3ff);
    }
    this.#processor.vmx.vmwrite(VMCS.VMCS_LINK_POINTER, 0xffff_ffff);
    this.#processor.vmx.vmwrite(VMCS.VMCS_LINK_POINTER + 1, 0xffff_ffff);
  }
}

const ALL_ONES = 0xffff_ffff;

export function createProcessorUnderTest(): ProcessorUnderTest {
  const platform = {
    readTsc: () => 0n,
    instructionsUntilTsc: () => Number.MAX_SAFE_INTEGER,
    portRead: (_port: number, width: number) => ALL_ONES >>> (32 - 8 * width),
    portWrite: () => {},
  };
  return new VmxGuest(new Processor({ ramBytes: RAM_SIZE, platform }));
}
