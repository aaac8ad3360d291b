import { Blkfront, type BlkfrontState, defineScenario, type ModelKernel, type ModelProgram } from "../src/index.ts";

const XVDA = 51712;
const XVDB = 51728;
const SECTORS = 512;
/** Requests in flight. */
const DEPTH = 16;
const POWER_OFF_NS = 1_000_000;

interface State {
  xvda: BlkfrontState;
  xvdb: BlkfrontState;
  phase: string;
  next: number;
  wrong: number;
  failed: number;
  lives: number;
  running: number[];
}

/** What a sector of xvdb holds: its number, over and over. */
const pattern = (sector: number): Uint8Array => new Uint8Array(512).fill(sector & 0xff);

/**
 * A guest whose driver follows the toolstack. xvda is there from the beginning. xvdb comes: it is written; goes when asked for; comes again: what was
 * written is there; xvda grows: its new end is written and read; xvdb is taken away while it is read.
 */
function operator(kernel: ModelKernel): ModelProgram<State> {
  let phase = "waiting";
  let next = 0;
  let wrong = 0;
  let failed = 0;
  let lives = 0;
  /** Devices whose driver was started. */
  let running: number[] = [];
  const gone = (device: number) => {
    running = running.filter((other) => other !== device);
  };
  const say = (text: string) => kernel.console.write(`${text}\n`);
  const bye = kernel.alarm("power off", () => kernel.shutdown());
  const xvda = new Blkfront(
    kernel,
    { device: XVDA },
    {
      ready: () => say(`xvda has ${xvda.sectors} sectors`),
      resized: () => {
        say(`xvda has ${xvda.sectors} sectors now`);
        xvda.submit(1, "write", xvda.sectors - 1, 1, pattern(1));
        xvda.push();
      },
      done: (tag, status, data) => {
        if (tag === 1) xvda.submit(2, "read", xvda.sectors - 1, 1);
        else
          say(
            `its last sector ${status === 0 && data.every((byte) => byte === 1) ? "holds what was written" : "is lost"}`,
          );
        xvda.push();
      },
      closed: () => gone(XVDA),
    },
  );
  const xvdb = new Blkfront(
    kernel,
    { device: XVDB, persistent: true },
    {
      ready: () => {
        lives++;
        phase = lives === 1 ? "writing" : "reading";
        [next, wrong, failed] = [0, 0, 0];
        say(`xvdb has ${xvdb.sectors} sectors`);
        feed();
      },
      done: (tag, status, data) => {
        if (status !== 0) failed++;
        else if (phase === "reading" && data.some((byte) => byte !== (tag & 0xff))) wrong++;
        feed();
      },
      closed: () => {
        gone(XVDB);
        say(`xvdb is gone, ${failed > 0 ? "with reads in flight" : "idle"}`);
        if (failed > 0) bye.set(kernel.clock.now + POWER_OFF_NS);
      },
    },
  );
  const feed = (): void => {
    for (; next < SECTORS && xvdb.pending < DEPTH && xvdb.connected; next++) {
      if (phase === "writing") xvdb.submit(next, "write", next, 1, pattern(next));
      else xvdb.submit(next, "read", next, 1);
    }
    xvdb.push();
    if (next < SECTORS || xvdb.pending > 0 || !xvdb.connected) return;
    if (phase === "writing") say("xvdb is written");
    else if (lives === 2) say(`xvdb is read, ${wrong} wrong`);
    // In its second life the disk is read over and over, until it is taken away.
    if (phase === "reading") {
      lives = 3;
      next = 0;
      feed();
    } else phase = "waiting";
  };
  /** Starts the driver of each device that has come. */
  const look = (): void => {
    const names = kernel.store.directory("device/vbd");
    for (const [device, driver] of [
      [XVDA, xvda],
      [XVDB, xvdb],
    ] as const) {
      if (names.includes(String(device)) && !running.includes(device) && driver.start()) running.push(device);
    }
  };
  return {
    start: () => kernel.store.watch("device/vbd", "vbd", look),
    save: () => ({ xvda: xvda.save(), xvdb: xvdb.save(), phase, next, wrong, failed, lives, running: [...running] }),
    load(state) {
      kernel.store.adoptWatch("vbd", look);
      xvda.load(state.xvda);
      xvdb.load(state.xvdb);
      ({ phase, next, wrong, failed, lives } = state);
      running = [...state.running];
    },
  };
}

export default defineScenario({
  name: "hotplug",
  why: "Disks come, go, grow and are taken away while their guest uses them: the xenbus life cycle as a toolstack drives it, with nothing lost and nothing left behind.",
  images: {},
  machine: {
    domains: [],
    models: [
      {
        name: "guest",
        program: "operator",
        pages: 256,
        disks: [
          { device: "xvda", sectors: 2048 },
          { device: "xvdb", sectors: SECTORS, attached: false },
        ],
      },
    ],
    actions: [
      { action: "attach", domain: "guest", disk: "xvdb", atNs: 5_000_000 },
      { action: "detach", domain: "guest", disk: "xvdb", after: "xvdb is written" },
      { action: "attach", domain: "guest", disk: "xvdb", after: "xvdb is gone" },
      { action: "resize", domain: "guest", disk: "xvda", sectors: 4096, after: "xvdb is read" },
      { action: "remove", domain: "guest", disk: "xvdb", after: "its last sector" },
    ],
  },
  programs: { operator },
  expect: {
    "the guest lives through it all": (run) => run.ended("guest") === "poweroff",
    "what was written before the disk went is there when it comes again": (run) =>
      run.console("guest").includes("xvdb is gone, idle\nxvdb has 512 sectors\nxvdb is read, 0 wrong\n"),
    "a grown disk is used to its new end": (run) =>
      run.console("guest").includes("xvda has 4096 sectors now\nits last sector holds what was written\n"),
    "a disk taken away fails what is in flight": (run) =>
      run.console("guest").includes("xvdb is gone, with reads in flight"),
    "the back end lets go only when nothing is in flight": (run) => {
      const gone = run
        .events("device-plug")
        .filter(({ change }) => change === "gone")
        .map(({ at }) => at);
      const last = run.events("disk-operation").findLast(({ disk }) => disk.endsWith("/xvdb"))?.at ?? 0;
      return gone.length === 2 && last <= gone[1]!;
    },
    "every grant that was mapped for xvdb is unmapped, once": (run) => {
      const unmapped = run.events("grant-unmap");
      // What stays: the guest's store ring and console, and xvda's ring.
      return unmapped.every(({ status }) => status === 0) && run.events("grant-map").length - unmapped.length <= 3;
    },
  },
});
