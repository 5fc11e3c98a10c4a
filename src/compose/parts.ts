// Parts of the status that follow from the configuration: what it asks for that has no effect, or is not there yet.
import { readdirSync } from "node:fs";
import type { Config } from "../config/schema.ts";
import type { PartStatus } from "../engine/types.ts";

export function configuredParts(config: Config): readonly PartStatus[] {
  const { services, containerd, docker } = config;
  const parts: PartStatus[] = [
    { part: "routing", state: "ok", detail: routingLine(config) },
    directory("services", services.directory, "services"),
  ];
  if (!containerd.enabled) parts.push({ part: "containerd", state: "off", detail: "containerd.enabled is false" });
  if (!docker.enabled) parts.push({ part: "docker", state: "off", detail: "docker.enabled is false" });
  return parts;
}

function routingLine({ routing: { mode, encapsulation, port }, store, peers }: Config): string {
  if (store.kind === "embedded" && peers.length === 0) return `${mode}; with one host there is nothing to route between nodes`;
  return mode === "native" ? "native: to other nodes' containers by routes" : `overlay: ${encapsulation} on UDP port ${port}`;
}

/** Files that this build would have to obey and cannot are a problem that must be seen. */
function directory(part: string, folder: string, what: string): PartStatus {
  const files = filesIn(folder);
  if (files.length === 0) return { part, state: "off", detail: `none; this build knows no ${what}` };
  return { part, state: "degraded", detail: `this build knows no ${what}: ${files.join(", ")} in ${folder} are NOT in force; move them away` };
}

function filesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder).filter((name) => name.endsWith(".yaml")).toSorted();
  } catch {
    return [];
  }
}
