// Parts of the status that follow from the configuration.
import type { Config } from "../config/schema.ts";
import type { PartStatus } from "../engine/types.ts";

export function configuredParts(config: Config): readonly PartStatus[] {
  const { containerd, docker } = config;
  const parts: PartStatus[] = [{ part: "routing", state: "ok", detail: routingLine(config) }];
  if (!containerd.enabled) parts.push({ part: "containerd", state: "off", detail: "containerd.enabled is false" });
  if (!docker.enabled) parts.push({ part: "docker", state: "off", detail: "docker.enabled is false" });
  return parts;
}

function routingLine({ routing: { mode, encapsulation, port }, store, peers }: Config): string {
  if (store.kind === "embedded" && peers.length === 0) return `${mode}; with one host there is nothing to route between nodes`;
  return mode === "native" ? "native: to other nodes' containers by routes" : `overlay: ${encapsulation} on UDP port ${port}`;
}
