// The desk among other nodes: what it tells the datapath of them and when, which numbers hold, what it has to tell itself.
import test from "ava";
import { firstProvisional, noCluster } from "../../../src/network/cluster.ts";
import type { Cluster, ClusterNode, RemoteEndpoint } from "../../../src/network/cluster.ts";
import type { ContainerIdentity } from "../../../src/network/types.ts";
import { identityKey } from "../../../src/policy/identity.ts";
import type { IdentityLabels } from "../../../src/policy/types.ts";
import { HawserError } from "../../../src/std/errors.ts";
import { parseCidr, parseIp } from "../../../src/std/ip.ts";
import type { Ip } from "../../../src/std/ip.ts";
import { desk, endpointCommand, endpointId, fakeHost, joinCommand, memoryStore, network, networkCommand } from "./fake.ts";
import type { FakeHost, MemoryStore } from "./fake.ts";

const people: Readonly<Record<string, ContainerIdentity>> = {
  [endpointId(1)]: { id: `c1${"0".repeat(62)}`, name: "web", labels: {}, own: { "com.docker.compose.service": "front", tier: "web" }, aliases: ["www"] },
  [endpointId(2)]: { id: `c2${"0".repeat(62)}`, name: "db", labels: {}, own: { tier: "db" } },
};

const labelsOf = (own: Readonly<Record<string, string>>, change: Partial<IdentityLabels> = {}): IdentityLabels =>
  ({ network: "shop", project: null, service: null, name: null, own, ...change });
const dbKey = identityKey(labelsOf({ tier: "db" }));

function node(name: string, change: Partial<ClusterNode> = {}): ClusterNode {
  const last = name.charCodeAt(0);
  return { name, addresses: [parseIp(`192.0.2.${last}`)], ipv4: parseCidr(`10.44.${last}.0/24`), ipv6: null, mtu: 1500, names: [], ...change };
}

function remote(name: string, on: string, change: Partial<RemoteEndpoint> = {}): RemoteEndpoint {
  const last = on.charCodeAt(0);
  return {
    node: on, id: `${name}-${on}`, containerId: `${name}-${on}-container`, name, names: [name], network: "shop", ipv4: parseIp(`10.44.${last}.9`), ipv6: null, mac: "02:42:0a:2c:00:09",
    identity: 300, labels: labelsOf({ tier: name }), ...change,
  };
}

function cluster(change: Partial<Omit<Cluster, "nodes" | "endpoints" | "numbers">> & { readonly nodes?: readonly ClusterNode[]; readonly endpoints?: readonly RemoteEndpoint[]; readonly numbers?: Readonly<Record<string, number>> } = {}): Cluster {
  const { nodes = [node("b")], endpoints = [], numbers = {}, ...rest } = change;
  return {
    ...noCluster, kind: "etcd", ipv4: parseCidr("10.44.1.0/24"), ...rest, nodes: new Map(nodes.map((one) => [one.name, one])),
    endpoints: new Map(endpoints.map((one) => [`${one.node}/${one.id}`, one])), numbers: new Map(Object.entries(numbers)),
  };
}

async function shop({ host = fakeHost(), store = memoryStore(), ...options }: { readonly host?: FakeHost; readonly store?: MemoryStore } & Parameters<typeof desk>[2] = {}) {
  const engine = desk(host, store, { whose: async ({ id }) => people[id] ?? null, ...options });
  await engine.start();
  await engine.commands.createNetwork(networkCommand());
  await engine.commands.reconcile({ networks: [{ id: network, name: "shop", endpoints: [] }] });
  host.calls.length = 0;
  const join = async (...which: readonly number[]): Promise<void> => {
    for (const n of which) {
      await engine.commands.createEndpoint(endpointCommand(n));
      await engine.commands.join(joinCommand(n));
    }
  };
  const numberOf = (name: string): number => engine.queries.endpoints().find((one) => one.name === name)?.identity ?? -1;
  return { host, store, engine, join, numberOf };
}

const policy = (body: string) => ({ documents: [{ file: "shop.yaml", text: `policy: shop\nfor: { network: shop }\n${body}` }], strict: false });

// ---- What the datapath is told.

