// Tables as kubectl and docker print them: a heading line, columns three spaces apart, no frames.
import type { Paint } from "./style.ts";

export interface Column<Row> {
  readonly title: string;
  readonly value: (row: Row) => string | number;
  readonly right?: boolean;
  readonly paint?: (row: Row) => Paint | undefined;
}

/** Ends in a newline. An empty cell shows as "-", so that every line has as many words as the heading. */
export function table<Row>(columns: readonly Column<Row>[], rows: readonly Row[], heading: Paint = (text) => text): string {
  const cells = rows.map((row) => columns.map((column) => String(column.value(row)) || "-"));
  const widths = columns.map((column, i) => Math.max(column.title.length, ...cells.map((line) => line[i]?.length ?? 0)));
  const pad = (text: string, i: number, paint?: Paint): string => {
    const space = " ".repeat(Math.max(0, (widths[i] ?? 0) - text.length));
    const painted = paint ? paint(text) : text;
    if (columns[i]?.right) return space + painted;
    return i === columns.length - 1 ? painted : painted + space;
  };
  const lines = [
    columns.map((column, i) => pad(column.title, i, heading)).join("   "),
    ...cells.map((line, r) => line.map((text, i) => pad(text, i, columns[i]?.paint?.(rows[r] as Row))).join("   ")),
  ];
  return lines.map((line) => `${line.trimEnd()}\n`).join("");
}

/** `name  value` lines, values aligned; pairs without a value show "-". */
export function details(pairs: readonly (readonly [name: string, value: string | number])[], name: Paint = (text) => text): string {
  const width = Math.max(...pairs.map(([label]) => label.length));
  return pairs.map(([label, value]) => `${name(label)}${" ".repeat(width - label.length + 3)}${String(value) || "-"}\n`).join("");
}

/** Breaks at spaces so that no line is wider than `width`, where that can be. */
export function wrap(text: string, width: number): readonly string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else {
      line = line === "" ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}

/** `1 rule`, `2 rules`, `2 policies`. */
export function many(count: number, noun: string): string {
  return `${count} ${count === 1 ? noun : noun.endsWith("y") ? `${noun.slice(0, -1)}ies` : `${noun}s`}`;
}

/** `3 d 4 h`, `12 min`, `8 s`: the two largest units. */
export function duration(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const units = [["d", 86_400], ["h", 3600], ["min", 60], ["s", 1]] as const;
  const at = units.findIndex(([, size]) => seconds >= size);
  if (at < 0) return "0 s";
  let rest = seconds;
  return units
    .slice(at, at + 2)
    .map(([unit, size]) => {
      const count = Math.floor(rest / size);
      rest -= count * size;
      return count === 0 ? "" : `${count} ${unit}`;
    })
    .filter((text) => text !== "")
    .join(" ");
}
