// A board with a processor and nothing between them: I/O exits and accesses to unmapped addresses go straight to the platform's buses. It shows
// that firmware runs on the chips themselves, without the hypervisor's HVM domains and the device model.

import { MmioBus, PortBus } from "../../../src/core/bus.ts";
import { Clock } from "../../../src/core/clock.ts";
import { MIB } from "../../../src/core/units.ts";
import { Processor } from "../../../src/cpu/processor.ts";
import { CR0_ET, CR0_NE, CR0_PE, CR0_PG, CR4_VMXE, EAX, EBX, ECX, EDX, IF } from "../../../src/cpu/state.ts";
import { cpuid } from "../../../src/cpu/system/cpuid.ts";
import { VMCS_REVISION } from "../../../src/cpu/vmx/capabilities.ts";
import { controlWord, PIN_BASED, PRIMARY, SECONDARY, VM_ENTRY, VM_EXIT } from "../../../src/cpu/vmx/controls.ts";
import { EXIT, INTERRUPTION_VALID } from "../../../src/cpu/vmx/exit-reasons.ts";
import { VMCS, type VmcsFieldName } from "../../../src/cpu/vmx/fields.ts";
import { VM_SUCCEED } from "../../../src/cpu/vmx/operation.ts";
import type { BoardKind } from "../../../src/devices/pc/board.ts";
import { type FirmwareOptions, firmwareItems } from "../../../src/devices/pc/firmware.ts";
import { type PcPlatform, PcPlatform as Platform } from "../../../src/devices/pc/platform.ts";

const PAGE = 4096;
const LARGE_PAGE = 0x20_0000;
const ENTRIES = 512;
/** Read, write, execute; write-back; bit 7 for a large page (SDM Vol. 3 §29.3.2). */
const RWX = 7;
const LEAF = RWX | (6 << 3);
const LARGE = 1 << 7;
/** The display memory's hole. */
const VGA_FIRST = 0xa0;
const VGA_LAST = 0xbf;

const NS_PER_INSTRUCTION = 100;
const RIGHTS_DATA = 0x93;
const RIGHTS_CODE = 0x9b;
const RIGHTS_LDT = 0x82;
const RIGHTS_TSS = 0x8b;
/** CPUID leaf 1: APIC in EDX, VMX in ECX. */
const FEATURE_APIC = 1 << 9;
const FEATURE_VMX = 1 << 5;
const IA32_TIME_STAMP_COUNTER = 0x10;
const IA32_APIC_BASE = 0x1b;
/** Enabled, bootstrap processor, FEE00000h. */
const APIC_BASE = 0xfee0_0900;
const PRIMARY_CONTROLS = controlWord(PRIMARY, "activateSecondaryControls", "hltExiting");
const IO_EXITING = controlWord(PRIMARY, "unconditionalIoExiting");
const INTERRUPT_WINDOW = controlWord(PRIMARY, "interruptWindowExiting");

export interface BareBoardOptions extends Omit<FirmwareOptions, "memorySize" | "vcpus"> {
  readonly kind: BoardKind;
  readonly bios: Uint8Array;
  readonly memoryMib?: number;
}

export class BareBoard {
  readonly clock = new Clock();
  readonly ports = new PortBus();
  readonly mmio = new MmioBus();
  readonly platform: PcPlatform;
  readonly processor: Processor;
  debug = "";
  serial = "";
  /** Why the machine stopped by itself. */
  ended: "power off" | "reset" | undefined;
  #launched = false;
  /** The next instruction is a string I/O instruction: its ports are reached without an exit, one iteration to an entry. */
  #stringIo = false;
  #idleNs = 0;

