// Program: runs one benchmark guest in ringback, as guests.ts asks:  node run-ringback.js IMAGE plain|record COMMAND-LINE

import { defineScenario } from "../src/machine/scenario.ts";
import { runRecorded, runUnrecorded } from "./recorded.ts";

const [image = "", mode, commandLine = ""] = process.argv.slice(2);

const scenario = defineScenario({
  name: image,
  why: "To see how fast the guest runs.",
  images: { guest: { guest: image } },
  machine: { domains: [{ name: "guest", kernel: "guest", commandLine, memoryMiB: 64 }] },
  expect: { "it ends by itself": (run) => run.ended("guest") === "poweroff" },
});

const { machine } = mode === "record" ? runRecorded(scenario) : runUnrecorded(scenario);
process.stdout.write(machine.console("guest"));
