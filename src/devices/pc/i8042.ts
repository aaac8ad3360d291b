// Part: the 8042 keyboard controller (IBM PC AT and PS/2 Technical References, "Keyboard controller") with a keyboard on its first port and
// nothing on the auxiliary port, at ports 60h and 64h; and system control port A, 92h (PS/2: fast A20 and fast reset).
// Gate A20 is a bit that reads back; address bit 20 is never masked, as in Xen's HVM domains.

import type { IrqSource } from "../../core/irq.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import { adoptState, checkByteQueue, copyState } from "./chip-state.ts";
import type { ByteChip } from "./isa.ts";
import { type KeyboardState, powerOnKeyboard, receive } from "./keyboard.ts";

/** Port 64h, read: the status register. */
const STATUS = {
  OBF: 1 << 0,
  SYS: 1 << 2,
  COMMAND: 1 << 3,
  UNLOCKED: 1 << 4,
  AUX_OBF: 1 << 5,
  TIMEOUT: 1 << 6,
} as const;
/** The command byte in the controller's RAM. */
const MODE = {
  KBD_INT: 1 << 0,
  AUX_INT: 1 << 1,
  SYS: 1 << 2,
  KBD_DISABLE: 1 << 4,
  AUX_DISABLE: 1 << 5,
  TRANSLATE: 1 << 6,
} as const;
/** The output port: processor reset (low), A20 gate, and the two interrupt outputs. */
const OUTPUT = { NOT_RESET: 1 << 0, A20: 1 << 1, KBD_OBF: 1 << 4, AUX_OBF: 1 << 5 } as const;
const OUTPUT_IDLE = 0xcc | OUTPUT.NOT_RESET;

/** Commands written to port 64h. */
const COMMAND = {
  READ_MODE: 0x20,
  WRITE_MODE: 0x60,
  AUX_DISABLE: 0xa7,
  AUX_ENABLE: 0xa8,
  AUX_TEST: 0xa9,
  SELF_TEST: 0xaa,
  KBD_TEST: 0xab,
  KBD_DISABLE: 0xad,
  KBD_ENABLE: 0xae,
  READ_INPUT: 0xc0,
  READ_OUTPUT: 0xd0,
  WRITE_OUTPUT: 0xd1,
  WRITE_KBD_OUTPUT: 0xd2,
  WRITE_AUX_OUTPUT: 0xd3,
  WRITE_AUX: 0xd4,
  READ_TEST: 0xe0,
  PULSE: 0xf0,
} as const;
const SELF_TEST_OK = 0x55;
const INTERFACE_TEST_OK = 0x00;
/** Keyboard not locked, display jumper on color. */
const INPUT_PORT = 0x80;
/** What a transmission that nobody answers leaves in the output buffer. */
const NO_ANSWER = 0xfe;
const NONE = 0;

/** The keyboard's own buffer (PS/2 Technical Reference: 16 bytes); a full one loses key strokes. */
const KEYBOARD_BUFFER = 16;
/** Answers to the longest command, ahead of the key strokes. */
const ANSWER_LIMIT = 16;

/** Scan code set 2 into set 1 (the controller's translation table); codes from 85h on pass unchanged. */
// biome-ignore format: a table of 16 a row
const TRANSLATION = [
  0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,
  0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,
  0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,
  0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,
  0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,
  0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,
  0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,
  0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
  0x80, 0x81, 0x82, 0x41, 0x54,
] as const;
/** Set 2: the next code is a key's release. */
const BREAK_PREFIX = 0xf0;
const BREAK = 0x80;

export interface I8042State {
  mode: number;
  /** Output buffer; `full` says whether it holds anything, `fromAux` and `timeout` what. */
  data: number;
  full: boolean;
  fromAux: boolean;
  timeout: boolean;
  lastWasCommand: boolean;
  /** The command whose data byte comes next. */
  waiting: number;
  a20: boolean;
  /** A break prefix waits to be merged into the next code. */
  breakPending: boolean;
  /** Bytes on their way from the keyboard: answers to commands, then key strokes. */
  answers: number[];
  keys: number[];
  keyboard: KeyboardState;
}

