// Part: a guest's bytes as text that is safe to show. What a guest writes is its own; nothing of it may steer the terminal of who reads it.

/** Stands for "the cursor went elsewhere" while control sequences are taken out. */
const MOVED = "\x01";

/**
 * A console's text without control sequences: printable characters, tabs and line feeds stay. Where a guest puts the cursor somewhere
 * else a new line begins, so that what it wrote there does not run into what stood before.
 */
export function plainConsole(text: string): string {
  return (
    text
      .replaceAll(MOVED, "")
      // biome-ignore lint/suspicious/noControlCharactersInRegex: control sequences are what is taken out
      .replace(/\x1b\[[0-9;]*[Hf]/g, MOVED)
      // biome-ignore lint/suspicious/noControlCharactersInRegex: as above
      .replace(/\x1b(?:\[[0-?]*[ -/]*[@-~]?|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~]?)/g, "")
      // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is taken out
      .replace(/[\x00\x02-\x08\x0b-\x1f\x7f-\x9f]/g, "")
      // biome-ignore lint/suspicious/noControlCharactersInRegex: the mark of a moved cursor
      .replace(/(^|\n)\x01+/g, "$1")
      // biome-ignore lint/suspicious/noControlCharactersInRegex: as above
      .replace(/\x01+/g, "\n")
  );
}

/** A control sequence whose end has not come yet. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control sequences are what is looked for
const UNFINISHED = /\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]*|\][^\x07\x1b]*\x1b|[ -/]*)$/;
/** Longer than any that a guest means: what has not ended by then is taken out as it stands. */
const LONGEST_SEQUENCE = 256;

/** {@link plainConsole} of a text that comes in pieces: however it is cut, the pieces together give the same. */
export class PlainConsole {
  /** The beginning of a control sequence, until the rest is there. */
  #held = "";
  #lineBegun = false;

  /** What the next piece adds. */
  add(piece: string): string {
    const text = this.#held + piece;
    const cut = text.search(UNFINISHED);
    const whole = cut < 0 || text.length - cut > LONGEST_SEQUENCE ? text.length : cut;
    this.#held = text.slice(whole);
    // The character in front says whether a line has begun, and is taken away again.
    const shown = plainConsole((this.#lineBegun ? "_" : "\n") + text.slice(0, whole)).slice(1);
    if (shown !== "") this.#lineBegun = !shown.endsWith("\n");
    return shown;
  }
}

/** Bytes as one line of text in double quotes: ASCII as it is, everything else as an escape. */
export function quoted(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes)
    text += ESCAPES[byte] ?? (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : hexEscape(byte));
  return `"${text}"`;
}

const ESCAPES: Readonly<Record<number, string>> = { 0: "\\0", 9: "\\t", 10: "\\n", 13: "\\r", 34: '\\"', 92: "\\\\" };

function hexEscape(byte: number): string {
  return `\\x${byte.toString(16).padStart(2, "0")}`;
}

/** Bytes as lower-case hexadecimal digits. */
export function hexBytes(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A text that came from a file or a guest, on one line and without control characters. */
export function oneLine(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is taken out
  return text.replace(/[\x00-\x1f\x7f-\x9f]+/g, " ");
}
