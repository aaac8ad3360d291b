#!/usr/bin/env node
// Part: where the program begins.

import { NodeHost } from "./host/node-host.ts";
import { commandLine } from "./program.ts";

const host = new NodeHost();
host.exit(await commandLine(host.args, host));
