// Part: credits, by which the scheduler shares out the one processor, after Xen's credit2 (xen/common/sched/credit2.c): a vCPU burns credit while it
// runs, the faster the less weight its domain has; who has most runs next; when nobody has any left, all are given more. One that sleeps keeps
// what it has, so it runs at once when it wakes. A cap bounds what a domain gets of the processor, idle or not: a budget for each period.
// Not modelled: the rate limit on preemption, affinities, run queues of several processors.

import type { Alarm, Clock } from "../core/clock.ts";
import { NS_PER_MS } from "../core/units.ts";

/** CSCHED2_CREDIT_INIT: nanoseconds that a vCPU of the greatest weight may run before credits are given out again. */
const CREDIT_NS = 10 * NS_PER_MS;
/** CSCHED2_CARRYOVER_MAX: what one that slept keeps beyond that. */
const CARRYOVER_NS = NS_PER_MS / 2;
/** CSCHED2_BDGT_REPL_PERIOD: how often a budget is given. */
const PERIOD_NS = 10 * NS_PER_MS;

/** Xen's defaults for a domain. */
export const DEFAULT_WEIGHT = 256;
export const NO_CAP = 0;
/** XEN_DOMCTL_SCHEDOP_putinfo takes weights of 16 bits (domctl.h). */
export const MAX_WEIGHT = 65_535;

/** What a domain gets: its share beside others, and per cent of the processor that it gets at most, 0 for no bound. */
export interface Share {
  readonly weight: number;
  readonly cap: number;
}

export interface CreditState {
  creditNs: number;
  /** What is left of dividing by the weight. */
  residual: number;
  budgetNs: number;
  /** The budget is used up. */
  parked: boolean;
  /** It has asked to be passed over once. */
  yielded: boolean;
}

export class Credit {
  readonly share: Share;
  readonly #clock: Clock;
  /** Of a vCPU with a cap. */
  readonly #replenishment: Alarm | undefined;
  readonly #quotaNs: number;
  readonly #parkedChanged: (parked: boolean) => void;
  #state: CreditState;

  /** @param name of the vCPU: a cap has an alarm */
  constructor(name: string, share: Share, clock: Clock, parkedChanged: (parked: boolean) => void) {
    this.share = share;
    this.#clock = clock;
    this.#parkedChanged = parkedChanged;
    this.#quotaNs = (PERIOD_NS / 100) * share.cap;
    this.#state = { creditNs: CREDIT_NS, residual: 0, budgetNs: this.#quotaNs, parked: false, yielded: false };
    if (share.cap !== NO_CAP) this.#replenishment = clock.alarm(`${name} budget`, () => this.#replenish());
  }

  get creditNs(): number {
    return this.#state.creditNs;
  }

  get parked(): boolean {
    return this.#state.parked;
  }

  get yielded(): boolean {
    return this.#state.yielded;
  }

  set yielded(yielded: boolean) {
    this.#state.yielded = yielded;
  }

  /** How long it may run before its budget is used up. */
  get budgetNs(): number {
    return this.share.cap === NO_CAP ? Number.POSITIVE_INFINITY : this.#state.budgetNs;
  }

  /** What a run of this length leaves (t2c_update). */
  after(ranNs: number, greatestWeight: number): number {
    return this.#state.creditNs - Math.floor((ranNs * greatestWeight + this.#state.residual) / this.share.weight);
  }

  /** The vCPU has run. */
  burn(ranNs: number, greatestWeight: number): void {
    const state = this.#state;
    const left = this.after(ranNs, greatestWeight);
    state.residual = (ranNs * greatestWeight + state.residual) % this.share.weight;
    state.creditNs = left;
    if (this.#replenishment === undefined || ranNs === 0) return;
    // A period begins when the budget is first used.
    if (this.#replenishment.deadline === undefined) this.#replenishment.set(this.#clock.now - ranNs + PERIOD_NS);
    state.budgetNs -= ranNs;
    if (state.budgetNs <= 0) this.#park(true);
  }

  /** Gives credit: `times` as much as at the beginning (reset_credit). */
  give(times: number): void {
    this.#state.creditNs = Math.min(this.#state.creditNs + times * CREDIT_NS, CREDIT_NS + CARRYOVER_NS);
  }

  #replenish(): void {
    const state = this.#state;
    state.budgetNs = Math.min(state.budgetNs + this.#quotaNs, this.#quotaNs);
    if (state.budgetNs < this.#quotaNs) this.#replenishment?.set(this.#clock.now + PERIOD_NS);
    if (state.parked && state.budgetNs > 0) this.#park(false);
  }

  #park(parked: boolean): void {
    this.#state.parked = parked;
    this.#parkedChanged(parked);
  }

  /** The vCPU's end. */
  cancel(): void {
    this.#replenishment?.cancel();
  }

  save(): CreditState {
    return { ...this.#state };
  }

  load(state: CreditState): void {
    this.#state = { ...state };
  }
}

/** How often to give credit so that the one with this much has some again. */
export function timesToGive(creditNs: number): number {
  return 1 + Math.floor(-creditNs / CREDIT_NS);
}
