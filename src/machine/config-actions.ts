// Part: what a toolstack does while the machine runs, as the configuration says it: one action after the other.

import { type DiskConfig, MAX_SECTORS } from "./config-disks.ts";
import { check, isWithin } from "./config-shape.ts";

interface Moment {
  readonly domain: string;
  /** When: at a virtual time, or when the domain's terminal has shown a text since the action before. */
  readonly atNs?: number;
  readonly after?: string;
}

/** A disk is attached, the guest is asked to let go of it (detach), it is taken away without asking (remove), or gets another size. */
export interface DiskAction extends Moment {
  readonly action: "attach" | "detach" | "remove" | "resize";
  readonly disk: string;
  /** The new size. */
  readonly sectors?: number;
}

/**
 * The domain is taken away, whatever it is doing (xl destroy); or it is asked to suspend itself, saved, and goes on as another domain, under a
 * number of its own, with the same disks and interfaces (xl migrate). Model domains can be migrated.
 */
export interface DomainAction extends Moment {
  readonly action: "destroy" | "migrate";
}

export type MachineAction = DiskAction | DomainAction;

const DISK_ACTIONS: readonly string[] = ["attach", "detach", "remove", "resize"];
const DOMAIN_ACTIONS: readonly string[] = ["destroy", "migrate"];

export const isDiskAction = (action: MachineAction): action is DiskAction => DISK_ACTIONS.includes(action.action);

/**
 * @param disksOf the disks of a domain, undefined when there is no such domain
 * @throws InputError naming the action
 */
export function checkActions(
  actions: readonly MachineAction[],
  disksOf: (domain: string) => readonly DiskConfig[] | undefined,
  isModel: (domain: string) => boolean,
): void {
  for (const [index, action] of actions.entries()) {
    const place = `action ${index}`;
    const { domain, atNs, after } = action;
    const names = [...DISK_ACTIONS, ...DOMAIN_ACTIONS];
    check(names.includes(action.action), place, `one of ${names.join(", ")}`);
    const disks = disksOf(domain);
    if (isDiskAction(action)) checkDiskAction(action, disks ?? [], place);
    else {
      check(disks !== undefined, place, "of one of the domains");
      check(action.action !== "migrate" || isModel(domain), place, "of a model domain if it is to migrate");
      check(!("disk" in action) && !("sectors" in action), place, "of a whole domain, without a disk");
    }
    check((atNs === undefined) !== (after === undefined), place, "either at a time or after a text");
    check(atNs === undefined || isWithin(atNs, 0, Number.MAX_SAFE_INTEGER), place, "at a time from 0 on");
    check(after !== "", place, "after a text that is not empty");
  }
}

function checkDiskAction({ action, disk, sectors }: DiskAction, disks: readonly DiskConfig[], place: string): void {
  const hasDisk = disks.some(({ device }) => device === disk);
  check(hasDisk, place, "of a disk that one of the domains has");
  check((action === "resize") === (sectors !== undefined), place, "given sectors if it is a resize");
  check(sectors === undefined || isWithin(sectors, 1, MAX_SECTORS), place, "of 1 to 2^40 sectors");
}
