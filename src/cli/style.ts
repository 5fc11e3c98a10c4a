// Colours, when there are eyes to see them: on a terminal, unless NO_COLOR is set.
import type { CliDependencies } from "./dependencies.ts";

export type Paint = (text: string) => string;

export interface Style {
  readonly bold: Paint;
  readonly dim: Paint;
  readonly green: Paint;
  readonly yellow: Paint;
  readonly red: Paint;
}

/** https://no-color.org: any value but the empty one. */
export function hasColours(deps: Pick<CliDependencies, "isTTY" | "env">): boolean {
  return deps.isTTY && (deps.env["NO_COLOR"] ?? "") === "" && deps.env["TERM"] !== "dumb";
}

export function styleFor(deps: Pick<CliDependencies, "isTTY" | "env">): Style {
  const paint = hasColours(deps)
    ? (on: number, off: number): Paint => (text) => (text === "" ? "" : `\x1b[${on}m${text}\x1b[${off}m`)
    : (): Paint => (text) => text;
  return { bold: paint(1, 22), dim: paint(2, 22), green: paint(32, 39), yellow: paint(33, 39), red: paint(31, 39) };
}
