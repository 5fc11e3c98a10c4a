// One small node as plain data: what the API's and the command line's tests look at.
import type {
  ApplyDocuments, EndpointId, EndpointView, FlowQuery, FlowView, IdentityView, MapEntryView, MapView, NetworkId, NetworkView, NodeView, PolicyText, PolicyView, PortView,
  ServiceText, ServiceTraffic, ServiceView, Status, TraceView,
} from "../../../src/engine/types.ts";
import type { ApiCommands, ApiQueries } from "../../../src/api/server.ts";
import { HawserError } from "../../../src/std/errors.ts";
import { parseIp } from "../../../src/std/ip.ts";
import { createLog, type Log } from "../../../src/std/log.ts";

export const shop = { id: "a1".repeat(32) as NetworkId, name: "shop" };
export const back = { id: "a2".repeat(32) as NetworkId, name: "back" };

export const web: EndpointView = {
  id: `4f0c${"1".repeat(60)}` as EndpointId, name: "web", containerId: `c0ffee${"0".repeat(58)}`, network: shop.name, networkId: shop.id,
  node: "edge-1", ipv4: "10.44.0.2", ipv6: "fd44::2", mac: "02:42:0a:2c:00:02", identity: 256, labels: { tier: "front", "a=b": "c, d" },
  state: "ready", hostInterface: "hw4f0c1111111", default: { in: "allow", out: "allow" }, mtu: 1500, notes: [],
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
  ...web, id: `77${"3".repeat(62)}` as EndpointId, name: "", containerId: "", identity: 0, labels: {}, state: "init", ipv4: "10.44.0.3", ipv6: "fd44::3", ports: [],
  hostInterface: "hw77333333333",
};

export const db: EndpointView = {
  ...web, id: `99${"4".repeat(62)}` as EndpointId, name: "db", containerId: `c0ffff${"0".repeat(58)}`, ipv4: "10.44.0.4", ipv6: "fd44::4", ports: [
    { protocol: "udp", containerPort: 53, hostIp: parseIp("127.0.0.1"), hostPort: 5353 },
  ],
  identity: 257, default: { in: "deny", out: "allow" }, notes: ["container db-admin shares its namespace and speaks with its identity"],
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
    { part: "docker", state: "degraded", detail: "has not answered for 12 s", findings: [{ detail: "has not answered for 12 s", mend: "start it" }] },
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
  peers: [],
};

export const nodes: readonly NodeView[] = [
  { name: "edge-1", address: "192.0.2.10", ipv4: "10.44.0.0/24", ipv6: "fd44::/64", state: "self", lastSeen: Date.UTC(2026, 0, 1), rttMs: null, mtu: 1500, endpoints: 4 },
  { name: "edge-2", address: "192.0.2.20", ipv4: "10.44.2.0/24", ipv6: "fd44:0:0:2::/64", state: "ready", lastSeen: Date.UTC(2026, 0, 1, 3, 12, 4), rttMs: 0.418, mtu: 1500, endpoints: 1 },
  { name: "edge-3", address: "2001:db8::30", ipv4: "10.44.3.0/24", ipv6: "", state: "unreachable", lastSeen: 0, rttMs: null, mtu: 9000, endpoints: 0 },
];

/** On another node. */
export const far: EndpointView = {
  ...web, id: `aa${"5".repeat(62)}` as EndpointId, name: "cache", containerId: `c0dddd${"0".repeat(58)}`, node: "edge-2", ipv4: "10.44.2.2", ipv6: "", mac: "02:42:0a:2c:02:02",
  identity: 300, labels: {}, hostInterface: "", mtu: 0, ports: [],
};

export const entries: readonly MapEntryView[] = [
  { key: { ifindex: 7 }, value: { mac: "02:42:0a:2c:00:02", ipv4: "10.44.0.2", flags: [1, 2] } },
  { key: { ifindex: 9 }, value: { mac: "02:42:0a:2c:00:04", packets: 2n ** 60n } },
];

export const identities: readonly IdentityView[] = [
  { id: 256, labels: { network: "shop", service: "web", "a=b": "c, d" }, endpoints: 2 },
  { id: 257, labels: { network: "shop", service: "db" }, endpoints: 1 },
];

export const policies: readonly PolicyView[] = [
  { name: "shop", source: "apply /srv/shop.yaml", revision: 2, rules: 3, endpoints: 3, state: "enforced", error: null },
  { name: "old", source: "directory /etc/hawser/policy.d/old.yaml", revision: 1, rules: 1, endpoints: 0, state: "rejected", error: "old.yaml:2:3: no key is called \"alow\"" },
];

