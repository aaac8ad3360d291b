// Part: faults that devices can be built with. Each is one that really happened, or a close relative; a machine that has any is there to show that
// a test or a fuzzer finds it. They stand in the configuration, so a trace's header says which were on; by default none is.

import { VBD_FAULTS } from "../devices/vbd/faults.ts";

/** By name, `device.fault`: what the device does wrong. */
export const FAULT_SWITCHES: Readonly<Record<string, string>> = { ...VBD_FAULTS };
