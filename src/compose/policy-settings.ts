// What the rest of the configuration means for policy: services of the host that containers reach only by a rule.
import { readFileSync } from "node:fs";
import type { Config } from "../config/schema.ts";

/** Docker's API over TCP, plain and with TLS: whoever reaches it owns the host (R52). */
const dockerPorts = [2375, 2376];

/** TCP ports. */
export function hostServices(config: Config, daemonFile = "/etc/docker/daemon.json"): readonly number[] {
  const own = config.metrics.listen === null ? [] : [Number(config.metrics.listen.slice(config.metrics.listen.lastIndexOf(":") + 1))];
  return [...new Set([...dockerPorts, ...own, ...portsOfDocker(daemonFile)])].toSorted((a, b) => a - b);
}

/** Where dockerd's own file has it listen. */
function portsOfDocker(file: string): readonly number[] {
  try {
    const { hosts } = JSON.parse(readFileSync(file, "utf8")) as { readonly hosts?: unknown };
    if (!Array.isArray(hosts)) return [];
    return hosts.flatMap((host) => {
      const port = typeof host === "string" ? /^tcp:.*:(\d{1,5})$/.exec(host)?.[1] : undefined;
      return port === undefined ? [] : [Number(port)];
    });
  } catch {
    return [];
  }
}