export const policyText = "policy: shop\nallow:\n  - web -> db:5432\n";

const shopRule = { policy: "shop", rule: "web -> db:5432", file: "/srv/shop.yaml", line: 3 };

export const trace: TraceView = {
  verdict: "allow", decidedBy: shopRule, end: "out", protocol: "tcp", port: 5432,
  from: { name: "web", address: "10.44.0.2", identity: 256, labels: { service: "web" } },
  to: { name: "db", address: "10.44.0.4", identity: 257, labels: {} },
  others: [{
    verdict: "deny", decidedBy: "between-networks", end: "in", protocol: "tcp", port: 5432,
    from: { name: "web", address: "10.44.1.2", identity: 258, labels: {} }, to: { name: "db", address: "10.44.0.4", identity: 257, labels: {} }, others: [],
  }],
};

/** 03:12:00 UTC and some nanoseconds. */
const flowStart = BigInt(Date.UTC(2026, 0, 1, 3, 12)) * 1_000_000n + 7n;

const opened: FlowView = {
  time: flowStart, verdict: "FORWARDED", reason: "", protocol: 6, tcpFlags: 2, icmpType: 0, icmpCode: 0, family: 4, direction: "from-container",
  device: "hw4f0c1111111", length: 74, end: "out", decidedBy: shopRule, node: "edge-1",
  source: { address: "10.44.0.2", port: 40_000, identity: 256, labels: { network: "shop", service: "web" }, name: "web", containerId: web.containerId, network: "shop" },
  destination: { address: "10.44.0.4", port: 5432, identity: 257, labels: {}, name: "db", containerId: db.containerId, network: "shop" },
};

const outside = { address: "203.0.113.9", port: 51_000, identity: 0, labels: {}, name: "", containerId: "", network: "" };

export const flows: readonly FlowView[] = [
  opened,
  { ...opened, time: flowStart + 1_000_000_000n, verdict: "DROPPED", reason: "POLICY_DEFAULT_IN", source: outside, end: "in", decidedBy: "default:in", direction: "from-uplink", device: "eth0" },
  {
    ...opened, time: flowStart + 2_000_000_000n, verdict: "AUDIT", protocol: 58, family: 6, tcpFlags: 0, icmpType: 128, decidedBy: { ...shopRule, rule: "web -> internet", line: 9 },
    source: { ...opened.source, address: "fd44::2", port: 0 }, destination: { ...outside, address: "2001:db8::9", port: 0 },
  },
  { ...opened, time: flowStart + 3_000_000_000n, verdict: "DROPPED", reason: "INVALID_SOURCE_MAC", protocol: 0, family: 0, tcpFlags: 0, end: null, decidedBy: null, source: { ...outside, address: "", port: 0 }, destination: { ...outside, address: "", port: 0 } },
];

/** Answers as the engine does, but for names: only the container's own are known. What follows is what `coming` brings. */
export function flowsOf(remembered: readonly FlowView[], coming: AsyncIterable<FlowView> = nothing()): ApiQueries["flows"] {
  return async function* (query, signal) {
    const fits = (flow: FlowView): boolean => isAsked(flow, query);
    const before = remembered.filter(fits);
    if (query.last > 0) yield* before.slice(-query.last);
    if (!query.follow) return;
    for await (const flow of coming) if (signal?.aborted !== true && fits(flow)) yield flow;
    await new Promise<void>((resolve) => {
      if (signal?.aborted === true) resolve();
      signal?.addEventListener("abort", () => resolve(), { once: true });
    });
  };
}

function isAsked(flow: FlowView, query: FlowQuery): boolean {
  const is = (name: string, end: FlowView["source"]): boolean => name === "" || name === end.name;
  return (query.verdicts.length === 0 || query.verdicts.includes(flow.verdict)) && flow.time >= BigInt(query.since) * 1_000_000n
    && is(query.from, flow.source) && is(query.to, flow.destination) && (is(query.with, flow.source) || is(query.with, flow.destination));
}

async function* nothing(): AsyncGenerator<FlowView> {}

/** Two of web's backends, one of which another service reaches the same way. */
export const traffic: ServiceTraffic = {
  flows: new Map([["web", 12]]),
  backends: [
    { services: ["web"], backend: "edge-1/shop/web:8080", packets: 2n ** 60n, bytes: 2n ** 62n, begun: 40n, flows: 5 },
    { services: ["api", "web"], backend: "192.0.2.7:8080", packets: 10n, bytes: 600n, begun: 9n, flows: 7 },
  ],
};

