// The four ways to end, and the one place where an error becomes words on stderr.
import { CommanderError } from "commander";
import { HawserError, messageOf } from "../std/errors.ts";
import type { CliDependencies } from "./dependencies.ts";

export const exitCodes = {
  0: "done",
  1: "failed, or not healthy (`status`, `doctor`)",
  2: "wrong usage",
  3: "the agent is not reachable",
} as const;

export type ExitCode = 0 | 1 | 2 | 3;

/** Ends the command with a code when all there is to say has been printed. */
export class Ended extends Error {
  readonly exitCode: ExitCode;

  constructor(exitCode: ExitCode) {
    super(`ended with ${exitCode}`);
    this.exitCode = exitCode;
  }
}

/** Prints what commander has not printed itself. */
export function report(error: unknown, deps: CliDependencies): ExitCode {
  if (error instanceof Ended) return error.exitCode;
  if (error instanceof CommanderError) {
    return error.code === "commander.helpDisplayed" || error.code === "commander.version" ? 0 : 2;
  }
  const code = error instanceof HawserError ? error.code : "INTERNAL";
  const debug = (deps.env["HAWSER_DEBUG"] ?? "") !== "";
  // Every problem of a policy is for the reader, and there are fifty at most.
  const whole = debug || code === "BAD_POLICY";
  deps.stderr.write(`hawser: ${whole ? messageOf(error) : shortened(messageOf(error))} [${code}]\n`);
  if (debug && error instanceof Error) deps.stderr.write(`${error.stack}\n`);
  return code === "AGENT_UNREACHABLE" ? 3 : 1;
}

const [head, tail] = [2, 12];

/** A BPF verifier's log has thousands of lines, and what matters is at its end. */
function shortened(message: string): string {
  const lines = message.split("\n").map((line) => (line.length > 400 ? `${line.slice(0, 400)}…` : line));
  if (lines.length <= head + tail + 1) return lines.join("\n");
  const left = lines.length - head - tail;
  return [...lines.slice(0, head), `… ${left} lines left out, HAWSER_DEBUG=1 shows them …`, ...lines.slice(-tail)].join("\n");
}
