// Part: faults that device models really had, or close relatives, as switches. They are off; a device model with one on is there to show that a test or a
// fuzzer finds it.

/** By name: the advisory, and what the device model does wrong. */
export const DEVICE_MODEL_FAULTS = {
  "device-model.double-fetch": "XSA-166: checks one copy of a request and carries out another",
} as const;

export type DeviceModelFault = keyof typeof DEVICE_MODEL_FAULTS;