test("who comes from elsewhere is in the tables before the datapath can take a packet of his", async (t) => {
  const { host, engine } = await shop();
  await engine.commands.syncCluster(cluster({ endpoints: [remote("db", "b")] }));
  t.deepEqual(host.calls, ["do policy of 0 rules", "do cluster of 1 other nodes"]);
  t.true(host.datapath.policy().tables?.classes.has(300));
  t.deepEqual([...(host.cluster?.remotes ?? [])].map(([address, { identity }]) => [address, identity]), [["10.44.98.9" as Ip, 300]]);
});

test("what is known already is no step and no write, and one container's change is one step", async (t) => {
  const { host, store, engine } = await shop();
  const known = cluster({ endpoints: [remote("db", "b"), remote("web", "b", { ipv4: parseIp("10.44.98.10") })] });
  await engine.commands.syncCluster(known);
  store.onWrite = () => t.fail("other nodes are not this store's");
  host.calls.length = 0;
  await engine.commands.syncCluster(known);
  await engine.commands.syncCluster({ ...known });
  t.deepEqual(host.calls, []);
  const before = host.cluster;
  await engine.commands.syncCluster({ ...known, endpoints: new Map([...known.endpoints].map(([key, one]) => [key, one.name === "db" ? { ...one, ipv4: parseIp("10.44.98.11") } : one])) });
  t.deepEqual(host.calls, ["do cluster of 1 other nodes"]);
  t.not(host.cluster, before);
  t.is(host.cluster?.remotes.get(parseIp("10.44.98.10")), before?.remotes.get(parseIp("10.44.98.10")));
});

test("a network here that is made, named and removed changes what containers elsewhere are to the datapath", async (t) => {
  const host = fakeHost();
  const engine = desk(host, memoryStore());
  await engine.start();
  await engine.commands.syncCluster(cluster({ endpoints: [remote("db", "b")] }));
  const seen = (): readonly unknown[] => [host.cluster?.remotes.get(parseIp("10.44.98.9"))?.network === 0, [...(host.cluster?.names.keys() ?? [])].map((key) => key.split("/")[1])];
  await engine.commands.createNetwork(networkCommand());
  t.deepEqual(seen(), [true, []]);
  await engine.commands.reconcile({ networks: [{ id: network, name: "shop", endpoints: [] }] });
  t.deepEqual(seen(), [false, ["db", "db.shop"]]);
  await engine.commands.deleteNetwork(network);
  t.deepEqual(seen(), [true, []]);
});

test("an agent that starts with what was kept of other nodes gives it to the datapath at once, after policy, and again whenever it heals", async (t) => {
  const host = fakeHost();
  const engine = desk(host, memoryStore(), { cluster: cluster({ endpoints: [remote("db", "b")] }) });
  await engine.start();
  t.deepEqual(host.calls, ["do policy of 0 rules", "do cluster of 1 other nodes", "do services: 0"]);
  t.is(host.cluster?.remotes.size, 1);
  host.calls.length = 0;
  await engine.heal();
  await engine.idle();
  t.deepEqual(host.calls, ["do policy of 0 rules", "do cluster of 1 other nodes", "do services: 0"]);
});

test("what the datapath refuses of other nodes leaves everything as it was, and is tried whole the next time", async (t) => {
  const { host, engine } = await shop();
  await engine.commands.syncCluster(cluster({ endpoints: [remote("db", "b")] }));
  const stood = host.cluster;
  host.before = (call) => {
    if (call.startsWith("do cluster")) throw new HawserError("KERNEL", "no room");
  };
  const next = cluster({ nodes: [node("b"), node("c")], endpoints: [remote("db", "b"), remote("web", "c")] });
  await t.throwsAsync(engine.commands.syncCluster(next), { message: /no room/ });
  t.is(host.cluster, stood);
  t.is(engine.queries.remoteEndpoints().length, 1);
  host.before = () => {};
  await engine.commands.syncCluster(next);
  t.deepEqual([host.cluster?.remotes.size, host.cluster?.nodes.map(({ name }) => name).toSorted()], [2, ["b", "c"]]);
});

// ---- Numbers.

