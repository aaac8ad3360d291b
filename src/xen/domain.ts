export interface ModuleImage {
  readonly bytes: Uint8Array;
  readonly commandLine: string;
}
export interface DomainConfig {
  readonly name: string;
  /** Default: the lowest number from 1 on that is free. */
  readonly domid?: number;
  /** Bytes; a whole number of pages. */
  readonly memorySize: number;
  /** ELF32 image with a PVH entry note. */
  readonly kernel: Uint8Array;
  readonly commandLine: string;
  readonly modules?: readonly ModuleImage[];
}
export interface Domain {
  readonly domid: number;
  readonly name: string;
  /** running, or how it ended. */
  readonly state: "running" | "shutdown" | "crashed" | "destroyed";
  /** A SHUTDOWN_ value (sched.h) after the end. */
  readonly shutdownReason: number | undefined;
  /** The guest's ends of its console and store channels, and the guest frames of the rings. */
  readonly console: { readonly gfn: number; readonly port: number };
  readonly store: { readonly gfn: number; readonly port: number };
}
