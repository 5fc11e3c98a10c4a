// What the contract's configuration names and this build cannot do: refused by name when asked for, never ignored.
import { HawserError } from "../std/errors.ts";
import type { Config } from "./schema.ts";

/** @throws HawserError UNSUPPORTED naming every such key. */
export function assertSupported(config: Config, file: string): void {
  const { loadBalancer } = config;
  const asked: readonly (readonly [boolean, string, string])[] = [
    [loadBalancer.dispatch !== "geneve", `loadBalancer.dispatch: ${loadBalancer.dispatch}`, "containers on other nodes are reached by geneve, servers by ipip; leave it at geneve"],
    [loadBalancer.algorithm !== "maglev", `loadBalancer.algorithm: ${loadBalancer.algorithm}`, "it knows maglev alone"],
  ];
  const refused = asked.filter(([wanted]) => wanted);
  if (refused.length === 0) return;
  throw new HawserError("UNSUPPORTED", refused.map(([, key, why]) => `${file}: this build does not support "${key}": ${why}`).join("; "));
}
