// Part: the composition root: one processor, one hypervisor, the control domain's programs, the guests and their disks under one clock.
// A machine advances in steps. A step runs the alarms that are due and then either one guest, until the next alarm or its next pause, or, when no guest can
// run, jumps to the next alarm: idle time costs nothing. Whatever comes from outside is taken in between steps.

import { Clock } from "../core/clock.ts";
import { digest64, PageDigest } from "../core/digest.ts";
import { InputError } from "../core/errors.ts";
import { RandomStreams } from "../core/random.ts";
import { encodeSnapshot, type Snapshot, SnapshotRegistry } from "../core/snapshot.ts";
import { MIB, type Ratio, ratio, scaleFloor, inverse } from "../core/units.ts";
import { Processor } from "../cpu/processor.ts";
import { MemoryDisk } from "../devices/block/disk.ts";
import { FaultyDisk } from "../devices/block/faults.ts";
import { Vbd } from "../devices/vbd/vbd.ts";
import type { Emit, TraceEvent } from "../trace/events.ts";
import { createHypervisor, type Domain, type Hypervisor } from "../xen/index.ts";
import { XenstoreDaemon } from "../xen/xenstore/daemon.ts";
import type { DomainConfig, FullMachineConfig } from "./config.ts";
import type { Images } from "./images.ts";
