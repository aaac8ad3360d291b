// Part: SHA-256 by Node's library, several times as quick as the WebAssembly of src/core where the processor has instructions for it. A digest is a
// digest: what is recorded does not depend on who computed it.

import { createHash } from "node:crypto";

export function nodeSha256(bytes: Uint8Array): Uint8Array {
  return createHash("sha256").update(bytes).digest();
}