test("alone a container's number is as ever; among nodes that agree it is this node's own until they did, and then theirs", async (t) => {
  const { host, engine, join, numberOf } = await shop();
  await join(2);
  t.is(numberOf("db"), 256);
  await engine.commands.syncCluster(cluster());
  const own = numberOf("db");
  t.true(own >= firstProvisional && own < 2 ** 24);
  host.calls.length = 0;
  await engine.commands.syncCluster(cluster({ numbers: { [dbKey]: 277 } }));
  t.is(numberOf("db"), 277);
  t.deepEqual(host.calls.map((call) => call.replace(/ hw\w+/, "")).slice(0, 2), ["do policy of 0 rules", "do endpoint"]);
  t.true(host.datapath.policy().tables?.classes.has(277));
});

test("static peers change no number", async (t) => {
  const { engine, join, numberOf } = await shop();
  await join(2);
  await engine.commands.syncCluster(cluster({ kind: "static" }));
  t.is(numberOf("db"), 256);
  await join(1);
  t.is(numberOf("web"), 257);
});

test("R31: a restart keeps agreed numbers and its own, with the others known from the start or only later", async (t) => {
  for (const early of [true, false]) {
    const store = memoryStore();
    const known = cluster({ numbers: { [dbKey]: 277 } });
    const first = await shop({ store });
    await first.engine.commands.syncCluster(known);
    await first.join(1, 2);
    const numbers = [first.numberOf("web"), first.numberOf("db")];
    t.is(numbers[1], 277);
    const engine = desk(fakeHost(), store, early ? { cluster: known } : {});
    await engine.start();
    if (!early) await engine.commands.syncCluster(known);
    t.deepEqual(engine.queries.endpoints().map(({ identity }) => identity), numbers);
  }
});

test("a number that meant a container here and is somebody else's by agreement means nobody until all carry theirs", async (t) => {
  const { host, engine, join, numberOf } = await shop();
  await engine.commands.applyPolicy(policy("default: { in: deny }\nallow: [\"label(tier=db) -> any\"]\n"));
  await join(2);
  t.is(numberOf("db"), 256);
  const theirs = host.datapath.policy().tables?.classes.get(256)?.class;
  const seen: boolean[] = [];
  host.before = (call) => {
    if (call.startsWith("do endpoint")) seen.push(host.datapath.policy().tables?.classes.has(256) ?? false);
  };
  await engine.commands.syncCluster(cluster({ endpoints: [remote("stranger", "b", { identity: 256 })] }));
  t.deepEqual(seen, [false]);
  const { classes } = host.datapath.policy().tables ?? { classes: new Map<number, { readonly class: number }>() };
  t.is(classes.get(numberOf("db"))?.class, theirs);
  t.not(classes.get(256)?.class, theirs);
  t.true(classes.has(256));
});

// ---- What this node has to tell.

test("told are containers whose labels are known, by all their names, and whose numbers must be agreed on", async (t) => {
  const { engine, join } = await shop();
  await engine.commands.syncCluster(cluster({ numbers: { [dbKey]: 277 } }));
  await join(1, 2, 3);
  await engine.commands.applyPolicy(policy("allow: [db -> cache:11211]\n"));
  const { endpoints, unnumbered, names } = engine.ownRecords();
  t.deepEqual(endpoints.map(({ name, names: all, ipv4, network: on, node: from }) => [name, all, ipv4 as string, on, from]), [
    ["web", ["c10000000000", "front", "web", "www"], "10.50.0.2", "shop", "n1"], ["db", ["c20000000000", "db"], "10.50.0.3", "shop", "n1"],
  ]);
  t.deepEqual(names, ["cache", "db"]);
  // Now that a rule speaks of it, its name counts, and these labels have no agreed number yet.
  t.deepEqual(unnumbered, [identityKey(labelsOf({ tier: "web" }, { service: "front" })), identityKey(labelsOf({ tier: "db" }, { name: "db" }))]);
  await engine.commands.leave({ id: endpointId(1), network });
  t.deepEqual(engine.ownRecords().endpoints.map(({ name }) => name), ["db"]);
});

