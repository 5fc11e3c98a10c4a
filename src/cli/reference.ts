// The command line's reference as Markdown: every command's own help, so that the two cannot differ.
import type { Command } from "commander";
import { HawserError } from "../std/errors.ts";
import type { CliDependencies } from "./dependencies.ts";
import { createProgram, pathOf } from "./program.ts";

export function referenceOf(): string {
  const program = createProgram(nothing);
  return [
    "# Command line",
    "",
    "Generated from the command tree by `npm run docs`; do not edit.",
    "",
    "Lists print a table, or JSON with `-o json`; JSON is alone on stdout, everything else goes to stderr. The fields of the JSON are in",
    "`src/engine/types.ts` (`…View`, `Status`); those of `observe` are Hubble's, in `src/api/proto/flow/flow.proto`.",
    "",
    ...sections(program),
  ].join("\n");
}

function sections(command: Command): readonly string[] {
  const own = [`## ${pathOf(command)}`, "", "```", helpOf(command), "```", ""];
  return [...own, ...command.commands.flatMap(sections)];
}

/** With the text that commander adds after it. */
function helpOf(command: Command): string {
  let text = "";
  command.configureOutput({ writeOut: (part) => (text += part) });
  command.outputHelp();
  return text.trimEnd();
}

/** Help needs none of them. */
const nothing: CliDependencies = {
  version: "",
  runAgent: refuse, sweep: refuse, doctor: refuse, connect: refuse,
  stdout: { write: () => true }, stderr: { write: () => true }, readInput: refuse,
  now: () => 0, env: {}, isTTY: false, columns: undefined,
};

function refuse(): Promise<never> {
  return Promise.reject(new HawserError("INTERNAL", "a reference runs no command"));
}
