// Part: the forms that failure takes outside the guest.
// A guest's own fault is none of these: it is an architectural value such as `{ vector: 13, errorCode }`.
//
// | class          | whose mistake                                       | exit status of the command line |
// | -------------- | --------------------------------------------------- | ------------------------------- |
// | InputError     | a person's, a file's or a peer's                    | 2                               |
// | OutOfRange     | the same, an address outside a window of memory     | 2                               |
// | NotModelled    | nobody's: the guest did what ringback does not know | 1                               |
// | InvariantError | ringback's own bug                                  | 3                               |

/** Bad input from a person, a file or a peer. `context` says where, `problem` says what; the message joins both. */
export class InputError extends Error {
  readonly context: string;
  readonly problem: string;

  /**
   * @param problem what is wrong, in plain words, without a full stop
   * @param context where: a file and position, an option, a peer's field; empty when there is nothing to add
   */
  constructor(problem: string, context = "", options?: ErrorOptions) {
    super(context === "" ? problem : `${context}: ${problem}`, options);
    this.name = "InputError";
    this.context = context;
    this.problem = problem;
  }
}

/** An access of `length` bytes at `address` that leaves its window. Callers translate it into their protocol's answer. */
export class OutOfRange extends InputError {
  readonly address: number;
  readonly length: number;

  constructor(address: number, length: number, context: string) {
    super(`${length} bytes at 0x${address.toString(16)} are out of range`, context);
    this.name = "OutOfRange";
    this.address = address;
    this.length = length;
  }
}

/** The guest asked for something that real hardware or Xen has and ringback does not model. */
export class NotModelled extends Error {
  /** @param what the instruction, register, hypercall or option, as its manual names it */
  constructor(what: string) {
    super(`not modelled: ${what}`);
    this.name = "NotModelled";
  }
}

/** A bug of ringback's own. Never thrown because of data that a guest, a peer, a person or a file controls. */
export class InvariantError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "InvariantError";
  }
}

/** Checks an invariant of ringback's own; on in every build. A message that has to be put together is a function: most are never needed. */
export function assert(condition: boolean, message: string | (() => string)): asserts condition {
  if (!condition) throw new InvariantError(typeof message === "string" ? message : message());
}
