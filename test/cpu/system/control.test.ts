import { beforeEach, describe, expect, test } from "vitest";
import {
  CR0_CD,
  CR0_ET,
  CR0_NE,
  CR0_NW,
  CR0_PE,
  CR0_PG,
  CR0_TS,
  CR0_WP,
  CR4_DE,
  CR4_PAE,
  CR4_PGE,
  CR4_PSE,
  CR4_TSD,
  CR4_VMXE,
  EAX,
  ECX,
  EDX,
  OFFSET,
} from "../../../src/cpu/state.ts";
import { FakeCpu, memoryOperand, registerOperand } from "./fake-cpu.ts";

const PE_ONLY = CR0_PE | CR0_ET | CR0_NE;

let cpu: FakeCpu;

beforeEach(() => {
  cpu = new FakeCpu().enterFlat();
});

const setCr = (cr: number, value: number) => {
  cpu.state.setGpr(EAX, value);
  return cpu.run("mov_to_cr", { modrm: registerOperand(cr, EAX) });
};
const getCr = (cr: number) => {
  expect(cpu.run("mov_from_cr", { modrm: registerOperand(cr, ECX) })).toBeUndefined();
  return cpu.state.gpr(ECX);
};
const GP = { vector: 13, errorCode: 0 };
const UD = { vector: 6, errorCode: -1 };

describe("CR0", () => {
  test("enabling paging drops all translations; ET cannot be cleared and undefined bits stay 0", () => {
    expect(setCr(0, (PE_ONLY | CR0_PG | CR0_WP | 0x40) & ~CR0_ET)).toBeUndefined();
    expect(cpu.state.cr0).toBe((PE_ONLY | CR0_PG | CR0_WP) >>> 0);
    expect(cpu.flushes).toEqual(["all"]);
  });

  test("paging without protection, NW without CD and, in VMX operation, a clear NE are #GP", () => {
    expect(setCr(0, CR0_PG | CR0_NE)).toEqual(GP);
    expect(setCr(0, PE_ONLY | CR0_NW)).toEqual(GP);
    expect(setCr(0, PE_ONLY | CR0_NW | CR0_CD)).toBeUndefined();
    expect(setCr(0, PE_ONLY & ~CR0_NE)).toEqual(GP);
  });

  test("a guest that is not unrestricted cannot clear PE or PG (SDM Vol. 3 §A.7)", () => {
    cpu.vmx.controls.unrestrictedGuest = false;
    cpu.state.cr0 |= CR0_PG;
    expect(setCr(0, PE_ONLY)).toEqual(GP);
    expect(setCr(0, PE_ONLY | CR0_PG | CR0_TS)).toBeUndefined();
  });

  test("bits the host owns read from the shadow and keep their value; a write that differs exits", () => {
    cpu.vmx.controls.cr0Mask = CR0_NE | CR0_CD;
    cpu.vmx.controls.cr0Shadow = CR0_CD;
    expect(getCr(0)).toBe((CR0_PE | CR0_ET | CR0_CD) >>> 0);
    expect(setCr(0, CR0_PE | CR0_CD | CR0_TS)).toBeUndefined();
    expect(cpu.state.cr0).toBe(PE_ONLY | CR0_TS);
    expect(setCr(0, CR0_PE)).toBe("exit");
    expect([cpu.vmx.exitReason, cpu.vmx.qualification]).toEqual([28, 0]);
    expect(cpu.state.cr0).toBe(PE_ONLY | CR0_TS);
  });

  test("enabling PAE paging loads the PDPTEs and faults on bad ones with CR0 unchanged", () => {
    cpu.state.cr4 |= CR4_PAE;
    cpu.state.cr3 = 0x1_0000;
    cpu.set32(0x1_0000, 0x5000 | 3);
    expect(setCr(0, PE_ONLY | CR0_PG)).toEqual(GP);
    expect(cpu.state.cr0).toBe(PE_ONLY);
    cpu.set32(0x1_0000, 0x5000 | 1);
    expect(setCr(0, PE_ONLY | CR0_PG)).toBeUndefined();
    expect(cpu.state.get(OFFSET.pdpte)).toBe(0x5001);
  });

  test("CLTS clears TS, does nothing when the host owns a TS shadowed 0, exits when shadowed 1", () => {
    cpu.state.cr0 |= CR0_TS;
    cpu.vmx.controls.cr0Mask = CR0_TS;
    expect(cpu.run("clts")).toBeUndefined();
    expect(cpu.state.cr0 & CR0_TS).toBe(CR0_TS);
    cpu.vmx.controls.cr0Shadow = CR0_TS;
    expect(cpu.run("clts")).toBe("exit");
    expect(cpu.vmx.qualification).toBe(2 << 4);
    cpu.vmx.controls.cr0Mask = 0;
    expect(cpu.run("clts")).toBeUndefined();
    expect(cpu.state.cr0 & CR0_TS).toBe(0);
  });

  test("LMSW sets PE but does not clear it, and exits as SDM Vol. 3 §26.1.3 says", () => {
    cpu.state.setGpr(EAX, 0xffff_000e);
    expect(cpu.run("lmsw", { modrm: registerOperand(6, EAX) })).toBeUndefined();
    expect(cpu.state.cr0).toBe(PE_ONLY | 0xe);
    cpu.vmx.controls.cr0Mask = CR0_PE;
    cpu.vmx.controls.cr0Shadow = CR0_PE;
    expect(cpu.run("lmsw", { modrm: registerOperand(6, EAX) })).toBeUndefined();
    cpu.vmx.controls.cr0Shadow = 0;
    cpu.set16(0x4000, 0xabc1);
    expect(cpu.run("lmsw", { modrm: memoryOperand(6) }, 0x4000)).toBe("exit");
    expect(cpu.vmx.qualification).toBe(0xabc1_0070);
    expect(cpu.vmx.fields).toEqual({ guestLinear: 0x4000 });
  });

  test("SMSW is not privileged: 16 bits to memory, all of CR0 to a 32-bit register", () => {
    cpu.setLevel(3);
    cpu.set32(0x4000, 0);
    cpu.run("smsw", { modrm: memoryOperand(4) }, 0x4000);
    expect(cpu.get32(0x4000)).toBe(PE_ONLY);
    cpu.state.cr0 |= CR0_WP;
    cpu.run("smsw", { modrm: registerOperand(4, EDX) });
    expect(cpu.state.gpr(EDX)).toBe(PE_ONLY | CR0_WP);
  });
});