export const services: readonly ServiceView[] = [
  {
    name: "web", source: "apply /srv/web.yaml", nodes: ["edge-1"], revision: 2, state: "enforced", error: null, mode: "auto", algorithm: "maglev", flows: null,
    frontends: [{ address: "203.0.113.10", port: 80, protocol: "tcp", holder: "edge-1" }, { address: "2001:db8::10", port: 80, protocol: "tcp", holder: "edge-2" }],
    backends: [
      { address: "10.44.0.2", port: 8080, weight: 1, node: "edge-1", state: "active", identity: "edge-1/shop/web:8080" },
      { address: "10.44.1.7", port: 8080, weight: 1, node: "edge-2", state: "draining", identity: "edge-2/shop/web:8080" },
      { address: "192.0.2.7", port: 8080, weight: 2, node: "", state: "down", identity: "192.0.2.7:8080" },
      { address: "fd44::2", port: 8080, weight: 1, node: "edge-1", state: "active", identity: "edge-1/shop/web:8080" },
    ],
  },
  {
    name: "dns.yaml", source: "directory /etc/hawser/service.d/dns.yaml", nodes: ["edge-1"], revision: 0, state: "rejected", mode: "auto", algorithm: "maglev", flows: null, frontends: [], backends: [],
    error: '/etc/hawser/service.d/dns.yaml:2:14: "udq" is no protocol of a frontend; there are tcp, udp, sctp',
  },
];
export const serviceText = 'service: web\nfrontends: ["203.0.113.10:80", "[2001:db8::10]:80"]\n';

export function queriesOf(change: Partial<ApiQueries> = {}): ApiQueries {
  return {
    status: () => Promise.resolve(status),
    endpoints: () => endpoints,
    remoteEndpoints: () => [far],
    nodes: () => nodes,
    networks: () => networks,
    ports: () => ports,
    maps: () => Promise.resolve(maps),
    dumpMap: (_name, limit) => Promise.resolve(entries.slice(0, limit)),
    identities: () => identities,
    policies: () => policies,
    policy: (name) => {
      const found = policies.find((policy) => policy.name === name);
      if (found === undefined) throw new HawserError("NOT_FOUND", `no policy "${name}" exists; known are shop, old`);
      return { ...found, text: policyText } satisfies PolicyText;
    },
    trace: () => trace,
    services: () => services,
    service: (name) => {
      const found = services.find((service) => service.name === name);
      if (found === undefined) throw new HawserError("NOT_FOUND", `no service is called "${name}"; there are web`);
      return { ...found, text: serviceText } satisfies ServiceText;
    },
    flows: flowsOf(flows),
    serviceTraffic: async () => traffic,
    flowCounts: () => ({ FORWARDED: 7, DROPPED: 5, AUDIT: 1 }),
    ...change,
  };
}

export const commands: ApiCommands = {
  reconcile: () => Promise.resolve({ removedEndpoints: [web.id], removedNetworks: [], identified: 2, restored: [], refused: [] }),
  sweep: () => Promise.resolve([{ kind: "link", name: "hwdeadbeef000" }]),
  applyPolicy: (command) => Promise.resolve({ applied: command.documents.map(({ file }) => file), warnings: [], revision: 3 }),
  deletePolicy: () => Promise.resolve(),
  applyService: (command) => Promise.resolve({ applied: command.documents.map(({ file }) => file), warnings: ["web.yaml:3:12: nobody serves by this"] }),
  deleteService: () => Promise.resolve(),
};

/** The commands, with what was applied and deleted written down. */
export function recorded(change: Partial<ApiCommands> = {}): { readonly commands: ApiCommands; readonly applied: ApplyDocuments[]; readonly deleted: string[];
  readonly appliedServices: Pick<ApplyDocuments, "documents">[]; readonly deletedServices: string[];
} {
  const [applied, deleted]: [ApplyDocuments[], string[]] = [[], []];
  const [appliedServices, deletedServices]: [Pick<ApplyDocuments, "documents">[], string[]] = [[], []];
  return {
    applied, deleted, appliedServices, deletedServices,
    commands: {
      ...commands,
      applyPolicy: (command, signal) => (applied.push(command), (change.applyPolicy ?? commands.applyPolicy)(command, signal)),
      deletePolicy: (name, signal) => (deleted.push(name), (change.deletePolicy ?? commands.deletePolicy)(name, signal)),
      applyService: (command, signal) => (appliedServices.push(command), (change.applyService ?? commands.applyService)(command, signal)),
      deleteService: (name, signal) => (deletedServices.push(name), (change.deleteService ?? commands.deleteService)(name, signal)),
    },
  };
}

export function logTo(lines: string[]): Log {
  return createLog((line) => lines.push(line), () => 0, "debug");
}
