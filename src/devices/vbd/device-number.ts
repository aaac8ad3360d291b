// Part: virtual device numbers by the names that a toolstack gives disks (docs/man/xen-vbd-interface.7): Linux's block majors and minors.

interface Family {
  readonly prefix: string;
  /** Number of a whole disk by its index; undefined beyond the family's last. */
  readonly number: (disk: number) => number | undefined;
}

const XVD_DISKS = 16;
/** Disks beyond xvdp: 1<<28 and 256 partitions each. */
const EXTENDED = 1 << 28;
const EXTENDED_DISKS = 1 << 20;

const FAMILIES: readonly Family[] = [
  {
    prefix: "xvd",
    number: (disk) =>
      disk < XVD_DISKS ? (202 << 8) | (disk << 4) : disk < EXTENDED_DISKS ? EXTENDED | (disk << 8) : undefined,
  },
  { prefix: "sd", number: (disk) => (disk < 16 ? (8 << 8) | (disk << 4) : undefined) },
  { prefix: "hd", number: (disk) => (disk < 4 ? ((disk < 2 ? 3 : 22) << 8) | ((disk & 1) << 6) : undefined) },
];

/** Of a whole disk: 51712 for `xvda`; undefined for a name that is none. */
export function virtualDeviceNumber(name: string): number | undefined {
  const parts = /^(xvd|sd|hd)([a-z]{1,3})$/.exec(name);
  const family = FAMILIES.find(({ prefix }) => prefix === parts?.[1]);
  // a to z, aa to zz, aaa to zzz.
  const disk = Array.from(parts?.[2] ?? "").reduce((sum, letter) => 26 * (sum + 1) + letter.charCodeAt(0) - 0x61, -1);
  return family?.number(disk);
}

/** `xvda` for 51712, `xvda1` for 51713; undefined for a number that is no disk's. */
export function virtualDeviceName(device: number): string | undefined {
  if (device >= EXTENDED && device < 2 * EXTENDED) return named("xvd", (device - EXTENDED) >>> 8, device & 0xff);
  const minor = device & 0xff;
  switch (device >>> 8) {
    case 202:
      return named("xvd", minor >>> 4, minor & 15);
    case 8:
      return named("sd", minor >>> 4, minor & 15);
    case 3:
      return minor < 128 ? named("hd", minor >>> 6, minor & 63) : undefined;
    case 22:
      return minor < 128 ? named("hd", 2 + (minor >>> 6), minor & 63) : undefined;
    default:
      return undefined;
  }
}

function named(prefix: string, disk: number, partition: number): string {
  let letters = "";
  for (let rest = disk; rest >= 0; rest = Math.floor(rest / 26) - 1) {
    letters = String.fromCharCode(0x61 + (rest % 26)) + letters;
  }
  return `${prefix}${letters}${partition === 0 ? "" : partition}`;
}