export interface I8042Wires {
  readonly irq1: IrqSource;
  readonly irq12: IrqSource;
  /** The processor's reset input is pulsed. */
  readonly resetProcessor: () => void;
}

export class I8042 implements ByteChip, Snapshotable<I8042State> {
  readonly name = "8042 keyboard controller";
  readonly #wires: I8042Wires;
  #state: I8042State = {
    mode: MODE.TRANSLATE | MODE.KBD_INT,
    data: 0,
    full: false,
    fromAux: false,
    timeout: false,
    lastWasCommand: false,
    waiting: NONE,
    a20: true,
    breakPending: false,
    answers: [],
    keys: [],
    keyboard: powerOnKeyboard(),
  };

  constructor(wires: I8042Wires) {
    this.#wires = wires;
  }

  /** A key's code in scan code set 2, as the keyboard would send it. Returns false when the keyboard's buffer has no room for all of it. */
  pressKey(codes: readonly number[]): boolean {
    const { keys, keyboard } = this.#state;
    if (!keyboard.scanning) return true;
    if (keys.length + codes.length > KEYBOARD_BUFFER) return false;
    keys.push(...codes);
    this.#refill();
    return true;
  }

  /** @param offset 0: port 60h, 4: port 64h */
  readByte(offset: number): number {
    return offset === 0 ? this.#readData() : this.#status();
  }

  writeByte(offset: number, value: number): void {
    const state = this.#state;
    state.lastWasCommand = offset !== 0;
    if (offset !== 0) this.#command(value);
    else if (state.waiting !== NONE) this.#commandData(value);
    else this.#toKeyboard(value);
  }

  #status(): number {
    const { full, mode, fromAux, timeout, lastWasCommand } = this.#state;
    return (
      STATUS.UNLOCKED |
      (full ? STATUS.OBF : 0) |
      (mode & MODE.SYS ? STATUS.SYS : 0) |
      (lastWasCommand ? STATUS.COMMAND : 0) |
      (full && fromAux ? STATUS.AUX_OBF : 0) |
      (timeout ? STATUS.TIMEOUT : 0)
    );
  }

  #readData(): number {
    const state = this.#state;
    const { data } = state;
    state.full = false;
    state.timeout = false;
    this.#drive();
    this.#refill();
    return data;
  }

  /** Puts a byte of the controller's own, or of a device, into the output buffer. */
  #output(data: number, fromAux = false): void {
    const state = this.#state;
    state.data = data;
    state.full = true;
    state.fromAux = fromAux;
    state.timeout = false;
    this.#drive();
  }

  #drive(): void {
    const { full, fromAux, mode } = this.#state;
    this.#wires.irq1.set(full && !fromAux && (mode & MODE.KBD_INT) !== 0);
    this.#wires.irq12.set(full && fromAux && (mode & MODE.AUX_INT) !== 0);
  }

  /** Takes the next byte from the keyboard unless its clock is held low or the output buffer is full. */
  #refill(): void {
    const state = this.#state;
    // Each round takes a byte out of a bounded buffer; only break prefixes make more than one round.
    while (!state.full && (state.mode & MODE.KBD_DISABLE) === 0) {
      const isAnswer = state.answers.length > 0;
      const byte = isAnswer ? state.answers.shift() : state.keys.shift();
      if (byte === undefined) return;
      if (isAnswer || (state.mode & MODE.TRANSLATE) === 0) this.#output(byte);
      else if (byte === BREAK_PREFIX) state.breakPending = true;
      else {
        this.#output((TRANSLATION[byte] ?? byte) | (state.breakPending ? BREAK : 0));
        state.breakPending = false;
      }
    }
  }

  #toKeyboard(byte: number): void {
    const state = this.#state;
    // Writing to the keyboard turns its interface on (PS/2 Technical Reference, "Disable keyboard interface").
    state.mode &= ~MODE.KBD_DISABLE;
    const answers = receive(state.keyboard, byte);
    if (state.answers.length + answers.length <= ANSWER_LIMIT) state.answers.push(...answers);
    this.#refill();
  }

  #command(value: number): void {
    const state = this.#state;
    state.waiting = NONE;
    if (value >= COMMAND.PULSE) {
      // The low bits of the output port that are clear in the command are pulsed low; bit 0 is the processor's reset.
      if ((value & OUTPUT.NOT_RESET) === 0) this.#wires.resetProcessor();
      return;
    }
    switch (value) {
      case COMMAND.READ_MODE:
        this.#output(state.mode);
        break;
      case COMMAND.AUX_DISABLE:
        state.mode |= MODE.AUX_DISABLE;
        return;
      case COMMAND.AUX_ENABLE:
        state.mode &= ~MODE.AUX_DISABLE;
        return;
      case COMMAND.AUX_TEST:
      case COMMAND.KBD_TEST:
        this.#output(INTERFACE_TEST_OK);
        break;
      case COMMAND.SELF_TEST:
        state.mode |= MODE.SYS;
        this.#output(SELF_TEST_OK);
        break;
      case COMMAND.KBD_DISABLE:
        state.mode |= MODE.KBD_DISABLE;
        return;
      case COMMAND.KBD_ENABLE:
        state.mode &= ~MODE.KBD_DISABLE;
        this.#refill();
        break;
      case COMMAND.READ_INPUT:
        this.#output(INPUT_PORT);
        break;
      case COMMAND.READ_OUTPUT:
        this.#output(this.#outputPort());
        break;
      case COMMAND.READ_TEST:
        this.#output(0);
        break;
      case COMMAND.WRITE_MODE:
      case COMMAND.WRITE_OUTPUT:
      case COMMAND.WRITE_KBD_OUTPUT:
      case COMMAND.WRITE_AUX_OUTPUT:
      case COMMAND.WRITE_AUX:
        state.waiting = value;
        return;
      default: // what the controller does not know it ignores
    }
  }

  #outputPort(): number {
    const { a20, full, fromAux } = this.#state;
    const buffer = full ? (fromAux ? OUTPUT.AUX_OBF : OUTPUT.KBD_OBF) : 0;
    return OUTPUT_IDLE | (a20 ? OUTPUT.A20 : 0) | buffer;
  }

  #commandData(value: number): void {
    const state = this.#state;
    const command = state.waiting;
    state.waiting = NONE;
    switch (command) {
      case COMMAND.WRITE_MODE:
        state.mode = value;
        this.#drive();
        this.#refill();
        break;
      case COMMAND.WRITE_OUTPUT:
        state.a20 = (value & OUTPUT.A20) !== 0;
        if ((value & OUTPUT.NOT_RESET) === 0) this.#wires.resetProcessor();
        return;
      case COMMAND.WRITE_KBD_OUTPUT:
        this.#output(value);
        break;
      case COMMAND.WRITE_AUX_OUTPUT:
        this.#output(value, true);
        break;
      default:
        // COMMAND.WRITE_AUX: nothing is plugged in, so the transmission times out.
        this.#output(NO_ANSWER, true);
        state.timeout = true;
    }
  }

  /** Port 92h: bit 1 is the A20 gate, a rising bit 0 resets the processor. */
  readonly port92: ByteChip = {
    name: "port 92h",
    readByte: () => (this.#state.a20 ? PORT_92_A20 : 0),
    writeByte: (_offset, value) => {
      this.#state.a20 = (value & PORT_92_A20) !== 0;
      // The bit does not read back, so each write of a one is a rising edge.
      if ((value & PORT_92_RESET) !== 0) this.#wires.resetProcessor();
    },
  };

  save(): I8042State {
    return copyState(this.#state);
  }

  /** @throws InputError when the state is not a controller's */
  load(state: I8042State): void {
    const adopted = adoptState(this.#state, state, this.name);
    checkByteQueue(adopted.answers, ANSWER_LIMIT, this.name);
    checkByteQueue(adopted.keys, KEYBOARD_BUFFER, this.name);
    this.#state = adopted;
  }
}

const PORT_92_RESET = 1 << 0;
const PORT_92_A20 = 1 << 1;
