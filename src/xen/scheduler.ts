// Part: which vCPU has the processor, by credits (credit.ts), and its turn there: entries, exits and instructions that wait for their I/O, until
// something else is due, or a vCPU wakes that has more credit.

import { assert, InputError } from "../core/errors.ts";
import type { Snapshotable } from "../core/snapshot.ts";
import { NS_PER_MS } from "../core/units.ts";
import { VM_SUCCEED } from "../cpu/vmx/operation.ts";
import { VCPU_H } from "./abi/constants.ts";
import { Credit, type CreditState, type Share, timesToGive } from "./credit.ts";
import type { Domain } from "./domain.ts";
import type { Execution } from "./execution.ts";
import { completeIo } from "./exits/completion.ts";
import type { HypervisorServices } from "./services.ts";
import type { Vcpu } from "./vcpu.ts";
import type { VirtualTime } from "./virtual-time.ts";

/** A vCPU that nobody waits for may run so long; that it ends at all lets a caller look in. */
const LONGEST_TURN_NS = 10 * NS_PER_MS;

interface Entry {
  readonly vcpu: Vcpu;
  readonly credit: Credit;
  /** Others could have had the turn that it was chosen for. */
  contended: boolean;
}

export interface SchedulerOptions {
  /** Virtual time that an exit costs. */
  readonly exitCostNs: number;
  /** How long a vCPU may run while another waits that is not better off. */
  readonly quantumNs: number;
}

export interface SchedulerState {
  credits: (CreditState & { domid: number; vcpu: number })[];
}

export class Scheduler implements Snapshotable<SchedulerState> {
  readonly #host: HypervisorServices;
  readonly #execution: Execution;
  readonly #time: VirtualTime;
  readonly #options: SchedulerOptions;
  readonly #followTime = () => this.#time.follow();
  /** All that run on the processor, by domid and vCPU id. */
  #entries: readonly Entry[] = [];
  #greatestWeight = 1;
  #current: Vcpu | undefined;
  #yielded = false;
  /** A vCPU has woken since the turn began. */
  #woken = false;

  constructor(host: HypervisorServices, execution: Execution, time: VirtualTime, options: SchedulerOptions) {
    this.#host = host;
    this.#execution = execution;
    this.#time = time;
    this.#options = options;
  }

  /** The vCPU that has the processor: its VMCS and registers are there. */
  get current(): Vcpu | undefined {
    return this.#current;
  }

  /** After a snapshot was loaded, which holds the processor as well. */
  adopt(current: Vcpu | undefined): void {
    this.#current = current;
  }

  add(vcpu: Vcpu, share: Share): void {
    const credit = new Credit(`dom${vcpu.domid} vcpu${vcpu.id}`, share, this.#host.clock, (parked) =>
      vcpu.park(parked),
    );
    vcpu.onWake = () => {
      this.#woken = true;
    };
    this.#setEntries([...this.#entries, { vcpu, credit, contended: false }]);
  }

  remove(domain: Domain): void {
    for (const { vcpu, credit } of this.#entries) if (vcpu.domain === domain) credit.cancel();
    this.#setEntries(this.#entries.filter(({ vcpu }) => vcpu.domain !== domain));
    for (const vcpu of domain.vcpus) this.forget(vcpu);
  }

  #setEntries(entries: readonly Entry[]): void {
    this.#entries = entries;
    this.#greatestWeight = entries.reduce((greatest, { credit }) => Math.max(greatest, credit.share.weight), 1);
  }

