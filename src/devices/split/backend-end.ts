// Part: a back end's end of the xenbus (xen/include/public/io/xenbus.h): the nodes of both ends as a toolstack writes them, the watch on
// the front end's state, and what follows from it by the table in xenbus.ts. Devices say what it is to connect and to let go. The toolstack's
// part of hot-plug is here as well: a device may come, go and come again while its guest runs.

import type { BackendHost } from "../../xen/backend-host.ts";
import { type Action, transition, XENBUS, type XenbusState } from "./xenbus.ts";

export interface BackendEndOptions {
  /** The directory's name in xenstore. */
  readonly kind: "vbd" | "vif";
  readonly frontDomid: number;
  /** Virtual device number, or handle. */
  readonly device: number;
  /** Gives the front end's or back end's directory to its owner and lets the other end read it. */
  readonly grant: (path: string, owner: number, reader: number) => void;
  /** The front end has said where its rings are. */
  readonly connect: () => void;
  /** The front end is gone: `released` is to be called when nothing of its memory is held any more, at once or later. */
  readonly release: () => void;
}

/** Values by names of nodes. */
export type Nodes = Readonly<Record<string, string | number>>;

export class BackendEnd {
  readonly #host: BackendHost;
  readonly #options: BackendEndOptions;
  /** Home directories in xenstore. */
  readonly front: string;
  readonly back: string;
  /** What the trace calls the device: `vif/0`. */
  readonly name: string;
  /** Unknown while the device is not plugged in. */
  #state: XenbusState = XENBUS.Unknown;

  constructor(host: BackendHost, options: BackendEndOptions) {
    this.#host = host;
    this.#options = options;
    const { kind, frontDomid, device } = options;
    this.name = `${kind}/${device}`;
    this.front = `/local/domain/${frontDomid}/device/${kind}/${device}`;
    this.back = `/local/domain/${host.domid}/backend/${kind}/${frontDomid}/${device}`;
    // Before there is such a node: a machine that a snapshot is loaded into has the watch, whatever was plugged in when.
    host.xenstore.watch(`${this.front}/state`, this.name, () => this.#frontChanged());
  }

  get state(): XenbusState {
    return this.#state;
  }

  /** Writes the nodes of both ends, as a toolstack does for a new device, and offers the device. */
  plug(front: Nodes, back: Nodes): void {
    const { frontDomid, grant } = this.#options;
    const { domid, xenstore } = this.#host;
    this.tellChange("plugged in");
    const initial = XENBUS.Initialising;
    for (const [home, owner, reader, nodes] of [
      [this.front, frontDomid, domid, { backend: this.back, "backend-id": domid, state: initial, ...front }],
      [
        this.back,
        domid,
        frontDomid,
        { frontend: this.front, "frontend-id": frontDomid, online: 1, state: initial, ...back },
      ],
    ] as const) {
      xenstore.write(home, "");
      grant(home, owner, reader);
      for (const [name, value] of Object.entries(nodes)) xenstore.write(`${home}/${name}`, String(value));
    }
    this.switchTo(XENBUS.InitWait);
  }

  get isPlugged(): boolean {
    return this.#state !== XENBUS.Unknown;
  }

  /** Asks the guest to let go of the device, as libxl does: it is gone when both ends are Closed. */
  unplug(): void {
    this.tellChange("unplug asked for");
    this.write("online", 0);
    this.write("state", XENBUS.Closing);
    if (this.#state === XENBUS.Closed) this.#gone();
  }

  /** Takes the nodes of both ends away without asking; the back end lets go as soon as nothing is in flight. */
  remove(): void {
    this.tellChange("removed");
    this.#removeNodes();
    if (this.#state === XENBUS.Closed) this.#gone();
  }

  /** What the front end did cannot be served: xenbus_dev_fatal. @param errno positive */
  fatal(errno: number, message: string): void {
    const host = this.#host;
    const own = `/local/domain/${host.domid}/`;
    host.xenstore.write(`${own}error/${this.back.slice(own.length)}/error`, `${errno} ${message}`);
    host.emit({
      kind: "xenbus-error",
      at: host.clock.now,
      domain: this.#options.frontDomid,
      device: this.name,
      errno,
      message,
    });
    this.switchTo(XENBUS.Closing);
  }

  /** A node of the front end as it wrote it. */
  frontText(name: string): string | undefined {
    return this.#host.xenstore.read(`${this.front}/${name}`);
  }

  /** A node of the front end that is a number of 32 bits in decimal; undefined when it is not. */
  frontNumber(name: string): number | undefined {
    const text = this.frontText(name);
    return text !== undefined && /^\d{1,10}$/.test(text) && Number(text) <= 0xffff_ffff ? Number(text) : undefined;
  }

  /** Writes a node of the back end. */
  write(name: string, value: string | number): void {
    this.#host.xenstore.write(`${this.back}/${name}`, String(value));
  }

  switchTo(state: XenbusState): void {
    this.#state = state;
    this.write("state", state);
    this.#tell(1, state);
  }

  /** Nothing of the front end's memory is held any more. */
  released(): void {
    const { xenstore } = this.#host;
    const hasNodes = [this.front, this.back].every((home) => xenstore.directory(home).length > 0);
    if (hasNodes && this.#state !== XENBUS.Closed) this.switchTo(XENBUS.Closed);
    if (!hasNodes || xenstore.read(`${this.back}/online`) === "0") {
      this.#gone();
      return;
    }
    // The front end may have asked for a new connection meanwhile; one that writes state 0 has nothing more to be let go.
    const action = transition(this.#state, this.#frontState());
    if (action !== "release") this.#act(action);
  }

  load(state: XenbusState): void {
    this.#state = state;
  }

  #gone(): void {
    this.#removeNodes();
    this.#state = XENBUS.Unknown;
    this.tellChange("gone");
  }

  #removeNodes(): void {
    this.#host.xenstore.rm(this.front);
    this.#host.xenstore.rm(this.back);
  }

  /** A toolstack's change of the device, for the trace. */
  tellChange(change: string): void {
    const { emit, clock } = this.#host;
    emit({ kind: "device-plug", at: clock.now, domain: this.#options.frontDomid, device: this.name, change });
  }

  #frontChanged(): void {
    if (!this.isPlugged) return;
    const state = this.#frontState();
    this.#tell(0, Math.max(state, 0));
    this.#act(transition(this.#state, state));
  }

  #act(action: Action): void {
    switch (action) {
      case "stay":
        break;
      case "offer":
        this.switchTo(XENBUS.InitWait);
        break;
      case "connect":
        this.#options.connect();
        break;
      case "close":
        this.switchTo(XENBUS.Closing);
        break;
      case "release":
        this.#options.release();
        break;
      default:
        action satisfies never;
    }
  }

  /** −1 when it is nonsense. */
  #frontState(): number {
    const text = this.frontText("state");
    return text === undefined ? XENBUS.Unknown : /^\d{1,2}$/.test(text) ? Number(text) : -1;
  }

  #tell(side: number, state: number): void {
    this.#host.emit({
      kind: "xenbus-state",
      at: this.#host.clock.now,
      domain: this.#options.frontDomid,
      device: this.name,
      side,
      state,
    });
  }
}
