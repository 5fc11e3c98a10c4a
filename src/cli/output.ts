// How every command answers: a table for people, JSON for programs, and nothing else on stdout.
import { Option, type Command } from "commander";
import type { CliDependencies } from "./dependencies.ts";

export type Format = "table" | "json" | "jsonl";

/** `-o`; lists that stream offer jsonl (one value a line) as well. */
export function outputOption(...formats: readonly Format[]): Option {
  const offered: readonly Format[] = formats.length === 0 ? ["table", "json"] : formats;
  return new Option("-o, --output <format>", "how to print").choices(offered).default("table");
}

export function formatOf(command: Command): Format {
  return command.opts<{ output: Format }>().output;
}

export function printJson(deps: CliDependencies, value: unknown): void {
  deps.stdout.write(`${JSON.stringify(value, plain, 2)}\n`);
}

export function jsonLine(value: unknown): string {
  return `${JSON.stringify(value, plain)}\n`;
}

/** 64-bit counters stay numbers as long as JSON carries them exactly. */
function plain(_key: string, value: unknown): unknown {
  if (typeof value !== "bigint") return value;
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value.toString();
}
