// Part: what a trace's header says of the program that recorded it.

/** Name and version, as in package.json. */
export const PRODUCT = "ringback 0.1.0";
