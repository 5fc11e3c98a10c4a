// The command tree and the way from words to an exit code.
import { Command } from "commander";
import { defaultSocket } from "./agent-socket.ts";
import { addAgent } from "./commands/agent.ts";
import { addCompletion } from "./commands/completion.ts";
import { addDoctor } from "./commands/doctor.ts";
import { addEndpoint } from "./commands/endpoint.ts";
import { addHelp } from "./commands/help.ts";
import { addIdentity } from "./commands/identity.ts";
import { addMap } from "./commands/map.ts";
import { addMetrics } from "./commands/metrics.ts";
import { addNetwork } from "./commands/network.ts";
import { addNode } from "./commands/node.ts";
import { addObserve } from "./commands/observe.ts";
import { addPolicy } from "./commands/policy.ts";
import { addService } from "./commands/service.ts";
import { addPort } from "./commands/port.ts";
import { addStatus } from "./commands/status.ts";
import { addSweep } from "./commands/sweep.ts";
import { complete } from "./complete.ts";
import { CompletingOption } from "./completing.ts";
import type { CliDependencies } from "./dependencies.ts";
import { report, type ExitCode } from "./exit.ts";
import { groups, helpConfiguration, rootFooter } from "./help.ts";
import { hasColours, styleFor } from "./style.ts";

/** Runs one command line, without the program's name. Never throws; the caller sets the exit code and lets the process end. */
export async function run(words: readonly string[], deps: CliDependencies): Promise<ExitCode> {
  const program = createProgram(deps);
  try {
    if (words[0] === "__complete") {
      deps.stdout.write(await complete(program, words.slice(1), deps));
    } else if (words.length === 0) {
      program.outputHelp();
    } else {
      await program.parseAsync(words, { from: "user" });
    }
    return 0;
  } catch (error) {
    return report(error, deps);
  }
}

export function createProgram(deps: CliDependencies): Command {
  const program = new Command("hawser");
  program
    .description("Container networking for plain Docker hosts, on eBPF.")
    .usage("[options] COMMAND")
    .version(`hawser ${deps.version}`, "-V, --version", "print the version")
    .helpOption("-h, --help", "show help")
    .helpCommand(false)
    .addOption(new CompletingOption("--socket <path>", `the agent's socket (default: HAWSER_SOCKET or ${defaultSocket})`, "files"))
    .exitOverride()
    .showSuggestionAfterError(true)
    .configureHelp(helpConfiguration(styleFor(deps)))
    .configureOutput({
      writeOut: (text) => void deps.stdout.write(text),
      writeErr: (text) => void deps.stderr.write(text),
      // Commander's own word for an argument is one that no help page uses.
      outputError: (text, write) => write(text.replace(/^error: /, "hawser: ").replace("command-argument value", "argument")),
      getOutHelpWidth: () => deps.columns ?? 100,
      getErrHelpWidth: () => deps.columns ?? 100,
      getOutHasColors: () => hasColours(deps),
      getErrHasColors: () => false,
    })
    .addHelpText("after", rootFooter());

  const grouped: readonly (readonly [string, readonly ((program: Command, deps: CliDependencies) => void)[]])[] = [
    [groups.look, [addStatus, addEndpoint, addPort, addNetwork, addNode, addIdentity, addObserve, addMap, addMetrics]],
    [groups.decide, [addPolicy, addService]],
    [groups.run, [addAgent, addDoctor, addSweep]],
    [groups.shell, [addCompletion, addHelp]],
  ];
  for (const [heading, adders] of grouped) {
    program.commandsGroup(heading);
    for (const add of adders) add(program, deps);
  }
  pointToHelp(program);
  return program;
}

/** After wrong usage, the way to the right one; groups without a subcommand show theirs. */
function pointToHelp(command: Command): void {
  command.showHelpAfterError(`\`${pathOf(command)} --help\` shows how.`);
  for (const inner of command.commands) pointToHelp(inner);
}

export function pathOf(command: Command): string {
  return command.parent ? `${pathOf(command.parent)} ${command.name()}` : command.name();
}

