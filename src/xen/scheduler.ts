// Part: which vCPU has the processor, and its turn there: entries, exits and instructions that wait for their I/O, until something else is due.

import { assert } from "../core/errors.ts";
import { VM_SUCCEED } from "../cpu/vmx/operation.ts";
import { VCPU_H } from "./abi/constants.ts";
import type { Domain } from "./domain.ts";
import type { Execution } from "./execution.ts";
import { completeIo } from "./exits/completion.ts";
import type { HypervisorServices } from "./services.ts";
import type { Vcpu } from "./vcpu.ts";
import type { VirtualTime } from "./virtual-time.ts";

const isRunnable = (vcpu: Vcpu): boolean => vcpu.runnable;

export class Scheduler {
  readonly #host: HypervisorServices;
  readonly #execution: Execution;
  readonly #time: VirtualTime;
  readonly #exitCostNs: number;
  readonly #followTime = () => this.#time.follow();
  /** All that run on the processor, by domid and vCPU id. */
  #vcpus: readonly Vcpu[] = [];
  #current: Vcpu | undefined;
  #yielded = false;

  constructor(host: HypervisorServices, execution: Execution, time: VirtualTime, exitCostNs: number) {
    this.#host = host;
    this.#execution = execution;
    this.#time = time;
    this.#exitCostNs = exitCostNs;
  }

  /** The vCPU that has the processor: its VMCS and registers are there. */
  get current(): Vcpu | undefined {
    return this.#current;
  }

  /** After a snapshot was loaded, which holds the processor as well. */
  adopt(current: Vcpu | undefined): void {
    this.#current = current;
  }

  add(vcpu: Vcpu): void {
    this.#vcpus = [...this.#vcpus, vcpu];
  }

  remove(domain: Domain): void {
    this.#vcpus = this.#vcpus.filter((vcpu) => vcpu.domain !== domain);
    for (const vcpu of domain.vcpus) this.forget(vcpu);
  }

  /** A vCPU's VMCS is cleared: neither it nor its registers are in the processor any more. */
  forget(vcpu: Vcpu): void {
    if (this.#current === vcpu) this.#current = undefined;
  }

  runnable(): readonly Vcpu[] {
    const vcpus = this.#vcpus;
    return vcpus.every(isRunnable) ? vcpus : vcpus.filter(isRunnable);
  }

  /** See {@link Hypervisor.runVcpu}. */
  run(vcpu: Vcpu, budget: number): void {
    const { processor } = this.#host;
    this.switchTo(vcpu);
    if (vcpu.runstate.change(VCPU_H.RUNSTATE_running)) vcpu.runstate.publish(processor.memory, vcpu.domain.p2m);
    this.#time.start();
    this.#yielded = false;
    const end = processor.retired + budget;
    while (vcpu.runnable && !this.#yielded) {
      const limit = Math.min(end - processor.retired, this.#time.instructionsUntilAlarm());
      if (limit <= 0) break;
      if (vcpu.io.instruction !== "none") completeIo(this.#host, vcpu);
      else if (this.#execution.enter(vcpu, limit, this.#followTime)) this.#time.spend(this.#exitCostNs);
    }
    this.#time.stop();
  }

  /** Ends the turn of the vCPU that runs after the exit at hand. */
  yield(): void {
    this.#yielded = true;
  }

  /** Gives the processor to a vCPU: its VMCS and the registers that the VMCS does not hold. */
  switchTo(vcpu: Vcpu): void {
    if (this.#current === vcpu) return;
    const { vmx } = this.#host.processor;
    if (this.#current !== undefined) {
      this.#current.registers = this.#execution.saveRegisters();
      if (this.#current.run === "running") this.#current.runstate.change(VCPU_H.RUNSTATE_runnable);
    }
    const result = vmx.vmptrld(vcpu.vmcs);
    assert(result === VM_SUCCEED, () => `VMPTRLD of dom${vcpu.domid} failed: ${result}`);
    this.#execution.loadRegisters(vcpu.registers);
    vcpu.registers = undefined;
    this.#current = vcpu;
  }
}