test("whoever wants to tell hears of each change before its command is answered, and of nothing else", async (t) => {
  const { engine, join } = await shop();
  let heard = 0;
  const listening = engine.onOwnChange(() => heard++);
  await engine.commands.syncCluster(cluster({ endpoints: [remote("db", "b")], nodes: [] }));
  const quiet = heard;
  await engine.commands.syncCluster({ ...cluster(), nodes: noCluster.nodes, numbers: noCluster.numbers });
  await join(2);
  t.true(heard > quiet);
  listening[Symbol.dispose]();
  const last = heard;
  await join(1);
  t.is(heard, last);
});

test("a container's start waits until others know of it, and starts all the same when they cannot", async (t) => {
  const told: string[] = [];
  const { engine, join } = await shop({
    announced: async () => {
      told.push(...engine.ownRecords().endpoints.map(({ name }) => name));
      throw new Error("nobody listens");
    },
  });
  await join(2);
  t.deepEqual(told, ["db"]);
  t.like(engine.queries.endpoints()[0], { name: "db", state: "ready" });
  t.true(engine.lines.some((line) => line.includes("other nodes could not be told")));
});

test("a name that another node's policy speaks of counts here as well, and is not told as this node's own", async (t) => {
  const { engine, join } = await shop();
  await join(2);
  await engine.commands.syncCluster(cluster({ nodes: [node("b", { names: ["db"] })] }));
  t.is(engine.ownRecords().endpoints[0]?.labels.name, "db");
  t.deepEqual(engine.ownRecords().names, []);
});

// ---- Ways out of containers.

test("a container on an internal network is given ways to its network on other nodes, and other ones when they change", async (t) => {
  const host = fakeHost();
  const engine = desk(host, memoryStore());
  await engine.start();
  await engine.commands.createNetwork({ ...networkCommand(), internal: true });
  await engine.commands.reconcile({ networks: [{ id: network, name: "shop", endpoints: [] }] });
  await engine.commands.createEndpoint(endpointCommand(1));
  t.deepEqual((await engine.commands.join(joinCommand(1))).routes, []);
  t.deepEqual(host.calls.filter((call) => call.includes("routes")), [], "on one node alone nothing is asked of the host");
  const told = (...networks: readonly string[]): Cluster => cluster({ networks: new Map([["b", networks.map((subnet) => ({ name: "shop", ipv4: parseCidr(subnet), ipv6: null }))]]) });
  const destinations = (): readonly string[] => host.routes.get(endpointId(1))?.routes.map(({ destination }) => destination) ?? [];
  await engine.commands.syncCluster(told("10.44.98.0/26"));
  t.deepEqual(destinations(), ["10.44.98.0/26"]);
  await engine.commands.syncCluster(told("10.44.98.0/26"));
  t.is(host.calls.filter((call) => call.includes("routes")).length, 1, "what is the same is not done again");
  await engine.commands.syncCluster(told("10.44.98.64/26"));
  t.deepEqual(destinations(), ["10.44.98.64/26"]);
  await engine.commands.createEndpoint(endpointCommand(2));
  t.deepEqual((await engine.commands.join(joinCommand(2))).routes, [{ destination: parseCidr("10.44.98.64/26"), gateway: parseIp("10.50.0.1") }]);
  host.routes = new Map();
  await engine.heal();
  t.deepEqual(destinations(), ["10.44.98.64/26"], "and looked at in every round");
  await engine.commands.leave({ id: endpointId(1), network });
  t.false(host.routes.has(endpointId(1)));
});

test("a container that Docker says is on several networks hears of its routes at Join, of the first network as well", async (t) => {
  const networks = new Map([["b", [{ name: "shop", ipv4: parseCidr("10.44.98.0/26"), ipv6: null }]]]);
  const { engine, host } = await shop({ whose: async () => ({ id: "c9", name: "both", labels: {}, own: {}, several: true }) });
  await engine.commands.syncCluster(cluster({ networks }));
  await engine.commands.createEndpoint(endpointCommand(2));
  const { routes } = await engine.commands.join(joinCommand(2));
  t.deepEqual(routes.map(({ destination }) => destination), [parseCidr("10.44.98.0/26")]);
  t.deepEqual(host.routes.get(endpointId(2))?.given, [parseCidr("10.44.98.0/26")]);
});

