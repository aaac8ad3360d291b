import { buildExt2, defineScenario } from "../src/index.ts";

const GREETING = "ringback: GRUB read this line from its own blkfront";

/** The configuration that GRUB finds on its disk. */
const GRUB_CFG = `echo "${GREETING}"
halt
`;

/** 2020-01-01, the machine's default start date. */
const TIMESTAMP_SECONDS = 1_577_836_800;

/** XenbusStateInitialised, which is as far as GRUB goes, and XenbusStateConnected (io/xenbus.h). */
const INITIALISED = 3;
const CONNECTED = 4;

const bytesOf = (text: string) => new TextEncoder().encode(text);

export default defineScenario({
  name: "grub-pvh",
  why: "Debian's unmodified GRUB boots in a VT-x guest and reads its configuration through its own xenstore client and blkfront driver.",
  images: {
    grub: { package: "grub-xen-host", path: "usr/lib/grub-xen/grub-i386-xen_pvh.bin" },
    disk: {
      build: () =>
        buildExt2({
          files: [{ path: "/boot/grub/grub.cfg", bytes: bytesOf(GRUB_CFG) }],
          blockCount: 1024,
          timestampSeconds: TIMESTAMP_SECONDS,
        }),
    },
  },
  machine: {
    domains: [
      { name: "grub", kernel: "grub", memoryMiB: 64, disks: [{ device: "xvda", image: "disk", readOnly: true }] },
    ],
  },
  expect: {
    "GRUB greets": (run) => run.console("grub").includes("Welcome to GRUB!"),
    "GRUB finds its configuration on the disk": (run) =>
      run.console("grub").includes("Reading (xen/xvda)/boot/grub/grub.cfg"),
    "GRUB prints the line from its configuration": (run) => run.console("grub").includes(GREETING),
    "halt powers the domain off": (run) => run.ended("grub") === "poweroff",
    "blkfront and back end meet": (run) => {
      const reached = (side: number, wanted: number) =>
        run.events("xenbus-state").some((event) => event.side === side && event.state === wanted);
      return reached(0, INITIALISED) && reached(1, CONNECTED);
    },
    "GRUB asks xenstore for its disks": (run) =>
      run
        .events("xenstore")
        .some(({ reply, payload }) => !reply && new TextDecoder().decode(payload).startsWith("device/vbd")),
    "every block request is a read of one segment that succeeds": (run) => {
      const requests = run.events("blkif-request").filter(({ side }) => side === 1);
      return (
        requests.length > 0 &&
        requests.every(({ operation, segments }) => operation === 0 && segments.length === 3) &&
        run.events("blkif-response").every(({ status }) => status === 0)
      );
    },
  },
});
