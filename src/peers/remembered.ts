// What a starting agent knows of the others before it has heard anybody: what it remembered, or what the configuration says.
import type { Cluster } from "../network/cluster.ts";
import { loadCache } from "./cache.ts";
import { alone } from "./alone.ts";
import { checkedPeers, staticCluster } from "./static-door.ts";
import type { PeersDoorOptions } from "./types.ts";
import { openView } from "./view.ts";

/** @throws HawserError BAD_CONFIG for peers that cannot be. */
export async function rememberedCluster({ kind, peers, node, pool, cacheFile, log }: Pick<PeersDoorOptions, "kind" | "peers" | "node" | "pool" | "cacheFile" | "log">): Promise<Cluster> {
  if (kind === "alone") return alone;
  if (kind === "static") return staticCluster(checkedPeers(peers, node.name, pool), node.mtu());
  const view = openView({ self: node.name, pool, log, addresses: () => node.addresses(), answers: () => false });
  view.takeAll((await loadCache(cacheFile, log)).entries);
  return view.cluster();
}
