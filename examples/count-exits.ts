// Records a bundled scenario in memory and counts why its guest left the processor.

import { exitReason, record } from "ringback";
import { loadScenario, nodeImages } from "ringback/node";

const { scenario, folder } = await loadScenario("first-light");
const { run, sha256 } = record(scenario, { load: nodeImages(folder) });

const counts = new Map<string, number>();
for (const exit of run.events("vm-exit")) {
  const reason = exitReason(exit.reason)?.name ?? `reason ${exit.reason}`;
  counts.set(reason, (counts.get(reason) ?? 0) + 1);
}
for (const [reason, count] of counts) console.log(`${String(count).padStart(6)}  ${reason}`);
console.log(`trace ${sha256}`);
