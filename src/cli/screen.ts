// Part: the guests' consoles, or serial ports, on the terminal, as they are written.

import { PlainConsole } from "../debug/printable.ts";
import type { Machine } from "../machine/machine.ts";
import type { Host } from "./host/host.ts";

export class Screen {
  readonly #host: Host;
  readonly #machine: Machine;
  readonly #domains: readonly string[];
  readonly #raw: boolean;
  readonly #shown = new Map<string, number>();
  readonly #plain: ReadonlyMap<string, PlainConsole>;
  #lineBegun = false;
  #lastDomain: string | undefined;

  /** @param raw the terminal belongs to the guest: its control sequences pass */
  constructor(host: Host, machine: Machine, domains: readonly string[], raw: boolean) {
    this.#host = host;
    this.#machine = machine;
    this.#domains = domains;
    this.#raw = raw;
    this.#plain = new Map(domains.map((domain) => [domain, new PlainConsole()]));
  }

  /** Shows what is new. */
  show(): void {
    for (const domain of this.#domains) {
      const text = this.#machine.terminal(domain);
      const shown = this.#shown.get(domain) ?? 0;
      if (text.length === shown) continue;
      this.#shown.set(domain, text.length);
      this.#write(domain, text.slice(shown));
    }
  }

  /** Ends a line that a guest has left open, and shows what stands on the screens of PCs. */
  end(): void {
    if (this.#lineBegun) this.#host.out("\n");
    this.#lineBegun = false;
    for (const domain of this.#domains) {
      const rows = this.#machine.screen(domain).map((row) => row.trimEnd());
      const last = rows.findLastIndex((row) => row !== "");
      if (last < 0) continue;
      this.#host.out(
        `The screen of ${domain}:\n${rows
          .slice(0, last + 1)
          .map((row) => `  ${row}\n`)
          .join("")}`,
      );
    }
  }

  #write(domain: string, text: string): void {
    const shown = this.#raw ? text : (this.#plain.get(domain)?.add(text) ?? "");
    if (shown === "") return;
    if (this.#domains.length === 1) this.#host.out(shown);
    else this.#host.out(this.#labelled(domain, shown));
    this.#lineBegun = !shown.endsWith("\n");
    this.#lastDomain = domain;
  }

  /** With several guests every line says whose it is. */
  #labelled(domain: string, text: string): string {
    const label = `${domain}: `;
    const goesOn = this.#lineBegun && this.#lastDomain === domain;
    const lines = text.replaceAll(/\n(?!$)/g, `\n${label}`);
    if (goesOn) return lines;
    return `${this.#lineBegun ? "\n" : ""}${label}${lines}`;
  }
}
