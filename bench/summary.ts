// Medians with what lies around them, and tables of text.
export interface Summary {
  readonly median: number;
  readonly lowest: number;
  readonly highest: number;
}

export function summary(samples: readonly number[]): Summary {
  return { median: quantile(samples, 0.5), lowest: Math.min(...samples), highest: Math.max(...samples) };
}

/** The value that this share of the samples does not exceed. */
export function quantile(samples: readonly number[], share: number): number {
  const sorted = samples.toSorted((x, y) => x - y);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))] ?? 0;
}

export function shown({ median, lowest, highest }: Summary): string {
  return `${Math.round(median)} (${Math.round(lowest)}…${Math.round(highest)})`;
}

export function table(lines: readonly (readonly string[])[]): string {
  const widths = lines[0]?.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0))) ?? [];
  return lines.map((line) => line.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ").trimEnd()).join("\n");
}
