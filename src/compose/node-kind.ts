// By what the configuration says other nodes come and go.
import type { Config } from "../config/schema.ts";
import type { ClusterKind } from "../network/cluster.ts";

export function kindOf({ store, peers }: Pick<Config, "store" | "peers">): ClusterKind {
  if (store.kind === "etcd") return "etcd";
  return peers.length > 0 ? "static" : "alone";
}
