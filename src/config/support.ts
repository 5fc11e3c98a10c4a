// What the contract's configuration names and this build cannot do: refused by name when asked for, never ignored.
import { HawserError } from "../std/errors.ts";
import type { Config } from "./schema.ts";

/** @throws HawserError UNSUPPORTED naming every such key. */
export function assertSupported(config: Config, file: string): void {
  const { loadBalancer } = config;
  const asked: readonly (readonly [boolean, string, string])[] = [
    [loadBalancer.mode !== "auto", `loadBalancer.mode: ${loadBalancer.mode}`, "it balances no services; leave it at auto"],
    [loadBalancer.dispatch !== "geneve", `loadBalancer.dispatch: ${loadBalancer.dispatch}`, "it balances no services; leave it at geneve"],
    [loadBalancer.algorithm !== "maglev", `loadBalancer.algorithm: ${loadBalancer.algorithm}`, "it balances no services; leave it at maglev"],
    [loadBalancer.maglevTable !== 16381, `loadBalancer.maglevTable: ${loadBalancer.maglevTable}`, "it balances no services; leave it at 16381"],
    [!["auto", "off"].includes(loadBalancer.acceleration), `loadBalancer.acceleration: ${loadBalancer.acceleration}`, "it has no XDP program; leave it at auto"],
  ];
  const refused = asked.filter(([wanted]) => wanted);
  if (refused.length === 0) return;
  throw new HawserError("UNSUPPORTED", refused.map(([, key, why]) => `${file}: this build does not support "${key}": ${why}`).join("; "));
}
