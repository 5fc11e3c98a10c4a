// `hawser sweep`: removes what carries our name and nothing claims, through the agent or without one.
import type { Command } from "commander";
import type { Swept } from "../../api/client.ts";
import { HawserError } from "../../std/errors.ts";
import { chosenSocket, defaultSocket } from "../agent-socket.ts";
import { configOption } from "../completing.ts";
import type { CliDependencies, SweptAlone } from "../dependencies.ts";
import { examples } from "../help.ts";
import { formatOf, outputOption, printJson } from "../output.ts";
import { styleFor } from "../style.ts";
import { table } from "../table.ts";

interface SweepFlags {
  readonly all?: boolean;
  readonly force?: boolean;
  readonly config?: string;
}

export function addSweep(program: Command, deps: CliDependencies): void {
  program
    .command("sweep")
    .summary("remove leftovers from this host")
    .description(
      "Removes every link, pin, program and map entry that carries Hawser's name and that nothing claims. A running agent does it itself "
      + "(and does so every 30 s); without one, the remembered state decides. What is known of other nodes stays then, as long as the configuration has any: "
      + "their containers talk on, and only an agent hears who is gone.",
    )
    .option("-a, --all", "everything of Hawser's, claimed or not: containers on Hawser networks lose their network")
    .option("-f, --force", "with --all: even while an agent runs")
    .addOption(configOption())
    .addOption(outputOption())
    .addHelpText("after", examples([
      ["hawser sweep", "what no container needs any more"],
      ["hawser sweep --all", "before uninstalling: leaves nothing of Hawser's in the kernel"],
    ]))
    .action(async (flags: SweepFlags, command: Command) => {
      const { swept, kept } = await sweep(flags, command, deps);
      if (kept !== undefined) deps.stderr.write(`hawser: ${kept}\n`);
      if (formatOf(command) === "json") return printJson(deps, swept);
      if (swept.length === 0) return void deps.stderr.write("hawser: nothing to sweep\n");
      deps.stdout.write(table<Swept>([
        { title: "REMOVED", value: (row) => row.kind },
        { title: "NAME", value: (row) => row.name },
      ], swept, styleFor(deps).dim));
    });
}

async function sweep(flags: SweepFlags, command: Command, deps: CliDependencies): Promise<SweptAlone> {
  const alone = (): Promise<SweptAlone> => deps.sweep({ configPath: flags.config, all: flags.all === true, force: flags.force === true });
  const socket = chosenSocket(command, deps);
  // A configuration of its own means an agent of its own, which need not be the one on the default socket.
  if (socket === undefined && flags.config !== undefined) return alone();
  try {
    using agent = await deps.connect(socket ?? defaultSocket);
    if (flags.all !== true) return { swept: await agent.sweep() };
  } catch (error) {
    if (error instanceof HawserError && error.code === "AGENT_UNREACHABLE") return alone();
    throw error;
  }
  if (flags.force === true) return alone();
  throw new HawserError("IN_USE", "an agent is running and needs what --all would remove; stop it first, or add --force");
}
