// Part: the NE2000 as an ISA card: 32 ports at a base set by jumpers, and an interrupt line.

import type { PortBus } from "../../core/bus.ts";
import type { IrqLine } from "../../core/irq.ts";
import { Dp8390, type Dp8390Wires } from "./dp8390.ts";
import { Ne2000Ports, PORT_COUNT } from "./ports.ts";

export interface IsaCardWires extends Omit<Dp8390Wires, "interrupt"> {
  readonly ports: PortBus;
  readonly irq: IrqLine;
}

/**
 * Plugs a card in and gives its chip, which is the card's state.
 * @param base the first port: 0x300 as delivered
 * @param address the station address
 * @throws InputError when the ports are taken or the address is none
 */
export function plugIsaCard(name: string, wires: IsaCardWires, base: number, address: string): Dp8390 {
  const pin = wires.irq.source(name);
  const chip = new Dp8390(name, { ...wires, interrupt: (level) => pin.set(level) }, { address, variant: "dp8390" });
  wires.ports.register(base, PORT_COUNT, new Ne2000Ports(chip));
  return chip;
}