  constructor(options: BareBoardOptions) {
    const { kind, bios } = options;
    const memorySize = (options.memoryMib ?? 32) * MIB;
    const firmwareAt = memorySize;
    const tables = memorySize + MIB;
    const processor: Processor = new Processor({
      ramBytes: memorySize + 2 * MIB,
      platform: {
        readTsc: () => BigInt(this.#now()),
        instructionsUntilTsc: (tsc) => Math.max(0, Math.ceil((Number(tsc) - this.#now()) / NS_PER_INSTRUCTION)),
        portRead: (port, width) => this.ports.read(port, width as 1 | 2 | 4),
        portWrite: (port, width, value) => this.ports.write(port, width as 1 | 2 | 4, value),
      },
    });
    this.processor = processor;
    const buses = { ports: this.ports, mmio: this.mmio };
    const { memory } = processor;
    const inside = (address: number, length: number): boolean => address + length <= memorySize;
    this.platform = new Platform(
      {
        clock: this.clock,
        timers: this.clock,
        buses: { hypervisor: buses, "device-model": buses },
        memory: {
          read: (address, length) => (inside(address, length) ? memory.read(address, length) : undefined),
          write: (address, bytes) => {
            if (!inside(address, bytes.length)) return false;
            memory.write(address, bytes);
            return true;
          },
        },
        // Memory and firmware's copy stay as the firmware unlocks them.
        mapSegment: () => undefined,
        unplugged: () => undefined,
        platformLog: () => undefined,
        driveIsaIrq: (irq, level) => this.platform.setIsaIrqLevel(irq, level),
        drivePciIntx: (slot, pin, level) => this.platform.setPciIntxLevel(slot, pin, level),
        routePciLink: (link, irq) => this.platform.setPciLinkRoute(link, irq),
        lineChanged: () => undefined,
        interruptChanged: () => undefined,
        serialOutput: (port, byte) => {
          if (port === 0) this.serial += String.fromCharCode(byte);
        },
        debugOutput: (byte) => {
          this.debug += String.fromCharCode(byte);
        },
        resetProcessor: () => {
          this.ended = "reset";
        },
        resetMachine: () => {
          this.ended = "reset";
        },
        powerOff: () => {
          this.ended = "power off";
        },
      },
      {
        kind,
        memorySize,
        vcpus: 1,
        unlocked: false,
        xenPlatform: false,
        serialTransmitTime: "instant",
        bootDevices: kind === "pc" ? ["disk", "floppy", "cdrom"] : ["floppy", "disk", "cdrom"],
        startDateSeconds: 1_700_000_000,
        firmware: firmwareItems({ ...options, memorySize, vcpus: 1 }),
      },
    );
    // The end of the firmware is at the top of 4 GiB and, as a copy in memory, at the top of the first MiB.
    memory.write(firmwareAt, bios);
    const shadowed = bios.subarray(Math.max(0, bios.length - 0x2_0000));
    memory.write(0x10_0000 - shadowed.length, shadowed);
    this.#buildEpt(tables, memorySize, firmwareAt, bios.length);
    this.#setUpVmcs(tables);
  }

  #buildEpt(at: number, memorySize: number, firmwareAt: number, firmwareSize: number): void {
    const { memory } = this.processor;
    const [pml4, pdpt, lowDirectory, highDirectory, lowTable, highTable] = [0, 1, 2, 3, 4, 5].map(
      (page) => at + page * PAGE,
    ) as [number, number, number, number, number, number];
    memory.store32(pml4, pdpt | RWX);
    memory.store32(pdpt, lowDirectory | RWX);
    memory.store32(pdpt + 3 * 8, highDirectory | RWX);
    memory.store32(lowDirectory, lowTable | RWX);
    for (let large = 1; large < memorySize / LARGE_PAGE; large++) {
      memory.store32(lowDirectory + 8 * large, (large * LARGE_PAGE) | LEAF | LARGE);
    }
    for (let page = 0; page < ENTRIES; page++) {
      if (page < VGA_FIRST || page > VGA_LAST) memory.store32(lowTable + 8 * page, (page * PAGE) | LEAF);
    }
    memory.store32(highDirectory + 8 * (ENTRIES - 1), highTable | RWX);
    const pages = firmwareSize / PAGE;
    for (let page = 0; page < pages; page++) {
      memory.store32(highTable + 8 * (ENTRIES - pages + page), (firmwareAt + page * PAGE) | LEAF);
    }
  }

  #setUpVmcs(tables: number): void {
    const { memory, vmx } = this.processor;
    const [vmxon, vmcs] = [tables + 8 * PAGE, tables + 9 * PAGE] as const;
    memory.store32(vmxon, VMCS_REVISION);
    memory.store32(vmcs, VMCS_REVISION);
    vmx.vmxon(vmxon);
    vmx.vmclear(vmcs);
    vmx.vmptrld(vmcs);
    const fields: Partial<Record<VmcsFieldName, number | bigint>> = {
      PIN_BASED_CONTROLS: controlWord(PIN_BASED, "externalInterruptExiting"),
      PRIMARY_CONTROLS,
      SECONDARY_CONTROLS: controlWord(SECONDARY, "eptEnabled", "unrestrictedGuest"),
      EXIT_CONTROLS: controlWord(VM_EXIT),
      ENTRY_CONTROLS: controlWord(VM_ENTRY),
      EPT_POINTER: tables | 6 | (3 << 3),
      VMCS_LINK_POINTER: 0xffff_ffff_ffff_ffffn,
      CR0_MASK: CR0_NE,
      CR0_READ_SHADOW: CR0_ET,
      CR4_MASK: CR4_VMXE,
      CR4_READ_SHADOW: 0,
      HOST_CR0: (CR0_PG | CR0_PE | CR0_NE | CR0_ET) >>> 0,
      HOST_CR4: CR4_VMXE,
      HOST_CS_SELECTOR: 0x08,
      HOST_SS_SELECTOR: 0x10,
      HOST_TR_SELECTOR: 0x18,
      GUEST_CR0: CR0_NE | CR0_ET,
      GUEST_CR4: CR4_VMXE,
      GUEST_DR7: 0x400,
      GUEST_RFLAGS: 2,
      GUEST_RIP: 0xfff0,
      GUEST_CS_SELECTOR: 0xf000,
      GUEST_CS_BASE: 0xffff_0000,
      GUEST_GDTR_LIMIT: 0xffff,
      GUEST_IDTR_LIMIT: 0xffff,
      GUEST_TR_LIMIT: 0xffff,
      GUEST_TR_ACCESS_RIGHTS: RIGHTS_TSS,
      GUEST_LDTR_LIMIT: 0xffff,
      GUEST_LDTR_ACCESS_RIGHTS: RIGHTS_LDT,
    };
    for (const [name, value] of Object.entries(fields)) vmx.vmwrite(VMCS[name as VmcsFieldName], value);
    for (const name of ["ES", "CS", "SS", "DS", "FS", "GS"] as const) {
      vmx.vmwrite(VMCS[`GUEST_${name}_LIMIT`], 0xffff);
      vmx.vmwrite(VMCS[`GUEST_${name}_ACCESS_RIGHTS`], name === "CS" ? RIGHTS_CODE : RIGHTS_DATA);
    }
  }

  #now(): number {
    return this.#idleNs + this.processor.retired * NS_PER_INSTRUCTION;
  }

  #read(name: VmcsFieldName): number {
    return this.processor.vmx.vmread(VMCS[name]);
  }

