// How help looks: groups, then options, examples, and what the exit codes mean.
import type { Command, HelpConfiguration } from "commander";
import { exitCodes } from "./exit.ts";
import type { Style } from "./style.ts";

export const groups = {
  look: "See what is there:",
  decide: "Decide who may talk:",
  run: "Run and mend:",
  shell: "Your shell:",
} as const;

/** Lines of `$ command    what it shows`, aligned. */
export function examples(lines: readonly (readonly [command: string, says: string])[]): string {
  const width = Math.max(...lines.map(([command]) => command.length));
  return `\nExamples:\n${lines.map(([command, says]) => `  ${command.padEnd(width)}   # ${says}`).join("\n")}`;
}

export function rootFooter(): string {
  return [
    examples([
      ["hawser doctor", "is this host fit?"],
      ["hawser status", "is the agent well?"],
      ["docker network create -d hawser --ipam-driver hawser shop", "a network"],
      ["hawser endpoint list", "who is on it"],
      ["hawser port web", "where is it published?"],
      ["hawser policy apply shop.yaml", "who may talk to whom"],
      ["hawser observe --follow --verdict dropped", "what is refused, as it happens"],
    ]),
    "",
    "Environment:",
    "  HAWSER_SOCKET   the agent's socket, when --socket is not given",
    "  HAWSER_DEBUG    any value: stack traces, and the kernel's whole log when it refuses a program",
    "  NO_COLOR        any value: no colours",
    "",
    "Exit codes:",
    ...Object.entries(exitCodes).map(([code, meaning]) => `  ${code}   ${meaning}`),
    "",
    "`hawser help COMMAND` tells more about one command.",
  ].join("\n");
}

export function helpConfiguration(style: Style): HelpConfiguration {
  return {
    showGlobalOptions: true,
    sortSubcommands: false,
    styleTitle: style.bold,
    styleCommandText: (text) => text,
    styleSubcommandText: style.green,
    styleOptionText: style.green,
    styleArgumentText: style.green,
    subcommandTerm: (command: Command) => [command.name(), ...command.registeredArguments.map((argument) =>
      argument.required ? `<${argument.name()}>` : `[${argument.name()}]`)].join(" "),
  };
}
