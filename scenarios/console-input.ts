import { defineScenario } from "../src/index.ts";

export default defineScenario({
  name: "console-input",
  why: "What is typed comes from outside the machine: it is recorded as it arrives, and a replay needs nobody at the keyboard.",
  images: { guest: { guest: "first-light" } },
  machine: { domains: [{ name: "guest", kernel: "guest", commandLine: "mode=console", memoryMiB: 16 }] },
  input: [
    { domain: "guest", after: "> ", type: "echo hello, ringback\n" },
    { domain: "guest", after: "> ", type: "sum 1 2 39\n" },
    { domain: "guest", after: "> ", type: "exit\n" },
  ],
  expect: {
    "the guest echoes": (run) => run.console("guest").includes("\nhello, ringback"),
    "the guest adds up": (run) => run.console("guest").includes("\n42"),
    "exit ends it": (run) => run.ended("guest") === "poweroff",
    "each line came in as one recorded input": (run) => run.events("input").length === 3,
  },
});
