// What the contract's configuration names and this build cannot do: refused by name when asked for, never ignored.
import type { Problem } from "./read.ts";
import type { Config } from "./schema.ts";

export function unsupported({ loadBalancer }: Config): readonly Problem[] {
  const asked: readonly (readonly [boolean, keyof Config["loadBalancer"], string])[] = [
    [loadBalancer.dispatch !== "geneve", "dispatch", "containers on other nodes are reached by geneve, servers by ipip; leave it at geneve"],
    [loadBalancer.algorithm !== "maglev", "algorithm", "it knows maglev alone"],
  ];
  return asked.filter(([wanted]) => wanted)
    .map(([, key, why]) => ({ path: ["loadBalancer", key], sentence: `this build does not support "loadBalancer.${key}: ${loadBalancer[key]}": ${why}` }));
}
