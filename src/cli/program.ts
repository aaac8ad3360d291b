// Part: the command line: arguments in, exit status out. What each command does is in its own file.

import { Command, CommanderError } from "commander";
import { InputError, NotModelled } from "../core/errors.ts";
import { oneLine } from "../debug/printable.ts";
import { PRODUCT } from "../replay/product.ts";
import { type Context, EXIT } from "./context.ts";
import type { Host } from "./host/host.ts";
import { bundledScenarios } from "./host/scenarios.ts";

interface CommandEntry {
  /** The name, then what stands behind it. */
  readonly synopsis: string;
  readonly description: string;
  /** Read when the command is used: most of ringback is behind it, and a look at the help should not wait for that. */
  readonly load: () => Promise<{ readonly define: (command: Command, context: Context) => void }>;
}

export const COMMANDS: readonly CommandEntry[] = [
  {
    synopsis: "run [options] <scenario>",
    description: "runs a scenario and says whether its expectations held",
    load: () => import("./commands/run.ts"),
  },
  {
    synopsis: "record [options] <scenario>",
    description: "runs a scenario and writes its trace",
    load: () => import("./commands/record.ts"),
  },
  {
    synopsis: "replay <file>",
    description: "runs a trace's machine again and compares every event with the recorded one",
    load: () => import("./commands/replay.ts"),
  },
  {
    synopsis: "info [options] <file>",
    description: "header, machine, images, events of each kind, duration and size of a trace",
    load: () => import("./commands/info.ts"),
  },
  {
    synopsis: "events [options] <file>",
    description: "the events of a trace as text, one line each",
    load: () => import("./commands/events.ts"),
  },
  {
    synopsis: "diff <a> <b>",
    description: "the first difference of two traces, with what stands around it",
    load: () => import("./commands/diff.ts"),
  },
  {
    synopsis: "bench",
    description: "runs the benchmarks, beside QEMU and v86 where they are installed; takes some minutes",
    load: () => import("./commands/bench.ts"),
  },
  {
    synopsis: "demo",
    description: "records the scenario first-light, replays it and shows what came of it",
    load: () => import("./commands/demo.ts"),
  },
];

const nameOf = ({ synopsis }: CommandEntry): string => synopsis.split(" ")[0]!;

/** Commands that ringback is meant to have and has not: whoever asks is told so, and no help lists them. */
const NOT_BUILT = ["debug", "fuzz", "shrink", "export", "view"] as const;

const explanation = (): string => `
A scenario says what machine is built, what happens to it and what must hold. These come with ringback:
  ${bundledScenarios().join(", ")}
A path to a TypeScript or JavaScript module of your own does as well.

  ringback record first-light -o my.trace    run it and keep its trace
  ringback replay my.trace                   run it again, every event compared
  ringback events my.trace --kind xenstore   read what happened
  ringback help record                       what a command takes

Exit status: 0 held, identical or nothing found; 1 an expectation failed, a divergence or a difference;
2 bad usage or bad input; 3 a bug of ringback's own.`;

/**
 * Carries out one command line.
 * @param args what stands behind the program's name
 * @returns the exit status
 */
export async function commandLine(args: readonly string[], host: Host): Promise<number> {
  const context: Context = { host, status: EXIT.GOOD };
  try {
    const [name] = args;
    if (NOT_BUILT.some((command) => command === name)) throw new InputError(`${name} is not built yet`);
    await (await program(context, args)).parseAsync(args, { from: "user" });
    return context.status;
  } catch (error) {
    return explained(error, args, host);
  }
}

/** The command that the arguments name is there as a whole, the others only for the help. */
async function program(context: Context, args: readonly string[]): Promise<Command> {
  const { host } = context;
  const command = new Command("ringback")
    .description("Records whole machines and replays them bit by bit.")
    .version(PRODUCT, "-V, --version", "the version")
    .exitOverride()
    .showSuggestionAfterError(true)
    .configureOutput({
      writeOut: (text) => host.out(text),
      writeErr: (text) => host.err(text),
      // `explained` says it in one line.
      outputError: () => {},
    })
    .configureHelp({
      subcommandTerm: (sub) => COMMANDS.find((entry) => nameOf(entry) === sub.name())?.synopsis ?? "help [command]",
    });
  const used = COMMANDS.find((entry) => nameOf(entry) === args.find((arg) => arg !== "help"));
  for (const entry of COMMANDS) {
    const sub = command.command(nameOf(entry)).description(entry.description);
    if (entry === used) (await entry.load()).define(sub, context);
  }
  return command.addHelpText("after", explanation);
}

/** Says in plain words what went wrong, and gives the exit status for it. */
function explained(error: unknown, args: readonly string[], host: Host): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return EXIT.GOOD;
    // Without any command commander has shown the help already.
    if (error.code !== "commander.help") host.err(`ringback: ${sentence(error.message)}\n`);
    return EXIT.BAD_INPUT;
  }
  if (isNamed(error, InputError)) {
    host.err(`ringback: ${sentence(error.message)}\n`);
    return EXIT.BAD_INPUT;
  }
  if (isNamed(error, NotModelled)) {
    host.err(`ringback: ${sentence(error.message)}\n`);
    return EXIT.FINDING;
  }
  const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
  host.err(
    "ringback: this is a bug of ringback's own. Please report it with what follows and, if you can, the trace.\n" +
      `  ${PRODUCT}, ${host.engine}\n` +
      `  ringback ${args.join(" ")}\n` +
      detail
        .split("\n")
        .map((line) => `  ${oneLine(line)}\n`)
        .join(""),
  );
  return EXIT.BUG;
}

/** By name too: a user's module may have loaded a second copy of the library. */
function isNamed(error: unknown, kind: typeof InputError | typeof NotModelled): error is Error {
  return error instanceof kind || (error instanceof Error && error.name === kind.name);
}

/** On one line, without commander's own beginning, and safe to show: a message may quote a file. */
function sentence(message: string): string {
  return oneLine(message.replace(/^error: /, "").replaceAll(/\s*\n\s*/g, " "));
}
