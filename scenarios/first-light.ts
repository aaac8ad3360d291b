import { defineScenario } from "../src/index.ts";

export default defineScenario({
  name: "first-light",
  why: "The bundled guest formats, writes, reads back and verifies a disk with its own interrupt-driven blkfront: every part of the machine, in a second.",
  images: { guest: { guest: "first-light" } },
  machine: {
    domains: [
      {
        name: "guest",
        kernel: "guest",
        commandLine: "seed=42",
        memoryMiB: 16,
        disks: [{ device: "xvda", sectors: 2048 }],
      },
    ],
  },
  expect: {
    "the guest finishes and powers off": (run) =>
      run.console("guest").includes("done") && run.ended("guest") === "poweroff",
    "what was written is what is read back": (run) => run.console("guest").includes("verified"),
    "many requests were in flight at once": (run) => run.console("guest").includes("most in flight 32"),
    "no disk operation failed": (run) => run.events("disk-operation").every(({ status }) => status === 0),
    "every request was answered once": (run) =>
      run.events("blkif-request").filter(({ side }) => side === 1).length ===
      run.events("blkif-response").filter(({ side }) => side === 1).length,
  },
});
