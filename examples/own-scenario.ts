// A scenario of one's own: two guests, each with a disk, one of them failing now and then. `ringback run` takes this file, too.

import { defineScenario } from "ringback";

const guest = (name: string, faults: { operation: "read"; oneIn: number }[]) => ({
  name,
  kernel: "guest",
  memoryMiB: 16,
  disks: [{ device: "xvda", sectors: 2048, faults }],
});

export default defineScenario({
  name: "two-guests",
  why: "Shows that one guest's bad disk is no other guest's trouble.",
  images: { guest: { guest: "first-light" } },
  machine: { domains: [guest("sound", []), guest("shaky", [{ operation: "read", oneIn: 10 }])] },
  expect: {
    "both finish": (run) => run.ended("sound") === "poweroff" && run.ended("shaky") === "poweroff",
    "only one met errors": (run) =>
      run.console("shaky").includes("survived") && !run.console("sound").includes("survived"),
  },
});
