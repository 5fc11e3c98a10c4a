// What a starting agent knows of the others before it touches anything: what the store says at once, what it remembered, or what the configuration says.
import type { Cluster } from "../network/cluster.ts";
import { loadCache } from "./cache.ts";
import { alone } from "./alone.ts";
import { checkedPeers, staticCluster } from "./static-door.ts";
import type { PeersDoorOptions } from "./types.ts";
import { openView } from "./view.ts";

export type Remembering = Pick<PeersDoorOptions, "kind" | "store" | "peers" | "node" | "pool" | "cacheFile" | "clock" | "log">;

/** Milliseconds. A store that is there answers sooner, and one that is not shall not keep an agent from its containers. */
const patience = 1000;

/**
 * The file may be as old as half a minute: whoever came since would be cut off until the store is followed.
 * @throws HawserError BAD_CONFIG for peers that cannot be.
 */
export async function rememberedCluster({ kind, store, peers, node, pool, cacheFile, clock, log }: Remembering): Promise<Cluster> {
  if (kind === "alone") return alone;
  if (kind === "static") return staticCluster(checkedPeers(peers, node.name, pool), node.mtu());
  const view = openView({ self: node.name, pool, log, addresses: () => node.addresses(), answers: () => false });
  view.takeAll((await loadCache(cacheFile, log)).entries);
  try {
    const entries = await store?.list("", clock.deadline(patience));
    if (entries !== undefined) view.takeAll(entries);
  } catch (error) {
    log.warn("the store does not answer at once; the agent starts on what it remembered of the other nodes", { error });
  }
  return view.cluster();
}