test("a node tells of its networks, once it knows their names", async (t) => {
  const { engine } = await shop();
  await engine.commands.createNetwork(networkCommand("b".repeat(64) as never, "10.60.0.0/24"));
  t.deepEqual(engine.ownRecords().networks, [{ name: "shop", ipv4: parseCidr("10.50.0.0/24"), ipv6: null }]);
});

// ---- What people see.

test("lists count and show containers elsewhere, each with its node", async (t) => {
  const { engine, join, numberOf } = await shop();
  await engine.commands.syncCluster(cluster({ numbers: { [dbKey]: 300 }, endpoints: [remote("db", "b"), remote("job", "b", { identity: 301, ipv4: parseIp("10.44.98.10") })] }));
  await join(2);
  t.is(numberOf("db"), 300);
  t.deepEqual(engine.queries.identities(), [{ id: 300, labels: { network: "shop", tier: "db" }, endpoints: 2 }, { id: 301, labels: { network: "shop", tier: "job" }, endpoints: 1 }]);
  t.deepEqual(engine.queries.remoteEndpoints().map(({ name, node: on, networkId, ipv4 }) => [name, on, networkId, ipv4]), [["db", "b", network, "10.44.98.9"], ["job", "b", network, "10.44.98.10"]]);
});

test("alone there is this node and nobody else", async (t) => {
  const { engine } = await shop();
  t.like(engine.queries.nodes()[0], { name: "n1", state: "self", rttMs: null, address: "192.0.2.7" });
  t.deepEqual([engine.queries.nodes().length, (await engine.queries.status()).peers], [1, []]);
});

test("a trace judges containers elsewhere by who they are, also two of them, and by the policy that they carry themselves", async (t) => {
  const { engine, join } = await shop();
  await engine.commands.syncCluster(cluster({ endpoints: [
    remote("cache", "b", { labels: labelsOf({}, { name: "cache" }) }), remote("job", "b", { identity: 301, ipv4: parseIp("10.44.98.10") }),
    remote("shy", "b", { identity: 302, ipv4: parseIp("10.44.98.11"), labels: labelsOf({ "hawser.default.in": "deny" }) }),
  ] }));
  await join(2);
  await engine.commands.applyPolicy(policy("allow: [db -> cache:11211]\ndeny: [\"label(tier=job) -> cache\", \"10.44.0.0/16 -> cache\"]\n"));
  const said = (from: string, to: string) => engine.queries.trace(from, to).verdict;
  t.deepEqual([said("db", "cache:11211"), said("job", "cache:11211"), said("10.44.98.10", "cache"), said("cache", "db"), said("db", "shy:80")], ["allow", "deny", "deny", "allow", "deny"]);
  t.is(engine.queries.trace("db", "shy:80").decidedBy, "default:in");
  const { message } = t.throws(() => engine.queries.trace("db", "10.44.98.77:80"), { instanceOf: HawserError }) as HawserError;
  t.regex(message, /10\.44\.98\.77 lies in node b's slice of the pool, and no container has it/);
});

test("static peers' containers are their addresses: prefixes mean them, `world` does not, and `nodes` are the peers themselves", async (t) => {
  const { engine, join } = await shop();
  await engine.commands.syncCluster(cluster({ kind: "static" }));
  await join(2);
  await engine.commands.applyPolicy(policy("default: { in: deny }\nallow: [\"10.44.98.0/24 -> db:5432\", \"world -> db:80\", \"nodes -> db:81\"]\n"));
  const said = (from: string, to: string) => engine.queries.trace(from, to).verdict;
  t.deepEqual([said("10.44.98.9", "db:5432"), said("10.44.98.9", "db:80"), said("198.51.100.1", "db:80"), said("nodes", "db:81"), said("192.0.2.98", "db:80")], ["allow", "deny", "allow", "allow", "deny"]);
});

test("networks that name no MTU leave room for the tunnel, and never less than IPv6 needs", async (t) => {
  for (const [overhead, mtu] of [[0, 1500], [50, 1450], [70, 1430], [400, 1280]] as const) {
    const { engine, join } = await shop({ overhead });
    await join(2);
    t.is(engine.queries.endpoints()[0]?.mtu, mtu);
  }
});
