// Reads a trace file and prints what its guests asked of xenstore. Make one: npx ringback record first-light -o first-light.trace

import { readFileSync } from "node:fs";
import { describeEvent, Trace } from "ringback";

const trace = new Trace(readFileSync(process.argv[2] ?? "first-light.trace"));
console.log(`${trace.header.scenario.name}, seed ${trace.header.seed}: ${trace.end?.events ?? "?"} events`);
for (const chunk of trace.chunks) {
  for (const event of trace.eventsOf(chunk)) if (event.kind === "xenstore") console.log(describeEvent(event));
}
