// Part: faults that devices can be built with. Each is one that really happened, or a close relative; a machine that has any is there to show that
// a test or a fuzzer finds it. They stand in the configuration, so a trace's header says which were on; by default none is.

import { DEVICE_MODEL_FAULTS } from "../devices/device-model/faults.ts";
import { NE2000_FAULTS } from "../devices/ne2000/faults.ts";
import { VBD_FAULTS } from "../devices/vbd/faults.ts";
import { VNIF_FAULTS } from "../devices/vnif/faults.ts";
import { XEN_FAULTS } from "../xen/faults.ts";

/** By name, `device.fault`: what the device does wrong. */
export const FAULT_SWITCHES: Readonly<Record<string, string>> = {
  ...VBD_FAULTS,
  ...VNIF_FAULTS,
  ...NE2000_FAULTS,
  ...DEVICE_MODEL_FAULTS,
  ...XEN_FAULTS,
};
