// Program: from power-on to iPXE's DHCP lease in ringback, as boot.ts asks:  node run-boot.js plain|record COMMAND-LINE

import type { MachineConfig } from "../src/machine/config.ts";
import type { Scenario } from "../src/machine/scenario.ts";
import { runRecorded, runUnrecorded } from "./recorded.ts";

const [mode, commandLine = ""] = process.argv.slice(2);

const { default: scenario } = (await import(new URL("../scenarios/ipxe-ne2000-isa.js", import.meta.url).href)) as {
  default: Scenario;
};
const domains: MachineConfig["domains"] = scenario.machine.domains.map((domain) => ({ ...domain, commandLine }));
const leased: Scenario = { ...scenario, machine: { ...scenario.machine, domains } };
const { machine } = mode === "record" ? runRecorded(leased) : runUnrecorded(leased);
process.stdout.write(machine.screen("pc").join("\n"));
