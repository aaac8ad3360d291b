import { type DomainConfig, defineScenario, NS_PER_SECOND, type Scenario } from "../src/index.ts";

const BOOT_FILE = "boot.ipxe";
const SERVER = "10.0.2.2";
const CLIENT = "10.0.2.15";
const CARD_ADDRESS = "52:54:00:12:34:56";

/** 10 MIPS: iPXE waits for its clocks in loops, so a slower processor executes less of them. */
const SPEED = [100, 1] as const;

/**
 * iPXE with one interface beside a server for DHCP and TFTP: `board` and `vifs` say what the interface is, `driver` whose script is fetched, `found`
 * what iPXE calls it, `expect` what else must hold.
 */
export function ipxeScenario(given: {
  readonly name: string;
  readonly why: string;
  readonly driver: string;
  readonly board: Partial<DomainConfig["board"]>;
  readonly vifs?: DomainConfig["vifs"];
  readonly found: string;
  readonly expect?: Scenario["expect"];
}): Scenario {
  const { name, why, driver, board, vifs, found, expect = {} } = given;
  const greeting = `ringback: iPXE fetched this script over its own ${driver} driver`;
  return defineScenario({
    name,
    why,
    images: {
      seabios: { package: "seabios", path: "usr/share/seabios/bios-256k.bin" },
      vgabios: { package: "seabios", path: "usr/share/seabios/vgabios-stdvga.bin" },
      ipxe: { package: "ipxe", path: "boot/ipxe.lkrn" },
      script: { build: () => new TextEncoder().encode(`#!ipxe\necho ${greeting}\n`) },
    },
    machine: {
      domains: [
        {
          name: "pc",
          memoryMiB: 32,
          kernel: "ipxe",
          // Without it iPXE waits for IPv6 routers as well.
          commandLine: `ifconf -c dhcp net0 && ifstat && route && chain tftp://${SERVER}/${BOOT_FILE}`,
          board: {
            kind: "pc",
            firmware: "seabios",
            optionRoms: { "vgaroms/vgabios.bin": "vgabios" },
            ...board,
          },
          ...(vifs === undefined ? {} : { vifs }),
        },
      ],
      network: {
        hosts: [
          {
            name: "server",
            address: "52:54:00:00:00:01",
            ip: SERVER,
            dhcp: {
              first: CLIENT,
              count: 1,
              netmask: "255.255.255.0",
              router: SERVER,
              leaseSeconds: 3600,
              nextServer: SERVER,
              bootFile: BOOT_FILE,
            },
            tftp: { [BOOT_FILE]: "script" },
          },
        ],
      },
      nsPerInstruction: SPEED,
      timeLimitNs: 30 * NS_PER_SECOND,
    },
    expect: {
      "SeaBIOS starts on the board": (run) => run.debugConsole("pc").startsWith("SeaBIOS (version 1.16"),
      "iPXE starts": (run) => shown(run.screen("pc"), "iPXE 1.0.0"),
      "iPXE's own driver finds the card": (run) => shown(run.screen("pc"), found),
      "DHCP gives a lease": (run) => shown(run.screen("pc"), `net0: ${CLIENT}/255.255.255.0 gw ${SERVER}`),
      "TFTP fetches the script": (run) => shown(run.screen("pc"), `${BOOT_FILE}... ok`),
      "the script's line is printed": (run) => shown(run.screen("pc"), greeting),
      "every I/O request is answered": (run) => {
        const waiting = run.events("ioreq").filter(({ buffered }) => buffered !== true).length;
        const answers = run.events("ioreq-answer");
        return answers.every(({ refused }) => refused === undefined) && waiting - answers.length <= 1;
      },
      ...expect,
    },
  });
}

/** As {@link ipxeScenario}, with one NE2000. */
export function cardScenario(card: {
  readonly name: string;
  readonly why: string;
  readonly model: "ne2000-isa" | "rtl8029";
  readonly found: string;
}): Scenario {
  const { model, ...texts } = card;
  return ipxeScenario({ ...texts, driver: "NE2000", board: { nics: [{ model, address: CARD_ADDRESS }] } });
}

const shown = (screen: readonly string[], text: string): boolean => screen.some((row) => row.includes(text));

export default cardScenario({
  name: "ipxe-ne2000-isa",
  why: "Debian's unmodified iPXE, started by Debian's SeaBIOS, drives the NE2000 on the ISA bus (300h, IRQ 9) with its own driver.",
  model: "ne2000-isa",
  found: "using ne on ISA0300",
});
