// Part: one counter of the 8254 programmable interval timer (Intel 8254 data sheet 231164-005). Nothing happens at a clock pulse: the counting
// element and OUT are worked out from the ticks that have passed since the counter was loaded.
// All six modes, binary and BCD, GATE, the counter and status latches, new counts at the places where each mode takes them over.

/** Fields RW of the control word: which bytes are read and written. */
const LSB_ONLY = 1;
const MSB_ONLY = 2;
/** No byte is waiting. */
const NONE = -1;

export interface CounterState {
  mode: number;
  bcd: boolean;
  /** RW field: 1 low byte, 2 high byte, 3 low then high. */
  access: number;
  gate: boolean;
  /** The count register: 1 to 65,536 (10,000 in BCD); 0 before a count was written. */
  register: number;
  /** The count that the counting element was loaded with; 0 before it was. */
  initial: number;
  counting: boolean;
  /** While counting: the tick at which the counting element was loaded. */
  origin: number;
  /** While not counting: ticks counted so far. */
  held: number;
  /** OUT until the load takes place, one tick after the write or trigger. */
  outBefore: boolean;
  /** Modes 2 and 3: the tick at which `register` goes into the counting element; -1 when it is there already. */
  reloadAt: number;
  /** First byte of a count being written, or -1. */
  writeLow: number;
  /** The next read gives the high byte. */
  readHigh: boolean;
  /** Latched count and status, or -1. */
  latch: number;
  status: number;
}

export function powerOnCounter(gate: boolean): CounterState {
  // The data sheet leaves the state at power-on undefined; mode 3 with no count makes no edges and OUT high.
  return {
    mode: 3,
    bcd: false,
    access: 3,
    gate,
    register: 0,
    initial: 0,
    counting: false,
    origin: 0,
    held: 0,
    outBefore: true,
    reloadAt: NONE,
    writeLow: NONE,
    readHigh: false,
    latch: NONE,
    status: NONE,
  };
}

/** Whether a state from outside is one that a counter can get into. */
export function isPossible({ mode, access, register, initial, origin, held }: CounterState): boolean {
  const isCount = (value: number): boolean => value >= 0 && value <= 0x1_0000;
  return (
    mode >= 0 &&
    mode <= 5 &&
    access >= 1 &&
    access <= 3 &&
    isCount(register) &&
    isCount(initial) &&
    origin >= -0x1_0000 &&
    held >= 0
  );
}

const isPeriodic = (mode: number): boolean => mode === 2 || mode === 3;
const isTriggered = (mode: number): boolean => mode === 1 || mode === 5;
/** Ticks for which OUT of mode 3 is high in each period. */
const highHalf = (period: number): number => (period + 1) >>> 1;

/** Ticks since the load; -1 before it. */
function elapsed(state: CounterState, tick: number): number {
  return state.counting ? Math.max(-1, tick - state.origin) : state.held;
}

/** Takes over a new count of modes 2 and 3 whose place has come. To be called before anything is asked of the state. */
export function settle(state: CounterState, tick: number): void {
  if (state.reloadAt === NONE || tick < state.reloadAt) return;
  const atHalf = state.mode === 3 && state.reloadAt - state.origin < state.initial;
  state.initial = state.register;
  state.origin = atHalf ? state.reloadAt - highHalf(state.initial) : state.reloadAt;
  state.reloadAt = NONE;
  if (!atHalf || state.initial < 2) return;
  // Keep the origin at most one period back.
  const periods = Math.floor((tick - state.origin) / state.initial);
  state.origin += periods * state.initial;
}

export function out(state: CounterState, tick: number): boolean {
  const { mode, initial } = state;
  if (initial === 0) return mode !== 0;
  if (isPeriodic(mode) && !state.gate) return true;
  const ticks = elapsed(state, tick);
  if (ticks < 0) return state.outBefore;
  switch (mode) {
    case 0:
      return ticks >= initial;
    case 1:
      return ticks >= initial;
    case 2:
      return initial < 2 || ticks % initial !== initial - 1;
    case 3:
      return initial < 2 || ticks % initial < highHalf(initial);
    default:
      return ticks !== initial;
  }
}

/** The first tick after `tick` at which OUT may change or a new count is taken over; undefined when neither will happen by itself. */
export function nextChange(state: CounterState, tick: number): number | undefined {
  const { mode, initial, origin } = state;
  if (!state.counting || initial === 0) return undefined;
  const ticks = tick - origin;
  if (ticks < 0) return origin;
  if (!isPeriodic(mode)) {
    if (ticks < initial) return origin + initial;
    return mode >= 4 && ticks === initial ? origin + initial + 1 : undefined;
  }
  if (initial < 2) return state.reloadAt === NONE ? undefined : state.reloadAt;
  const within = ticks % initial;
  const change = mode === 2 ? initial - 1 : highHalf(initial);
  return tick - within + (within < change ? change : initial);
}

/** The counting element, as it is read: 16 bits, in BCD when the counter counts so. */
function count(state: CounterState, tick: number): number {
  const { mode, initial } = state;
  const modulus = state.bcd ? 10_000 : 0x1_0000;
  const ticks = Math.max(0, elapsed(state, tick));
  let value: number;
  if (initial === 0) value = 0;
  else if (mode === 2) value = initial - (ticks % initial);
  else if (mode === 3) {
    const within = ticks % initial;
    const half = highHalf(initial);
    value = (initial & ~1) - 2 * (within < half ? within : within - half);
    if (value <= 0) value += initial & ~1;
  } else value = initial - ticks;
  const reduced = ((value % modulus) + modulus) % modulus;
  return state.bcd ? toBcd(reduced) : reduced;
}

