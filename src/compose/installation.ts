// Where this build's own files lie.
import { readFileSync } from "node:fs";
import { join } from "node:path";

export const root = join(import.meta.dirname, "../..");
/** The compiled BPF objects. */
export const objectDirectory = join(root, "build/bpf");
export const objects = ["from-container", "to-container", "from-host", "netdev", "sock-lb", "from-guest", "to-guest", "from-overlay", "xdp-lb"].map((name) => join(objectDirectory, `${name}.bpf.o`));
export const addon = join(root, "build/hawser.node");

export function version(): string {
  const { version: text } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { readonly version: string };
  return text;
}

export function stateFile(folder: string): string {
  return join(folder, "hawser.db");
}
