// Part: what stands in the slots of an interface's rings, told to the trace for either side.

import type { Tell } from "../split/observed-ring.ts";
import type { VifContext } from "./context.ts";
import {
  behind,
  decodeExtraInfo,
  decodeRxRequest,
  decodeRxResponse,
  decodeTxRequest,
  decodeTxResponse,
  TX_BEGINNING,
  type TxPlace,
} from "./protocol.ts";

interface Teller {
  readonly request: Tell;
  readonly response: Tell;
}

/** What a slot of the transmit ring holds follows from those before it: each side's place in the ring is kept. */
export class TxTeller implements Teller {
  readonly #context: VifContext;
  /** By side; the front end's first. */
  readonly #places: [TxPlace, TxPlace];

  /** @param front where the front end is, after a snapshot; the back end takes whole packets, and is always at a beginning */
  constructor(context: VifContext, front: TxPlace = TX_BEGINNING) {
    this.#context = context;
    this.#places = [front, TX_BEGINNING];
  }

  get front(): TxPlace {
    return this.#places[0];
  }

  readonly request: Tell = (side, index, slot) => {
    const place = this.#places[side]!;
    this.#places[side] = behind(place, slot);
    const { host, frontDomid: domain, device } = this.#context;
    const at = host.clock.now;
    // Named one by one here and below: spreading them costs more than the rest of the event.
    if (place.kind === "extra") {
      const { type, flags, data } = decodeExtraInfo(slot);
      host.emit({ kind: "netif-extra-info", at, domain, device, side, index, type, flags, data });
    } else {
      const { ref, offset, flags, id, size } = decodeTxRequest(slot);
      host.emit({ kind: "netif-tx-request", at, domain, device, side, index, ref, offset, flags, id, size });
    }
  };

  readonly response: Tell = (side, index, slot) => {
    const { host, frontDomid: domain, device } = this.#context;
    const { id, status } = decodeTxResponse(slot);
    host.emit({ kind: "netif-tx-response", at: host.clock.now, domain, device, side, index, id, status });
  };
}

export function rxTeller({ host, frontDomid: domain, device }: VifContext): Teller {
  return {
    request: (side, index, slot) => {
      const { id, ref } = decodeRxRequest(slot);
      host.emit({ kind: "netif-rx-request", at: host.clock.now, domain, device, side, index, id, ref });
    },
    response: (side, index, slot) => {
      const { id, offset, flags, status } = decodeRxResponse(slot);
      const at = host.clock.now;
      host.emit({ kind: "netif-rx-response", at, domain, device, side, index, id, offset, flags, status });
    },
  };
}
