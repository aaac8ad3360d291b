// Part: the network interface's ring protocol (xen/include/public/io/netif.h) as tables: requests, responses and extra-info slots of the
// transmit and the receive ring, which are the same for 32-bit and 64-bit guests. A slot is copied once and decoded from the copy.

/** __CONST_RING_SIZE(netif_tx, 4096) and of netif_rx: slots a ring. */
export const RING_SIZE = 256;
/** Bytes of a slot: of the union of request and response. */
export const TX_SLOT = 12;
export const RX_SLOT = 8;

/** NETTXF_*. */
export const TXF = { csum_blank: 1, data_validated: 2, more_data: 4, extra_info: 8 } as const;
/** NETRXF_*. */
export const RXF = { data_validated: 1, csum_blank: 2, more_data: 4, extra_info: 8, gso_prefix: 16 } as const;
/** NETIF_RSP_*. */
export const RSP = { DROPPED: -2, ERROR: -1, OKAY: 0, NULL: 1 } as const;

/** XEN_NETIF_EXTRA_TYPE_*. */
export const EXTRA = { NONE: 0, GSO: 1, MCAST_ADD: 2, MCAST_DEL: 3, HASH: 4 } as const;
/** XEN_NETIF_EXTRA_FLAG_MORE. */
export const EXTRA_FLAG_MORE = 1;
/** XEN_NETIF_GSO_TYPE_*. */
export const GSO_TYPE = { NONE: 0, TCPV4: 1, TCPV6: 2 } as const;

/** XEN_NETIF_NR_SLOTS_MIN: slots behind the first that a packet may have in any back end, as Linux counts them. */
export const NR_SLOTS_MIN = 18;

/** `struct netif_tx_request`. Of a packet's first slot `size` is the whole packet's. */
export interface TxRequest {
  readonly ref: number;
  readonly offset: number;
  readonly flags: number;
  readonly id: number;
  readonly size: number;
}

/** `struct netif_tx_response`. */
export interface TxResponse {
  readonly id: number;
  readonly status: number;
}

/** `struct netif_rx_request`. */
export interface RxRequest {
  readonly id: number;
  readonly ref: number;
}

/** `struct netif_rx_response`; a status that is not negative is the number of bytes in this slot's page. */
export interface RxResponse {
  readonly id: number;
  readonly offset: number;
  readonly flags: number;
  readonly status: number;
}

/** `struct netif_extra_info`; `data` is the union's six bytes. */
export interface ExtraInfo {
  readonly type: number;
  readonly flags: number;
  readonly data: Uint8Array;
}

/** Of an extra-info slot of the type GSO. */
export interface GsoInfo {
  /** Bytes of payload a segment. */
  readonly size: number;
  readonly type: number;
}

const u16 = (slot: Uint8Array, at: number): number => slot[at]! | (slot[at + 1]! << 8);
const s16 = (slot: Uint8Array, at: number): number => (u16(slot, at) << 16) >> 16;
const u32 = (slot: Uint8Array, at: number): number => (u16(slot, at) | (u16(slot, at + 2) << 16)) >>> 0;
/** Requests and responses are encoded into these: the next of the same kind overwrites the last. */
const TX_REQUEST = new Uint16Array(TX_SLOT / 2);
const TX_RESPONSE = new Uint16Array(2);
const RX_REQUEST = new Uint16Array(RX_SLOT / 2);
const RX_RESPONSE = new Uint16Array(RX_SLOT / 2);
const [TX_REQUEST_BYTES, TX_RESPONSE_BYTES, RX_REQUEST_BYTES, RX_RESPONSE_BYTES] = [
  new Uint8Array(TX_REQUEST.buffer),
  new Uint8Array(TX_RESPONSE.buffer),
  new Uint8Array(RX_REQUEST.buffer),
  new Uint8Array(RX_RESPONSE.buffer),
];

export function decodeTxRequest(slot: Uint8Array): TxRequest {
  return { ref: u32(slot, 0), offset: u16(slot, 4), flags: u16(slot, 6), id: u16(slot, 8), size: u16(slot, 10) };
}

export function encodeTxRequest({ ref, offset, flags, id, size }: TxRequest): Uint8Array {
  TX_REQUEST[0] = ref;
  TX_REQUEST[1] = ref >>> 16;
  TX_REQUEST[2] = offset;
  TX_REQUEST[3] = flags;
  TX_REQUEST[4] = id;
  TX_REQUEST[5] = size;
  return TX_REQUEST_BYTES;
}

export function decodeTxResponse(slot: Uint8Array): TxResponse {
  return { id: u16(slot, 0), status: s16(slot, 2) };
}

export function encodeTxResponse({ id, status }: TxResponse): Uint8Array {
  TX_RESPONSE[0] = id;
  TX_RESPONSE[1] = status;
  return TX_RESPONSE_BYTES;
}

export function decodeRxRequest(slot: Uint8Array): RxRequest {
  return { id: u16(slot, 0), ref: u32(slot, 4) };
}

export function encodeRxRequest({ id, ref }: RxRequest): Uint8Array {
  RX_REQUEST[0] = id;
  RX_REQUEST[2] = ref;
  RX_REQUEST[3] = ref >>> 16;
  return RX_REQUEST_BYTES;
}

export function decodeRxResponse(slot: Uint8Array): RxResponse {
  return { id: u16(slot, 0), offset: u16(slot, 2), flags: u16(slot, 4), status: s16(slot, 6) };
}

export function encodeRxResponse({ id, offset, flags, status }: RxResponse): Uint8Array {
  RX_RESPONSE[0] = id;
  RX_RESPONSE[1] = offset;
  RX_RESPONSE[2] = flags;
  RX_RESPONSE[3] = status;
  return RX_RESPONSE_BYTES;
}

export function decodeExtraInfo(slot: Uint8Array): ExtraInfo {
  return { type: slot[0]!, flags: slot[1]!, data: slot.slice(2, 8) };
}

/** As it stands in a slot of the transmit ring. */
export function encodeExtraInfo({ type, flags, data }: ExtraInfo): Uint8Array {
  const bytes = new Uint8Array(TX_SLOT);
  bytes[0] = type;
  bytes[1] = flags;
  bytes.set(data, 2);
  return bytes;
}

export function gsoOf({ data }: ExtraInfo): GsoInfo {
  return { size: data[0]! | (data[1]! << 8), type: data[2]! };
}

/** What a slot of the transmit ring holds follows from the slots before it. */
export type TxSlotKind = "first" | "extra" | "data";

/** Where a reader of the transmit ring is: what the next slot holds, and whether the packet has data slots still to come. */
export interface TxPlace {
  readonly kind: TxSlotKind;
  readonly more: boolean;
}

export const TX_BEGINNING: TxPlace = { kind: "first", more: false };

/** The place behind a slot; flags of requests behind the first say nothing of extra-info (netif.h, "Guest transmit"). */
export function behind(place: TxPlace, slot: Uint8Array): TxPlace {
  if (place.kind === "extra") {
    const isLast = (slot[1]! & EXTRA_FLAG_MORE) === 0;
    return isLast ? afterExtras(place.more) : place;
  }
  const flags = slot[6]!;
  const more = (flags & TXF.more_data) !== 0;
  return place.kind === "first" && (flags & TXF.extra_info) !== 0 ? { kind: "extra", more } : afterExtras(more);
}

function afterExtras(more: boolean): TxPlace {
  return more ? { kind: "data", more } : TX_BEGINNING;
}