  /** A vCPU's VMCS is cleared: neither it nor its registers are in the processor any more. */
  forget(vcpu: Vcpu): void {
    if (this.#current === vcpu) this.#current = undefined;
  }

  runnable(): readonly Vcpu[] {
    return this.#entries.filter(({ vcpu }) => vcpu.runnable).map(({ vcpu }) => vcpu);
  }

  /** See {@link Hypervisor.runTurn}. */
  runTurn(untilNs: number): boolean {
    const chosen = this.#next();
    if (chosen === undefined) return false;
    const { quantumNs } = this.#options;
    const longestNs = Math.min(chosen.contended ? quantumNs : LONGEST_TURN_NS, chosen.credit.budgetNs);
    this.#run(chosen, Number.POSITIVE_INFINITY, Math.min(this.#host.clock.now + longestNs, untilNs));
    return true;
  }

  /** Whose turn it is: of those that can run, who has most credit; the first of several. Undefined when nobody can run. */
  #next(): Entry | undefined {
    let best: Entry | undefined;
    let passedOver: Entry | undefined;
    let waiting = 0;
    for (const entry of this.#entries) {
      if (!entry.vcpu.runnable) continue;
      waiting++;
      if (entry.credit.yielded) passedOver ??= entry;
      else if (best === undefined || entry.credit.creditNs > best.credit.creditNs) best = entry;
    }
    const chosen = best ?? passedOver;
    if (chosen === undefined) return undefined;
    if (chosen.credit.creditNs <= 0) this.#giveCredit(chosen.credit.creditNs);
    for (const { credit } of this.#entries) credit.yielded = false;
    chosen.contended = waiting > 1;
    return chosen;
  }

  #giveCredit(bestNs: number): void {
    const times = timesToGive(bestNs);
    for (const { credit } of this.#entries) credit.give(times);
  }

  /** See {@link Hypervisor.runVcpu}. */
  run(vcpu: Vcpu, budget: number): void {
    const entry = this.#entries.find((each) => each.vcpu === vcpu);
    assert(entry !== undefined, () => `dom${vcpu.domid} is not on the processor`);
    this.#run(entry, budget, Number.POSITIVE_INFINITY);
  }

  #run({ vcpu, credit }: Entry, budget: number, untilNs: number): void {
    const { processor, clock } = this.#host;
    this.switchTo(vcpu);
    if (vcpu.runstate.change(VCPU_H.RUNSTATE_running)) vcpu.runstate.publish(processor.memory, vcpu.domain.p2m);
    const startNs = clock.now;
    this.#time.start();
    this.#yielded = false;
    this.#woken = false;
    const end = processor.retired + budget;
    while (vcpu.runnable && !this.#yielded) {
      const limit = Math.min(end - processor.retired, this.#time.instructionsUntilAlarm(untilNs));
      if (limit <= 0) break;
      if (vcpu.io.instruction !== "none") completeIo(this.#host, vcpu);
      else if (this.#execution.enter(vcpu, limit, this.#followTime)) this.#time.spend(this.#options.exitCostNs);
      if (this.#woken && this.#isPreempted(vcpu, credit.after(clock.now - startNs, this.#greatestWeight))) break;
    }
    this.#time.stop();
    credit.burn(clock.now - startNs, this.#greatestWeight);
    credit.yielded = this.#yielded;
  }

  /** One of those that have woken has more credit. */
  #isPreempted(current: Vcpu, creditNs: number): boolean {
    this.#woken = false;
    return this.#entries.some(({ vcpu, credit }) => vcpu !== current && vcpu.runnable && credit.creditNs > creditNs);
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

  save(): SchedulerState {
    return {
      credits: this.#entries.map(({ vcpu, credit }) => ({ domid: vcpu.domid, vcpu: vcpu.id, ...credit.save() })),
    };
  }

  /** After the domains' own. @throws InputError unless the vCPUs are the snapshot's */
  load({ credits }: SchedulerState): void {
    for (const [index, { vcpu, credit }] of this.#entries.entries()) {
      const { domid, vcpu: id, ...state } = credits[index] ?? { domid: -1, vcpu: -1, ...credit.save() };
      if (domid !== vcpu.domid || id !== vcpu.id) throw new InputError("other vCPUs", "snapshot of the scheduler");
      credit.load(state);
      vcpu.parked = state.parked;
    }
  }
}
