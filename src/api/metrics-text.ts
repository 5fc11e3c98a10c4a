// Prometheus' text format 0.0.4 (https://prometheus.io/docs/instrumenting/exposition_formats).

/** Labels by name, and the value. */
export type Sample = readonly [labels: Readonly<Record<string, string>>, value: number | bigint];

/** One metric with all its samples; without samples only what it is for. Ends in a newline. */
export function family(name: string, type: "counter" | "gauge", help: string, samples: readonly Sample[]): string {
  return [`# HELP ${name} ${escaped(help)}`, `# TYPE ${name} ${type}`, ...samples.map(([labels, value]) => `${name}${labelText(labels)} ${String(value)}`), ""].join("\n");
}

function labelText(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([key, value]) => `${key}="${escaped(value).replaceAll("\"", "\\\"")}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function escaped(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}
