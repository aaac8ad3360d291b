import { defineScenario } from "../src/index.ts";

export default defineScenario({
  name: "disk-errors",
  why: "A driver must survive a disk that fails now and then: reads and writes fail at random, the guest tries again and loses nothing.",
  images: { guest: { guest: "first-light" } },
  machine: {
    domains: [
      {
        name: "guest",
        kernel: "guest",
        commandLine: "seed=7",
        memoryMiB: 16,
        disks: [
          {
            device: "xvda",
            sectors: 2048,
            faults: [
              { operation: "write", oneIn: 8 },
              { operation: "read", oneIn: 8 },
            ],
          },
        ],
      },
    ],
  },
  expect: {
    "errors were injected": (run) => run.events("fault-injected").length > 0,
    "every injected error reached the guest as an error response": (run) =>
      run.events("blkif-response").filter(({ side, status }) => side === 1 && status === -1).length ===
      run.events("fault-injected").length,
    "the guest says how many errors it survived": (run) =>
      run.console("guest").includes(`survived ${run.events("fault-injected").length} disk errors`),
    "nothing was lost": (run) => run.console("guest").includes("verified") && run.ended("guest") === "poweroff",
  },
});
