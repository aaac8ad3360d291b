import { defineScenario, NS_PER_SECOND } from "../src/index.ts";

const GREETING = "ringback: iPXE fetched this script over its own netfront driver";
const SCRIPT = `#!ipxe
echo ${GREETING}
`;
const BOOT_FILE = "boot.ipxe";
const SERVER = "10.0.2.2";
const CLIENT = "10.0.2.15";
const MAC = "00:16:3e:12:34:56";
/** XenbusStateConnected. */
const CONNECTED = 4;
/** The sides of a ring's events: 0 front end, 1 back end. */
const BACK = 1;

export default defineScenario({
  name: "ipxe-netfront",
  why: "Debian's unmodified iPXE, started by Debian's SeaBIOS in an HVM guest with the Xen platform device, drives our netback with its own netfront.",
  images: {
    seabios: { package: "seabios", path: "usr/share/seabios/bios-256k.bin" },
    vgabios: { package: "seabios", path: "usr/share/seabios/vgabios-stdvga.bin" },
    ipxe: { package: "ipxe", path: "boot/ipxe.lkrn" },
    script: { build: () => new TextEncoder().encode(SCRIPT) },
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
          showsXen: true,
          xenPlatform: true,
        },
        vifs: [{ address: MAC }],
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
    // 10 MIPS: iPXE waits for its clocks in loops, so a slower processor executes less of them.
    nsPerInstruction: [100, 1],
    timeLimitNs: 30 * NS_PER_SECOND,
  },
  expect: {
    "SeaBIOS starts on the board": (run) => run.debugConsole("pc").startsWith("SeaBIOS (version 1.16"),
    "iPXE's own netfront finds the interface": (run) => shown(run.screen("pc"), `net0: ${MAC} using netfront`),
    "both ends connect": (run) =>
      [0, 1].every((end) =>
        run
          .events("xenbus-state")
          .some(({ device, side, state }) => device === "vif/0" && side === end && state === CONNECTED),
      ),
    "DHCP gives a lease": (run) => shown(run.screen("pc"), `net0: ${CLIENT}/255.255.255.0 gw ${SERVER}`),
    "TFTP fetches the script": (run) => shown(run.screen("pc"), `${BOOT_FILE}... ok`),
    "the script's line is printed": (run) => shown(run.screen("pc"), GREETING),
    "the back end fetches each slot once and answers it well": (run) => {
      const requests = run.events("netif-tx-request").filter(({ side }) => side === BACK);
      const responses = run.events("netif-tx-response").filter(({ side }) => side === BACK);
      return (
        requests.length > 0 &&
        new Set(requests.map(({ index }) => index)).size === requests.length &&
        requests.every(({ index, id }, number) => {
          const response = responses[number];
          return response?.index === index && response.id === id && response.status === 0;
        })
      );
    },
    "every frame for the guest arrives in a page that it posted": (run) =>
      run.events("netif-rx-response").some(({ side, status }) => side === BACK && status > 0) &&
      run.events("packet-dropped").every(({ reason }) => reason === "no carrier"),
  },
});

const shown = (screen: readonly string[], text: string): boolean => screen.some((row) => row.includes(text));