const toBcd = (value: number): number =>
  (value % 10) |
  ((Math.floor(value / 10) % 10) << 4) |
  ((Math.floor(value / 100) % 10) << 8) |
  ((Math.floor(value / 1000) % 10) << 12);

/** Digits above 9 count with their weight, as the chip's decades do. */
const fromBcd = (value: number): number =>
  (value & 15) + 10 * ((value >>> 4) & 15) + 100 * ((value >>> 8) & 15) + 1000 * ((value >>> 12) & 15);

/** Control word ("Control Word Format"), except the latch and read-back commands. */
export function program(state: CounterState, control: number): void {
  const mode = (control >>> 1) & 7;
  state.access = (control >>> 4) & 3;
  state.mode = mode > 5 ? mode & 3 : mode;
  state.bcd = (control & 1) !== 0;
  state.register = 0;
  state.initial = 0;
  state.counting = false;
  state.held = 0;
  state.reloadAt = NONE;
  state.writeLow = NONE;
  state.readHigh = false;
  state.latch = NONE;
  state.status = NONE;
}

export function writeByte(state: CounterState, tick: number, value: number): void {
  settle(state, tick);
  if (state.access === LSB_ONLY) writeCount(state, tick, value);
  else if (state.access === MSB_ONLY) writeCount(state, tick, value << 8);
  else if (state.writeLow === NONE) {
    state.writeLow = value;
    // Mode 0: the first byte stops the counting and OUT goes low at once.
    if (state.mode === 0) {
      state.initial = 0;
      state.counting = false;
      state.held = 0;
    }
  } else {
    const low = state.writeLow;
    state.writeLow = NONE;
    writeCount(state, tick, low | (value << 8));
  }
}

function writeCount(state: CounterState, tick: number, written: number): void {
  const value = state.bcd ? fromBcd(written) : written;
  state.register = value === 0 ? (state.bcd ? 10_000 : 0x1_0000) : value;
  if (isTriggered(state.mode)) return;
  if (isPeriodic(state.mode) && state.initial !== 0) {
    if (state.counting) state.reloadAt = reloadTick(state, tick);
    return;
  }
  load(state, tick);
}

/** Where modes 2 and 3 take a new count over: the end of the period, or of the half period of mode 3. */
function reloadTick(state: CounterState, tick: number): number {
  const ticks = tick - state.origin;
  if (ticks < 0 || state.initial < 2) return Math.max(state.origin, tick + 1);
  const within = ticks % state.initial;
  const half = state.mode === 3 ? highHalf(state.initial) : state.initial;
  // The origin moves up to this period, so that `settle` can tell its half from its end.
  state.origin = tick - within;
  return state.origin + (within < half ? half : state.initial);
}

/** The clock pulse after this tick moves the count register into the counting element. */
function load(state: CounterState, tick: number): void {
  state.outBefore = state.mode === 0 ? false : out(state, tick);
  state.initial = state.register;
  state.reloadAt = NONE;
  state.counting = state.gate || isTriggered(state.mode);
  state.origin = tick + 1;
  state.held = 0;
}

export function setGate(state: CounterState, tick: number, gate: boolean): void {
  settle(state, tick);
  if (gate === state.gate) return;
  if (isTriggered(state.mode)) {
    state.gate = gate;
    if (gate && state.register !== 0) load(state, tick);
    return;
  }
  if (isPeriodic(state.mode)) {
    state.gate = gate;
    if (gate && state.register !== 0) load(state, tick);
    else state.counting = false;
    return;
  }
  const ticks = Math.max(0, elapsed(state, tick));
  state.gate = gate;
  if (state.initial === 0) return;
  state.counting = gate;
  if (gate) state.origin = tick - ticks;
  else state.held = ticks;
}

/** Counter latch command: a second one before the first was read is ignored. */
export function latchCount(state: CounterState, tick: number): void {
  settle(state, tick);
  if (state.latch === NONE) state.latch = count(state, tick);
}

/** Read-back command, status: OUT, null count, and the control word's fields. */
export function latchStatus(state: CounterState, tick: number): void {
  settle(state, tick);
  if (state.status !== NONE) return;
  const isNull = state.register === 0 || state.reloadAt !== NONE || (state.counting && tick < state.origin);
  state.status =
    (out(state, tick) ? 0x80 : 0) | (isNull ? 0x40 : 0) | (state.access << 4) | (state.mode << 1) | (state.bcd ? 1 : 0);
}

export function readByte(state: CounterState, tick: number): number {
  settle(state, tick);
  if (state.status !== NONE) {
    const status = state.status;
    state.status = NONE;
    return status & 0xff;
  }
  const value = state.latch === NONE ? count(state, tick) : state.latch;
  if (state.access === LSB_ONLY || state.access === MSB_ONLY) {
    state.latch = NONE;
    return (state.access === LSB_ONLY ? value : value >>> 8) & 0xff;
  }
  const high = state.readHigh;
  state.readHigh = !high;
  if (high) state.latch = NONE;
  return (high ? value >>> 8 : value) & 0xff;
}
