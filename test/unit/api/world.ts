// One small node as plain data: what the API's and the command line's tests look at.
import type {
  EndpointId, EndpointView, MapEntryView, MapView, NetworkId, NetworkView, PortView, Status,
} from "../../../src/engine/types.ts";
import type { ApiCommands, ApiQueries } from "../../../src/api/server.ts";
import { parseIp } from "../../../src/std/ip.ts";
import { createLog, type Log } from "../../../src/std/log.ts";

export const shop = { id: "a1".repeat(32) as NetworkId, name: "shop" };
export const back = { id: "a2".repeat(32) as NetworkId, name: "back" };

export const web: EndpointView = {
  id: `4f0c${"1".repeat(60)}` as EndpointId, name: "web", containerId: `c0ffee${"0".repeat(58)}`, network: shop.name, networkId: shop.id,
  node: "edge-1", ipv4: "10.44.0.2", ipv6: "fd44::2", mac: "02:42:0a:2c:00:02", identity: 0, labels: { tier: "front", "a=b": "c, d" },
  state: "ready", hostInterface: "hw4f0c1111111", default: { in: "allow", out: "allow" }, mtu: 1500,
  ports: [
    { protocol: "tcp", containerPort: 80, hostIp: parseIp("0.0.0.0"), hostPort: 8080 },
    { protocol: "tcp", containerPort: 80, hostIp: parseIp("::"), hostPort: 8080 },
  ],
};

/** The same container on a second network. */
export const webBack: EndpointView = {
  ...web, id: `4f0d${"2".repeat(60)}` as EndpointId, network: back.name, networkId: back.id, ipv4: "10.44.1.2", ipv6: "", ports: [],
  hostInterface: "hw4f0d2222222",
};

/** Docker has not told yet who this is. */
export const unknown: EndpointView = {
  ...web, id: `77${"3".repeat(62)}` as EndpointId, name: "", containerId: "", labels: {}, state: "init", ipv4: "10.44.0.3", ipv6: "fd44::3", ports: [],
  hostInterface: "hw77333333333",
};

export const db: EndpointView = {
  ...web, id: `99${"4".repeat(62)}` as EndpointId, name: "db", containerId: `c0ffff${"0".repeat(58)}`, ipv4: "10.44.0.4", ipv6: "fd44::4", ports: [
    { protocol: "udp", containerPort: 53, hostIp: parseIp("127.0.0.1"), hostPort: 5353 },
  ],
};

export const endpoints: readonly EndpointView[] = [web, webBack, unknown, db];

export const shopNetwork: NetworkView = {
  id: shop.id, name: shop.name, ipv4: "10.44.0.0/26", gateway4: "10.44.0.1", ipv6: "fd44::/64", gateway6: "fd44::1", internal: false,
  endpoints: 3, mtu: 1400, options: { "com.docker.network.driver.mtu": "1400" },
};

export const backNetwork: NetworkView = { id: back.id, name: back.name, ipv4: "10.44.1.0/26", gateway4: "10.44.1.1", ipv6: "", gateway6: "", internal: true, endpoints: 1, mtu: null, options: {} };

export const networks: readonly NetworkView[] = [shopNetwork, backNetwork];

export const ports: readonly PortView[] = endpoints.flatMap((endpoint) =>
  endpoint.ports.map((port) => ({ ...port, container: endpoint.name, containerId: endpoint.containerId, endpoint: endpoint.id, network: endpoint.network })));

export const maps: readonly MapView[] = [
  { name: "hw_endpoints", type: "hash", keySize: 4, valueSize: 48, capacity: 4096, entries: 4 },
  { name: "hw_metrics", type: "percpu_array", keySize: 4, valueSize: 16, capacity: 512, entries: 512 },
  { name: "hw_ct4", type: "lru_hash", keySize: 16, valueSize: 64, capacity: 131_072, entries: 130_000 },
];

export const status: Status = {
  node: "edge-1", version: "0.1.0", ready: true, problems: [],
  parts: [
    { part: "store", state: "ok", detail: "/var/lib/hawser/hawser.db" },
    { part: "docker", state: "degraded", detail: "has not answered for 12 s" },
    { part: "containerd", state: "off", detail: "" },
  ],
  counts: { networks: 2, endpoints: 4, ports: 3, pools: 3 },
  kernel: {
    release: "6.18.0", features: { tcx: true, xdp: false },
    programs: [
      { name: "netdev", device: "eth0", hook: "ingress", mode: "tcx" },
      { name: "from_container", device: "hw4f0c1111111", hook: "ingress", mode: "tcx" },
      { name: "from_container", device: "hw4f0d2222222", hook: "ingress", mode: "tcx" },
      { name: "connect4", device: "/sys/fs/cgroup", hook: "connect4", mode: "cgroup" },
      { name: "bind4", device: "/sys/fs/cgroup", hook: "bind4", mode: "cgroup" },
    ],
    uplinks: ["eth0"],
  },
  counters: [
    { direction: "egress", reason: "NO_ROUTE", packets: 3n, bytes: 180n },
    { direction: "ingress", reason: "MARTIAN", packets: 2n ** 60n, bytes: 2n ** 62n },
  ],
  startedAt: Date.UTC(2026, 0, 1),
};

export const entries: readonly MapEntryView[] = [
  { key: { ifindex: 7 }, value: { mac: "02:42:0a:2c:00:02", ipv4: "10.44.0.2", flags: [1, 2] } },
  { key: { ifindex: 9 }, value: { mac: "02:42:0a:2c:00:04", packets: 2n ** 60n } },
];

export function queriesOf(change: Partial<ApiQueries> = {}): ApiQueries {
  return {
    status: () => Promise.resolve(status),
    endpoints: () => endpoints,
    networks: () => networks,
    ports: () => ports,
    maps: () => Promise.resolve(maps),
    dumpMap: (_name, limit) => Promise.resolve(entries.slice(0, limit)),
    ...change,
  };
}

export const commands: ApiCommands = {
  reconcile: () => Promise.resolve({ removedEndpoints: [web.id], removedNetworks: [], identified: 2, restored: [], refused: [] }),
  sweep: () => Promise.resolve([{ kind: "link", name: "hwdeadbeef000" }]),
};

export function logTo(lines: string[]): Log {
  return createLog((line) => lines.push(line), () => 0, "debug");
}
