// Other nodes in the maps: where tunnels end, whose slices and containers are whose.
import type { ClusterPlan } from "../network/cluster.ts";
import type { Host } from "./host.ts";

/** Makes the maps what the plan says, touching only what differs. */
export async function installCluster(_host: Host, _cluster: ClusterPlan): Promise<void> {}
