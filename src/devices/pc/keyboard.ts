// Part: a PS/2 keyboard (IBM Personal System/2 Hardware Interface Technical Reference, "Keyboard and auxiliary device"): its commands, and the
// bytes that it sends. Key codes come from outside, already in the scan code set that is in force.

/** Commands and answers. */
const COMMAND = {
  SET_LEDS: 0xed,
  ECHO: 0xee,
  SCAN_CODE_SET: 0xf0,
  READ_ID: 0xf2,
  SET_TYPEMATIC: 0xf3,
  ENABLE: 0xf4,
  DISABLE: 0xf5,
  SET_DEFAULT: 0xf6,
  RESEND: 0xfe,
  RESET: 0xff,
} as const;
const ACK = 0xfa;
const RESEND = 0xfe;
const SELF_TEST_PASSED = 0xaa;
const ID = [0xab, 0x83] as const;
/** No command waits for its argument. */
const NONE = 0;
const DEFAULT_SCAN_CODE_SET = 2;

export interface KeyboardState {
  scanning: boolean;
  leds: number;
  scanCodeSet: number;
  /** The command whose argument comes next. */
  waiting: number;
}

export const powerOnKeyboard = (): KeyboardState => ({
  scanning: true,
  leds: 0,
  scanCodeSet: DEFAULT_SCAN_CODE_SET,
  waiting: NONE,
});

/** A byte from the system; returns what the keyboard sends for it. */
export function receive(state: KeyboardState, byte: number): readonly number[] {
  if (state.waiting !== NONE) return argument(state, byte);
  switch (byte) {
    case COMMAND.SET_LEDS:
    case COMMAND.SCAN_CODE_SET:
    case COMMAND.SET_TYPEMATIC:
      state.waiting = byte;
      return [ACK];
    case COMMAND.ECHO:
      return [COMMAND.ECHO];
    case COMMAND.READ_ID:
      return [ACK, ...ID];
    case COMMAND.ENABLE:
      state.scanning = true;
      return [ACK];
    case COMMAND.DISABLE:
      Object.assign(state, powerOnKeyboard(), { scanning: false });
      return [ACK];
    case COMMAND.SET_DEFAULT:
      Object.assign(state, powerOnKeyboard(), { scanning: state.scanning });
      return [ACK];
    case COMMAND.RESET:
      Object.assign(state, powerOnKeyboard());
      return [ACK, SELF_TEST_PASSED];
    default:
      return [RESEND];
  }
}

function argument(state: KeyboardState, byte: number): readonly number[] {
  const command = state.waiting;
  state.waiting = NONE;
  if (command === COMMAND.SET_LEDS) state.leds = byte & 7;
  if (command !== COMMAND.SCAN_CODE_SET) return [ACK];
  if (byte === 0) return [ACK, state.scanCodeSet];
  if (byte > 3) return [RESEND];
  state.scanCodeSet = byte;
  return [ACK];
}
