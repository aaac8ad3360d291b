// Part: capture files in the classic pcap format (draft-ietf-opsawg-pcap): Ethernet frames without check sequences, with times in microseconds or
// nanoseconds, in either byte order. Written with nanoseconds, little-endian.

import { InputError } from "../../core/errors.ts";
import { type Nanoseconds, NS_PER_SECOND, NS_PER_US } from "../../core/units.ts";

const MAGIC_MICROSECONDS = 0xa1b2_c3d4;
const MAGIC_NANOSECONDS = 0xa1b2_3c4d;
const FILE_HEADER_SIZE = 24;
const RECORD_HEADER_SIZE = 16;
const LINKTYPE_ETHERNET = 1;
/** The longest frame that a record may hold: MAXIMUM_SNAPLEN of tcpdump and Wireshark. */
const MAX_RECORD = 262_144;

export interface CapturedFrame {
  /** Since the first frame of the file. */
  readonly atNs: Nanoseconds;
  /** Without check sequence. */
  readonly bytes: Uint8Array;
}

/**
 * The frames of a capture file in their order.
 * @param context the file's name, for errors
 * @throws InputError that names the record and the byte where the file is damaged
 */
export function readPcap(bytes: Uint8Array, context: string): CapturedFrame[] {
  const fail = (problem: string, at: number, record?: number): never => {
    throw new InputError(problem, `${context}, ${record === undefined ? "" : `record ${record}, `}byte ${at}`);
  };
  if (bytes.length < FILE_HEADER_SIZE)
    fail(`the file ends within its header of ${FILE_HEADER_SIZE} bytes`, bytes.length);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const isLittle = [MAGIC_MICROSECONDS, MAGIC_NANOSECONDS].includes(view.getUint32(0, true));
  const magic = view.getUint32(0, isLittle);
  if (magic !== MAGIC_MICROSECONDS && magic !== MAGIC_NANOSECONDS) fail("not a pcap file", 0);
  const major = view.getUint16(4, isLittle);
  if (major !== 2) fail(`version ${major}, only 2 is known`, 4);
  const linkType = view.getUint32(20, isLittle);
  if (linkType !== LINKTYPE_ETHERNET) fail(`link type ${linkType}, not Ethernet without check sequences (1)`, 20);
  const [unitNs, units] = magic === MAGIC_NANOSECONDS ? [1, NS_PER_SECOND] : [NS_PER_US, NS_PER_SECOND / NS_PER_US];

  const frames: CapturedFrame[] = [];
  let first = { seconds: 0, fraction: 0 };
  for (let at = FILE_HEADER_SIZE; at < bytes.length; ) {
    const record = frames.length;
    if (at + RECORD_HEADER_SIZE > bytes.length) fail("the file ends within a record's header", at, record);
    const seconds = view.getUint32(at, isLittle);
    const fraction = view.getUint32(at + 4, isLittle);
    const length = view.getUint32(at + 8, isLittle);
    const wireLength = view.getUint32(at + 12, isLittle);
    if (fraction >= units) fail(`${fraction} parts of a second of which it has ${units}`, at + 4, record);
    if (length > MAX_RECORD) fail(`a frame of ${length} bytes, at most ${MAX_RECORD}`, at + 8, record);
    if (length !== wireLength) fail(`${length} bytes were kept of a frame of ${wireLength}`, at + 12, record);
    const from = at + RECORD_HEADER_SIZE;
    if (from + length > bytes.length) fail(`the file ends within a frame of ${length} bytes`, from, record);
    if (record === 0) first = { seconds, fraction };
    const atNs = (seconds - first.seconds) * NS_PER_SECOND + (fraction - first.fraction) * unitNs;
    if (atNs < 0) fail("a time before the first frame's", at, record);
    if (!Number.isSafeInteger(atNs)) fail("more than 104 days after the first frame", at, record);
    frames.push({ atNs, bytes: bytes.slice(from, from + length) });
    at = from + length;
  }
  return frames;
}

/** A capture file; times count from 1970, so that viewers show them as time since power-on. */
export function writePcap(frames: readonly CapturedFrame[]): Uint8Array {
  const size = frames.reduce((sum, { bytes }) => sum + RECORD_HEADER_SIZE + bytes.length, FILE_HEADER_SIZE);
  const file = new Uint8Array(size);
  const view = new DataView(file.buffer);
  view.setUint32(0, MAGIC_NANOSECONDS, true);
  view.setUint16(4, 2, true);
  view.setUint16(6, 4, true);
  view.setUint32(16, MAX_RECORD, true);
  view.setUint32(20, LINKTYPE_ETHERNET, true);
  let at = FILE_HEADER_SIZE;
  for (const { atNs, bytes } of frames) {
    view.setUint32(at, Math.floor(atNs / NS_PER_SECOND), true);
    view.setUint32(at + 4, atNs % NS_PER_SECOND, true);
    view.setUint32(at + 8, bytes.length, true);
    view.setUint32(at + 12, bytes.length, true);
    file.set(bytes, at + RECORD_HEADER_SIZE);
    at += RECORD_HEADER_SIZE + bytes.length;
  }
  return file;
}
