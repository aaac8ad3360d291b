// Part: a guest's bytes as text that is safe to show. What a guest writes is its own; nothing of it may steer the terminal of who reads it.

/** A console's text with the cursor's movements and colours taken out: printable characters, tabs and line feeds stay. */
export function plainConsole(text: string): string {
  return (
    text
      // biome-ignore lint/suspicious/noControlCharactersInRegex: control sequences are what is taken out
      .replace(/\x1b(?:\[[0-?]*[ -/]*[@-~]?|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~]?)/g, "")
      // biome-ignore lint/suspicious/noControlCharactersInRegex: so are control characters
      .replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/g, "")
  );
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