describe("CR2, CR3, CR4 and the rest", () => {
  test("loading CR3 drops non-global translations; CR3-load exiting spares the target values", () => {
    expect(setCr(3, 0x1_2000)).toBeUndefined();
    expect([cpu.state.cr3, cpu.flushes]).toEqual([0x1_2000, ["non-global"]]);
    cpu.vmx.controls.cr3LoadExiting = true;
    cpu.vmx.controls.cr3Targets = [0x5000];
    expect(setCr(3, 0x5000)).toBeUndefined();
    expect(setCr(3, 0x6000)).toBe("exit");
    expect(cpu.vmx.qualification).toBe(3);
    cpu.vmx.controls.cr3StoreExiting = true;
    expect(cpu.run("mov_from_cr", { modrm: registerOperand(3, EDX) })).toBe("exit");
    expect(cpu.vmx.qualification).toBe(3 | (1 << 4) | (EDX << 8));
  });

  test("CR4 accepts announced features only and keeps VMXE; paging bits drop global translations, too", () => {
    expect(setCr(4, CR4_VMXE | CR4_PSE | CR4_PGE)).toBeUndefined();
    expect(cpu.flushes).toEqual(["all"]);
    expect(setCr(4, CR4_VMXE | 1)).toEqual(GP);
    expect(setCr(4, CR4_PSE)).toEqual(GP);
    expect(setCr(4, CR4_VMXE | CR4_PSE | CR4_PGE | CR4_TSD)).toBeUndefined();
    expect(cpu.flushes).toEqual(["all"]);
  });

  test("a guest does not see VMXE behind the CR4 mask", () => {
    cpu.vmx.controls.cr4Mask = CR4_VMXE;
    expect(getCr(4)).toBe(0);
    expect(setCr(4, CR4_PSE)).toBeUndefined();
    expect(cpu.state.cr4).toBe(CR4_VMXE | CR4_PSE);
    expect(setCr(4, CR4_VMXE)).toBe("exit");
  });

  test("CR2 is plain storage; CR1 and CR5 do not exist; all are for CPL 0", () => {
    setCr(2, 0xdead_beef);
    expect(getCr(2)).toBe(0xdead_beef);
    expect(setCr(1, 0)).toEqual(UD);
    expect(cpu.run("mov_from_cr", { modrm: registerOperand(5, 0) })).toEqual(UD);
    cpu.setLevel(3);
    expect(setCr(2, 0)).toEqual(GP);
    expect(cpu.run("clts")).toEqual(GP);
    expect(cpu.run("mov_from_cr", { modrm: registerOperand(0, 0) })).toEqual(GP);
  });

  test("INVLPG drops one page, or exits with the linear address", () => {
    expect(cpu.run("invlpg", { modrm: memoryOperand(7) }, 0xc000_1234)).toBeUndefined();
    expect(cpu.flushes).toEqual(["page c0001234"]);
    cpu.vmx.controls.invlpgExiting = true;
    expect(cpu.run("invlpg", { modrm: memoryOperand(7) }, 0xc000_1234)).toBe("exit");
    expect([cpu.vmx.exitReason, cpu.vmx.qualification]).toEqual([14, 0xc000_1234]);
    expect(cpu.run("invlpg", { modrm: 0xf8 })).toEqual(UD);
  });

  test("INVD always exits, WBINVD when asked; the fault of privilege comes first", () => {
    expect(cpu.run("invd")).toBe("exit");
    expect(cpu.run("wbinvd")).toBeUndefined();
    cpu.vmx.controls.wbinvdExiting = true;
    expect(cpu.run("wbinvd")).toBe("exit");
    expect(cpu.vmx.exitReason).toBe(54);
    cpu.setLevel(3);
    expect([cpu.run("invd"), cpu.run("wbinvd")]).toEqual([GP, GP]);
  });
});