  #write(name: VmcsFieldName, value: number): void {
    this.processor.vmx.vmwrite(VMCS[name], value);
  }

  /** Runs until `done` or the machine ends itself; throws after `budget` instructions or `untilNs` of virtual time. */
  run(done: () => boolean, budget: number, untilNs = Number.MAX_SAFE_INTEGER): void {
    const end = this.processor.retired + budget;
    while (!done() && this.ended === undefined) {
      if (this.processor.retired >= end || this.clock.now >= untilNs) {
        throw new Error(
          `not done at ${this.#where()}; debug console ends with:\n${this.debug.slice(-2000)}\nserial:\n${this.serial.slice(-1000)}`,
        );
      }
      this.#offerInterrupt();
      const { vmx } = this.processor;
      const deadline = this.clock.nextDeadline();
      const untilAlarm = deadline === undefined ? budget : Math.ceil((deadline - this.#now()) / NS_PER_INSTRUCTION);
      const count = Math.max(1, this.#stringIo ? 1 : Math.min(untilAlarm, end - this.processor.retired));
      const result = this.#launched ? vmx.vmresume(count) : vmx.vmlaunch(count);
      if (result !== VM_SUCCEED) throw new Error(`VM entry fails: ${vmx.failedCheck?.rule ?? `result ${result}`}`);
      this.#launched = true;
      this.clock.advanceTo(this.#now());
      this.#stringIo = false;
      this.#handleExit();
    }
  }

  #where(): string {
    const cs = this.#read("GUEST_CS_SELECTOR").toString(16);
    return `${cs}:${this.#read("GUEST_RIP").toString(16)} after ${this.processor.retired} instructions`;
  }

  #offerInterrupt(): void {
    const isOpen = (this.#read("GUEST_RFLAGS") & IF) !== 0 && (this.#read("GUEST_INTERRUPTIBILITY") & 3) === 0;
    const isPending = this.platform.interruptPending;
    const io = this.#stringIo ? 0 : IO_EXITING;
    const window = isPending && !isOpen ? INTERRUPT_WINDOW : 0;
    this.#write("PRIMARY_CONTROLS", PRIMARY_CONTROLS | io | window);
    if (!isPending || !isOpen) return;
    this.#write("ENTRY_INTERRUPTION_INFORMATION", INTERRUPTION_VALID | this.platform.acknowledgeInterrupt());
  }

  #skip(): void {
    this.#write("GUEST_RIP", this.#read("GUEST_RIP") + this.#read("EXIT_INSTRUCTION_LENGTH"));
    this.#write("GUEST_INTERRUPTIBILITY", this.#read("GUEST_INTERRUPTIBILITY") & ~3);
  }

  #handleExit(): void {
    const { vmx } = this.processor;
    const reason = this.#read("EXIT_REASON");
    switch (reason) {
      case EXIT.EXTERNAL_INTERRUPT:
      case EXIT.INTERRUPT_WINDOW:
        return;
      case EXIT.IO_INSTRUCTION:
        this.#io(this.#read("EXIT_QUALIFICATION"));
        return;
      case EXIT.EPT_VIOLATION:
        this.#emulate();
        return;
      case EXIT.HLT:
        this.#skip();
        this.#idle();
        return;
      case EXIT.CPUID:
        this.#cpuid();
        return;
      case EXIT.RDMSR:
      case EXIT.WRMSR:
        this.#msr(reason === EXIT.RDMSR);
        return;
      case EXIT.INVD:
      case EXIT.WBINVD:
        this.#skip();
        return;
      default:
        throw new Error(
          `VM exit ${reason.toString(16)} at ${this.#where()}: ${vmx.failedCheck?.rule ?? "not expected"}`,
        );
    }
  }

  #io(qualification: number): void {
    const { state } = this.processor;
    const width = ((qualification & 7) + 1) as 1 | 2 | 4;
    const port = qualification >>> 16;
    const isInput = (qualification & 8) !== 0;
    if ((qualification & 16) !== 0) {
      this.#stringIo = true;
      return;
    }
    if (!isInput) this.ports.write(port, width, (state.gpr(EAX) & (0xffff_ffff >>> (32 - 8 * width))) >>> 0);
    else {
      const value = this.ports.read(port, width);
      if (width === 1) state.setGpr8(EAX, value);
      else if (width === 2) state.setGpr16(EAX, value);
      else state.setGpr(EAX, value);
    }
    this.#skip();
  }

  #emulate(): void {
    const result = this.processor.emulate({
      read: (address, width) => this.mmio.read(address, width as 1 | 2 | 4),
      write: (address, width, value) => this.mmio.write(address, width as 1 | 2 | 4, value),
    });
    if (result !== "done") throw new Error(`cannot emulate (${result}) at ${this.#where()}`);
  }

  #idle(): void {
    while (!this.platform.interruptPending && this.ended === undefined) {
      const deadline = this.clock.nextDeadline();
      const canWake = (this.#read("GUEST_RFLAGS") & IF) !== 0;
      if (deadline === undefined || !canWake)
        throw new Error(`halted for ever at ${this.#where()}:\n${this.debug.slice(-2000)}`);
      this.#idleNs += deadline - this.clock.now;
      this.clock.advanceTo(deadline);
    }
  }

  #cpuid(): void {
    const { state } = this.processor;
    const leaf = state.gpr(EAX);
    const [eax, ebx, ecx, edx] = cpuid(leaf);
    const apic = this.platform.kind === "pc" ? FEATURE_APIC : 0;
    state.setGpr(EAX, eax);
    state.setGpr(EBX, ebx);
    state.setGpr(ECX, leaf === 1 ? ecx & ~FEATURE_VMX : ecx);
    state.setGpr(EDX, leaf === 1 ? edx | apic : edx);
    this.#skip();
  }

  #msr(isRead: boolean): void {
    const { state } = this.processor;
    const index = state.gpr(ECX);
    if (isRead) {
      const tsc = BigInt(this.#now());
      const isTsc = index === IA32_TIME_STAMP_COUNTER;
      state.setGpr(EAX, isTsc ? Number(tsc & 0xffff_ffffn) : index === IA32_APIC_BASE ? APIC_BASE : 0);
      state.setGpr(EDX, isTsc ? Number(tsc >> 32n) : 0);
    }
    this.#skip();
  }
}
