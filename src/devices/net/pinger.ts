// Part: a program on a host that sends echo requests (RFC 792) of given sizes at a steady pace and accounts for every answer.

import type { Alarm, Clock } from "../../core/clock.ts";
import { InputError } from "../../core/errors.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import type { Nanoseconds } from "../../core/units.ts";
import type { Host } from "./host.ts";
import { ECHO_REQUEST, type Echo } from "./ipv4.ts";

/** The sequence number has 16 bits. */
const MAX_REQUESTS = 65_536;
const IDENTIFIER = 0x5242;

export interface PingerOptions {
  readonly to: string;
  /** Bytes of data of each request. */
  readonly sizes: readonly number[];
  readonly startNs: Nanoseconds;
  readonly intervalNs: Nanoseconds;
}

export interface PingerState {
  sent: number;
  /** How many right answers each request had. */
  answers: number[];
  /** Answers to nothing that was asked, or with other data. */
  wrong: number;
}

export class Pinger implements Snapshotable<PingerState> {
  readonly #host: Host;
  readonly #options: PingerOptions;
  readonly #alarm: Alarm;
  #state: PingerState;

  /** @throws InputError on a size that no frame can carry, or too many requests */
  constructor(clock: Clock, host: Host, options: PingerOptions) {
    const { sizes, startNs } = options;
    const wrong = sizes.find((size) => !Number.isInteger(size) || size < 0 || size > host.maxEchoData);
    if (wrong !== undefined) {
      throw new InputError(`${wrong} bytes, not from 0 to ${host.maxEchoData}`, `pings of ${host.name}`);
    }
    if (sizes.length > MAX_REQUESTS)
      throw new InputError(`${sizes.length} requests, at most ${MAX_REQUESTS}`, host.name);
    this.#host = host;
    this.#options = options;
    this.#state = { sent: 0, answers: sizes.map(() => 0), wrong: 0 };
    this.#alarm = clock.alarm(`${host.name} ping`, () => this.#send());
    if (sizes.length > 0) this.#alarm.set(startNs);
    host.onEchoReply((from, echo) => this.#answer(from, echo));
  }

  get result(): Readonly<PingerState> {
    return this.#state;
  }

  #send(): void {
    const { to, sizes, startNs, intervalNs } = this.#options;
    const sequence = this.#state.sent++;
    this.#host.sendEcho(to, {
      type: ECHO_REQUEST,
      identifier: IDENTIFIER,
      sequence,
      data: data(sequence, sizes[sequence]!),
    });
    if (this.#state.sent < sizes.length) this.#alarm.set(startNs + this.#state.sent * intervalNs);
  }

  #answer(from: string, { identifier, sequence, data: found }: Echo): void {
    const size = sequence < this.#state.sent ? this.#options.sizes[sequence] : undefined;
    const isRight =
      from === this.#options.to &&
      identifier === IDENTIFIER &&
      size === found.length &&
      data(sequence, size).every((byte, index) => byte === found[index]);
    if (isRight) this.#state.answers[sequence]!++;
    else this.#state.wrong++;
  }

  save(): PingerState {
    return { ...this.#state, answers: [...this.#state.answers] };
  }

  /** @throws InputError when the snapshot is of other requests */
  load(state: PingerState): void {
    if (state.answers.length !== this.#options.sizes.length || state.sent > state.answers.length) {
      throw new InputError(`${state.answers.length} requests`, `snapshot of the pings of ${this.#host.name}`);
    }
    this.#state = { ...state, answers: [...state.answers] };
  }
}

/** Data that differs from request to request. */
function data(sequence: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let index = 0; index < size; index++) bytes[index] = sequence * 31 + index * 7;
  return bytes;
}