describe("debug registers", () => {
  const setDr = (dr: number, value: number) => {
    cpu.state.setGpr(EAX, value);
    return cpu.run("mov_to_dr", { modrm: registerOperand(dr, EAX) });
  };

  test("DR6 and DR7 keep their fixed bits; DR4 and DR5 are their other names without CR4.DE", () => {
    setDr(4, 0);
    setDr(5, 0xffff_ffff & ~(1 << 13));
    expect([cpu.state.dr(6), cpu.state.dr(7)]).toEqual([0xffff_0ff0, 0xffff_07ff]);
    cpu.state.cr4 |= CR4_DE;
    expect(setDr(4, 0)).toEqual(UD);
    setDr(2, 0x1234);
    cpu.run("mov_from_dr", { modrm: registerOperand(2, EDX) });
    expect(cpu.state.gpr(EDX)).toBe(0x1234);
  });

  test("with DR7.GD every access is #DB with BD as its cause", () => {
    setDr(7, 1 << 13);
    expect(cpu.run("mov_from_dr", { modrm: registerOperand(0, 0) })).toEqual({ vector: 1, errorCode: -1 });
    expect(cpu.faultAddress).toBe(1 << 13);
  });

  test("MOV-DR exiting comes before privilege (SDM Vol. 3 §26.1.3)", () => {
    cpu.setLevel(3);
    expect(setDr(3, 0)).toEqual(GP);
    cpu.vmx.controls.movDrExiting = true;
    expect(cpu.run("mov_from_dr", { modrm: registerOperand(3, EDX) })).toBe("exit");
    expect([cpu.vmx.exitReason, cpu.vmx.qualification]).toEqual([29, 3 | (1 << 4) | (EDX << 8)]);
  });
});

describe("MSRs and counters", () => {
  const wrmsr = (index: number, high: number, low: number) => {
    cpu.state.setGpr(ECX, index);
    cpu.state.setGpr(EDX, high);
    cpu.state.setGpr(EAX, low);
    return cpu.run("wrmsr");
  };
  const rdmsr = (index: number) => {
    cpu.state.setGpr(ECX, index);
    const raised = cpu.run("rdmsr");
    return raised ?? [cpu.state.gpr(EDX), cpu.state.gpr(EAX)];
  };

  test("registers of the processor hold what is written; others are #GP", () => {
    expect(wrmsr(0x175, 0, 0x1234)).toBeUndefined();
    expect(rdmsr(0x175)).toEqual([0, 0x1234]);
    expect(wrmsr(0x277, 0x0007_0406, 0x0007_0406)).toBeUndefined();
    expect(rdmsr(0x277)).toEqual([0x0007_0406, 0x0007_0406]);
    expect(rdmsr(0x1234)).toEqual(GP);
    expect(wrmsr(0x277, 0, 2)).toEqual(GP);
    expect(wrmsr(0xc000_0080, 0, 0x100)).toEqual(GP);
    expect(wrmsr(0x10, 0, 0)).toEqual(GP);
  });

  test("EFER.NXE changes what page tables mean, so translations go", () => {
    expect(wrmsr(0xc000_0080, 0, 0x800)).toBeUndefined();
    expect(cpu.flushes).toEqual(["all"]);
  });

  test("an intercepted register exits after the check of CPL", () => {
    cpu.vmx.exitingMsrs.add(0x1b);
    expect(rdmsr(0x1b)).toBe("exit");
    expect(cpu.vmx.exitReason).toBe(31);
    expect(wrmsr(0x1b, 0, 0)).toBe("exit");
    expect(cpu.vmx.exitReason).toBe(32);
    cpu.setLevel(3);
    expect(rdmsr(0x1b)).toEqual(GP);
  });

  test("RDTSC and the TSC's MSR add the offset of the VMCS modulo 2^64", () => {
    cpu.tsc = 0x1_0000_0005n;
    cpu.run("rdtsc");
    expect([cpu.state.gpr(EDX), cpu.state.gpr(EAX)]).toEqual([1, 5]);
    cpu.vmx.controls.useTscOffsetting = true;
    cpu.vmx.controls.tscOffset = 0xffff_ffff_ffff_fff0n;
    cpu.run("rdtsc");
    expect([cpu.state.gpr(EDX), cpu.state.gpr(EAX)]).toEqual([0, 0xffff_fff5]);
    expect(rdmsr(0x10)).toEqual([0, 0xffff_fff5]);
    cpu.vmx.controls.rdtscExiting = true;
    expect(cpu.run("rdtsc")).toBe("exit");
    cpu.state.cr4 |= CR4_TSD;
    cpu.setLevel(3);
    expect(cpu.run("rdtsc")).toEqual(GP);
  });

  test("RDPMC knows no counters", () => {
    expect(cpu.run("rdpmc")).toEqual(GP);
    cpu.vmx.controls.rdpmcExiting = true;
    expect(cpu.run("rdpmc")).toBe("exit");
  });
});
