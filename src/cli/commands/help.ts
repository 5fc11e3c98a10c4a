// `hawser help COMMAND…`: the same as `hawser COMMAND… --help`, at any depth.
import type { Command } from "commander";
import { CompletingArgument } from "../completing.ts";
import type { CliDependencies } from "../dependencies.ts";

export function addHelp(program: Command, _deps: CliDependencies): void {
  program
    .command("help")
    .summary("show help for a command")
    .description("Shows what a command does and takes.")
    .addArgument(new CompletingArgument("[COMMAND...]", "the command, such as `endpoint get`", "commands"))
    .action((words: readonly string[]) => {
      let command = program;
      for (const word of words) {
        const next = command.commands.find((inner) => inner.name() === word || inner.aliases().includes(word));
        if (next === undefined) refuse(command, word);
        else command = next;
      }
      command.outputHelp();
    });
}

/** A group refuses in commander's own words, which name the nearest command. */
function refuse(command: Command, word: string): void {
  if (command.commands.length > 0) command.parse([word], { from: "user" });
  command.error(`hawser: \`${command.name()}\` has no command "${word}"`);
}
