// Part: a front end's end of the xenbus (xen/include/public/io/xenbus.h), for block and network devices alike: own state, the watch on the back
// end's state, and what follows from both as a table. What a back end writes is checked; one that breaks the rules has its device shut, and the
// reason is in the trace and in xenstore, as Linux's xenbus_dev_fatal leaves it.

import type { ModelKernel } from "../../xen/model/kernel.ts";
import { XENBUS, XENBUS_NAMES, type XenbusState } from "./xenbus.ts";

/**
 * What a front end does: nothing; set up its rings and publish them; take what the back end offers and begin; look at what may have changed;
 * finish what is in flight, then let go; let go at once; it is over.
 */
export type FrontAction = "stay" | "publish" | "connect" | "look" | "drain" | "close" | "finish";

type Row = Readonly<Partial<Record<keyof typeof XENBUS, FrontAction>>>;

/** Own state → the back end's → action; what is not named is "stay". */
const TABLE: Readonly<Partial<Record<keyof typeof XENBUS, Row>>> = {
  // A back end that is Closed from an earlier life offers itself again when it sees us.
  Initialising: { InitWait: "publish" },
  Initialised: { Connected: "connect", Closing: "close", Closed: "close", Unknown: "close" },
  Connected: { Connected: "look", Closing: "drain", Closed: "close", Unknown: "close", InitWait: "close" },
  Closing: { Closing: "close", Closed: "close", Unknown: "close", InitWait: "close" },
  Closed: { Closed: "finish", Unknown: "finish" },
};

/** @param back any number that a back end wrote */
export function frontTransition(own: XenbusState, back: number): FrontAction {
  const ownName = XENBUS_NAMES[own];
  const backName = XENBUS_NAMES[back];
  if (ownName === undefined || backName === undefined) return "stay";
  return TABLE[ownName]?.[backName] ?? "stay";
}

export interface FrontEndOptions {
  readonly kind: "vbd" | "vif";
  /** Virtual device number, or handle. */
  readonly device: number;
  /** Sets up rings and gives what the back end is to know of them (`ring-ref`, `event-channel`, …); undefined when it cannot. */
  readonly publish: () => Readonly<Record<string, string | number>> | undefined;
  /** The back end is Connected: false when what it offers cannot be used. */
  readonly connect: () => boolean;
  /** The back end is Connected and has written its state once more. */
  readonly look: () => void;
  /** The back end closes: `close` is to be called when nothing is in flight any more. */
  readonly drain: () => void;
  /** The device is gone: nothing may be used any more, all that is in flight has failed. */
  readonly closed: () => void;
}

export interface FrontEndState {
  state: number;
  back: string;
  backDomid: number;
  watched: boolean;
}

export class FrontEnd {
  readonly #kernel: ModelKernel;
  readonly #options: FrontEndOptions;
  /** Home directory in xenstore. */
  readonly front: string;
  /** What the trace calls the device: `vbd/51712`. */
  readonly name: string;
  #back = "";
  #backDomid = 0;
  #watched = false;
  #state: XenbusState = XENBUS.Unknown;

  constructor(kernel: ModelKernel, options: FrontEndOptions) {
    this.#kernel = kernel;
    this.#options = options;
    this.name = `${options.kind}/${options.device}`;
    this.front = `device/${this.name}`;
  }

  get state(): XenbusState {
    return this.#state;
  }

  get backDomid(): number {
    return this.#backDomid;
  }

  /** Finds the back end and begins; again after the device was closed. False when the toolstack has given no such device. */
  start(): boolean {
    const { store } = this.#kernel;
    const back = store.read(`${this.front}/backend`);
    const domid = numberIn(store.read(`${this.front}/backend-id`));
    if (back === undefined || domid === undefined) return false;
    if (this.#watched) store.unwatch(`${this.#back}/state`, this.name);
    this.#back = back;
    this.#backDomid = domid;
    this.#watched = true;
    this.switchTo(XENBUS.Initialising);
    store.watch(`${back}/state`, this.name, () => this.#changed());
    return true;
  }

  /** A node of the back end as it wrote it. */
  backText(name: string): string | undefined {
    return this.#kernel.store.read(`${this.#back}/${name}`);
  }

  /** A node of the back end that is a whole number from 0 to 2^53 − 1 in decimal; undefined when it is not. */
  backNumber(name: string): number | undefined {
    return numberIn(this.backText(name));
  }

  switchTo(state: XenbusState): void {
    this.#state = state;
    this.#kernel.store.write(`${this.front}/state`, String(state));
  }

  /** Asks the back end to let go; in-flight requests are the caller's to await before. */
  disconnect(): void {
    if (this.#state === XENBUS.Initialised || this.#state === XENBUS.Connected) this.switchTo(XENBUS.Closing);
  }

  /** Nothing is in flight any more: lets go if the back end closes as well. */
  drained(): void {
    if (this.#state === XENBUS.Closing) this.#changed();
  }

  /** Lets go, whatever the back end says. */
  close(): void {
    if (this.#state === XENBUS.Closed || this.#state === XENBUS.Unknown) return;
    this.switchTo(XENBUS.Closed);
    this.#changed();
  }

  /** The back end did what it must not: the device is shut. @param errno positive */
  fatal(errno: number, message: string): void {
    const kernel = this.#kernel;
    const { clock, domid: domain } = kernel;
    kernel.emit({ kind: "frontend-error", at: clock.now, domain, device: this.name, errno, message });
    kernel.store.write(`error/${this.front}/error`, `${errno} ${message}`);
    if (this.#state === XENBUS.Closing || this.#state === XENBUS.Closed) return;
    this.switchTo(XENBUS.Closing);
    this.#changed();
  }

  #changed(): void {
    const text = this.backText("state");
    const back = text === undefined ? XENBUS.Unknown : (numberIn(text) ?? -1);
    this.#act(frontTransition(this.#state, back));
  }

  #act(action: FrontAction): void {
    switch (action) {
      case "stay":
        break;
      case "publish":
        this.#publish();
        break;
      case "connect":
        if (this.#options.connect()) this.switchTo(XENBUS.Connected);
        break;
      case "look":
        this.#options.look();
        break;
      case "drain":
        this.switchTo(XENBUS.Closing);
        this.#options.drain();
        break;
      case "close":
        this.close();
        break;
      case "finish":
        this.#finish();
        break;
      default:
        action satisfies never;
    }
  }

  /** Rings, event channel and state appear together, so that the back end never sees one without the others. */
  #publish(): void {
    const nodes = this.#options.publish();
    if (nodes === undefined) {
      this.close();
      return;
    }
    this.#state = XENBUS.Initialised;
    this.#kernel.store.transaction((transaction) => {
      for (const [name, value] of Object.entries(nodes)) transaction.write(`${this.front}/${name}`, String(value));
      transaction.write(`${this.front}/state`, String(XENBUS.Initialised));
    });
  }

  #finish(): void {
    this.#kernel.store.unwatch(`${this.#back}/state`, this.name);
    this.#watched = false;
    this.#state = XENBUS.Unknown;
    this.#options.closed();
  }

  save(): FrontEndState {
    return { state: this.#state, back: this.#back, backDomid: this.#backDomid, watched: this.#watched };
  }

  load(state: FrontEndState): void {
    this.#state = state.state as XenbusState;
    this.#back = state.back;
    this.#backDomid = state.backDomid;
    this.#watched = state.watched;
    this.#kernel.store.adoptWatch(this.name, () => this.#changed());
  }
}

function numberIn(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}
