// A node without others.
import type { Cluster } from "../network/cluster.ts";

export const alone: Cluster = { kind: "alone", ipv4: null, ipv6: null, nodes: new Map(), networks: new Map(), endpoints: new Map(), numbers: new Map() };
