// Containers that others wired: an address that somebody else is known by is not theirs, and they are judged all the same.
import test from "ava";
import { noCluster } from "../../../src/network/cluster.ts";
import type { ClusterNode, RemoteEndpoint } from "../../../src/network/cluster.ts";
import { syncGuests } from "../../../src/network/sync-guests.ts";
import { emptyState } from "../../../src/network/types.ts";
import type { Network, NetworkId, State } from "../../../src/network/types.ts";
import type { Cidr, Ip } from "../../../src/std/ip.ts";

const subnet = (prefix: string, gateway: string) => ({ prefix: prefix as Cidr, gateway: gateway as Ip });
const network: Network = {
  id: "a".repeat(64) as NetworkId, number: 1, name: "shop", ipv4: subnet("10.44.0.0/24", "10.44.0.1"), ipv6: subnet("fd44::/64", "fd44::1"), internal: false, icc: true,
  masquerade: true, mtu: null, hostBinding4: null, hostBinding6: null, snat4: null, snat6: null, interfacePrefix: "eth", options: {}, createdAt: 0,
};
const state: State = { ...emptyState, networks: new Map([[network.id, network]]) };
const context = { hostPrefixes: ["10.88.0.1/24" as Cidr] };
const guest = (ipv4: string | null, ipv6: string | null) => ({
  id: "default/web", name: "web", containerId: "web", network: "edge", device: "veth1", ifindex: 7, ipv4, ipv6, mac: "02:00:00:00:00:01", labels: {}, own: {},
});

test("R37: a guest that gives itself an address of the host's, of a network of Hawser's or of another node's containers has none, and stays judged", (t) => {
  for (const [ipv4, ipv6] of [["10.88.0.1", null], ["10.44.0.1", null], ["10.44.0.9", null], [null, "fd44::9"]] as const) {
    const { next, reply } = syncGuests(state, [guest(ipv4, ipv6)], context);
    t.like(next.guests.get("default/web"), { device: "veth1", ipv4: null, ipv6: null });
    t.is(reply.refused.length, 1);
  }
  const db: RemoteEndpoint = {
    node: "b", id: "e", containerId: "c", name: "db", names: ["db"], network: "shop", ipv4: "10.60.0.9" as Ip, ipv6: null, mac: "02:42:0a:3c:00:09", identity: 300,
    labels: { network: "shop", project: null, service: null, name: null, own: {} },
  };
  const b: ClusterNode = { name: "b", addresses: [], ipv4: "10.44.2.0/24" as Cidr, ipv6: null, mtu: 1500, names: [] };
  const among = { ...state, cluster: { ...noCluster, kind: "etcd" as const, nodes: new Map([["b", b]]), endpoints: new Map([["b/e", db]]) } };
  for (const stolen of ["10.60.0.9", "10.44.2.77"]) t.is(syncGuests(among, [guest(stolen, null)], context).reply.refused.length, 1, stolen);
  const { next, reply } = syncGuests(state, [guest("10.88.0.2", "fd88::2")], context);
  t.like(next.guests.get("default/web"), { ipv4: "10.88.0.2", ipv6: "fd88::2" } as never);
  t.deepEqual(reply.refused, []);
});
