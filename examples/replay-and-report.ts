// Records, changes one bit of what was typed, and shows where the replay leaves the changed trace.

import { divergenceReport, record, replay, Trace, TraceWriter } from "ringback";
import { loadScenario, nodeImages } from "ringback/node";

const { scenario, folder } = await loadScenario("console-input");
const load = nodeImages(folder);
const { bytes } = record(scenario, { load });
console.log(replay(bytes, scenario, load).divergence === undefined ? "identical" : "diverged");

const trace = new Trace(bytes);
const records: Uint8Array[] = [];
const writer = new TraceWriter(trace.header, (piece) => records.push(piece.slice()));
for (const event of trace.events()) {
  writer.write(
    event.kind === "input"
      ? { ...event, data: event.data.map((byte, index) => (index === 0 ? byte ^ 1 : byte)) }
      : event,
  );
}
writer.close(trace.chunks.at(-1)!.stateDigest, trace.end!);
const { divergence } = replay(new Uint8Array(Buffer.concat(records)), scenario, load);
if (divergence !== undefined) console.log(divergenceReport(divergence));
