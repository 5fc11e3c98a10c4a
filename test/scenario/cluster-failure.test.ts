// etcd fails in every way: what is known stays, each host goes on by itself, and nothing is lost when etcd is back.
//
//   a: c1 (shop)   b: c2 (shop)   c: c3 (shop)     e1 e2 e3 (etcd)
//   └───────┬──────┴──────┬───────┴────────────────┴── LAN
import test, { type ExecutionContext } from "ava";
import { allTalk, clusterScene, dropsOf, endpointsOf, meet, nodeIs, nodesOf, reaches } from "../lab/cluster.ts";
import { expectDrops, some } from "../lab/drops.ts";
import type { Host } from "../lab/host.ts";
import type { Place } from "../lab/place.ts";
import { isDropped, passes } from "../lab/policy.ts";
import { waitFor } from "../lab/run.ts";

const stage = clusterScene(test);
const nft = "/usr/sbin/nft";

async function oneOnEach(): Promise<readonly [Place, Place, Place]> {
  const { a, b, c } = stage;
  await stage.network("shop", "--ipv6");
  const places = await Promise.all([stage.container(a, "c1", "shop"), stage.container(b, "c2", "shop"), stage.container(c, "c3", "shop")] as const);
  await meet(places);
  return places;
}

/** `ADDRESS name` of what runs on all hosts, and of what etcd says. */
async function recordsEqualReality(t: ExecutionContext): Promise<void> {
  const real = (await Promise.all(stage.world.hosts.map(async (host) => (await endpointsOf(host)).map((each) => `${host.name} ${each.ipv4} ${each.name}`)))).flat().sort();
  const told = async (): Promise<readonly string[]> => [...(await stage.etcd.read("/hawser/endpoints/"))].map(([key, value]) => {
    const { ipv4, name } = JSON.parse(value) as { readonly ipv4: string; readonly name: string };
    return `${key.split("/")[3]} ${ipv4} ${name}`;
  }).sort();
  await waitFor("etcd's records to equal what runs", async () => (await told()).join("\n") === real.join("\n"), { promisedMs: 20_000 });
  t.deepEqual(await told(), real);
}

test.serial("one of three members killed: nothing notices, and new containers are known as before", async (t) => {
  const { a, b, etcd, world: { hosts } } = stage;
  const [c1, c2] = await oneOnEach();
  const before = await dropsOf(hosts);
  await using _server = await c2.serve({ tcp: [7000] });
  await using stream = await c1.stream(c2.ipv4, 7000);
  await stream.progress(10);
  // The leader: so that the others must choose another one.
  const leader = (await etcd.ctl("endpoint", "status")).split("\n").find((line) => line.split(", ")[4] === "true") ?? "";
  const member = etcd.members.find(({ ipv4 }) => leader.includes(ipv4));
  if (member === undefined) throw new Error(`no leader: ${leader}`);
  await member.process.kill();
  await stream.progress(25);
  await expectDrops(a, before[0] ?? {}, {});
  const late = await stage.container(b, "late", "shop");
  await meet([c1, late], { promisedMs: 20_000 });
  for (const host of hosts) for (const { state } of await nodesOf(host)) t.regex(state, /^(ready|self)$/);
  t.like(await a.json("status"), { ready: true });
  t.like(await stream.report(), { error: null, retransmits: 0 });
});

/** With etcd away for the reason given: traffic, policy, local containers and restarts of agents; afterwards all is known everywhere. */
async function goesOn(t: ExecutionContext, fail: () => Promise<unknown>, mend: () => Promise<unknown>): Promise<void> {
  const { a, b } = stage;
  const [c1, c2, c3] = await oneOnEach();
  await stage.apply("policy: shop\nfor: { network: shop }\ndeny:\n  - c1 -> c2:7001\n");
  await using _server = await c2.serve({ tcp: [7000, 7001, 7002] });
  await using stream = await c1.stream(c2.ipv4, 7000);
  await stream.progress(10);
  await passes(t, c3, c2.ipv4, 7002);
  await fail();
  try {
    await stream.progress(25);
    const late = await stage.container(a, "late", "shop");
    await allTalk(t, [c1, late], "while etcd is away");
    await passes(t, c3, c2.ipv6, 7000, "tcp", "as a new flow to what is known");
    await isDropped(t, c1, c2.ipv4, 7001);
    await stage.apply("policy: shop\nfor: { network: shop }\ndeny:\n  - c1 -> c2:7001\n  - any -> c2:7002\n", [b]);
    await isDropped(t, c3, c2.ipv4, 7002, "tcp", "for policy can be changed");
    await waitFor("status to say that etcd is away", async () => /etcd/.test(JSON.stringify(((await a.json("status")) as { readonly problems: unknown }).problems)), { promisedMs: 20_000 });
    await a.agent.kill();
    await a.agent.start();
    await passes(t, c1, c2.ipv4, 7000, "tcp", "after a restart of the agent, that only remembers");
    await stage.container(b, "brief", "shop");
    await b.docker("rm", "-f", "brief");
  } finally {
    await mend();
  }
  await stage.apply("policy: shop\nfor: { network: shop }\ndeny:\n  - c1 -> c2:7001\n");
  const late = await a.inside("late");
  await meet([late, c2, c3], { promisedMs: 30_000 });
  t.is((await stream.report()).error, null);
  await recordsEqualReality(t);
}

test.serial("all members killed and back", async (t) => {
  await goesOn(t, () => stage.etcd.kill(), () => stage.etcd.start());
});

test.serial("one member stopped in its tracks, which takes connections and never answers, the others behind a black hole, and back", async (t) => {
  const [stopped, ...others] = stage.etcd.members;
  await goesOn(t, async () => {
    stopped?.pause();
    await Promise.all(others.map((each) => each.blackHole()));
  }, async () => {
    stopped?.resume();
    await Promise.all(others.map((each) => each.heal()));
    await stage.etcd.start();
  });
});

test.serial("with slow members changes come later and none is lost", async (t) => {
  const { a, b, etcd } = stage;
  const [c1, c2] = await oneOnEach();
  await Promise.all(etcd.members.map((each) => each.slow("128kbit")));
  try {
    const late = await stage.container(b, "late", "shop");
    await meet([c1, late], { promisedMs: 30_000 });
    await a.docker("rm", "-f", "c1");
    await reaches(late, c2.ipv4);
  } finally {
    await Promise.all(etcd.members.map((each) => each.slow(null)));
  }
  await recordsEqualReality(t);
});

test.serial("restarted empty, etcd is told everything again: the same slices, the same numbers, and no packet is lost meanwhile", async (t) => {
  const { a, etcd, world: { hosts } } = stage;
  const [c1, c2, c3] = await oneOnEach();
  const slices = async (): Promise<unknown> => (await nodesOf(a)).map(({ name, ipv4, ipv6 }) => [name, ipv4, ipv6]).sort();
  const numbers = async (): Promise<unknown> => (await Promise.all(hosts.map(endpointsOf))).flat().map(({ name, identity }) => [name, identity]).sort();
  const had = [await slices(), await numbers()];
  await using _server = await c2.serve({ tcp: [7000] });
  await using stream = await c1.stream(c2.ipv4, 7000);
  await stream.progress(10);
  await etcd.startEmpty();
  await stream.progress(25);
  await waitFor("every node to be there again", async () => (await etcd.read("/hawser/nodes/")).size === 3, { promisedMs: 45_000 });
  await recordsEqualReality(t);
  for (const host of hosts) for (const other of hosts) if (other !== host) await nodeIs(host, other.name, "ready");
  t.deepEqual([await slices(), await numbers()], had);
  t.like(await stream.report(), { error: null, retransmits: 0 });
  const late = await stage.container(a, "late", "shop");
  await meet([late, c2, c3]);
});

/** The host cannot speak with etcd, and with everybody else as before. */
async function cutOff(host: Host): Promise<AsyncDisposable> {
  await host.run([nft, "-f", "-"], { input: "table inet cut {\nchain output { type filter hook output priority -500; tcp dport 2379 drop; }\nchain input { type filter hook input priority -500; tcp sport 2379 drop; }\n}\n" });
  return { [Symbol.asyncDispose]: async () => void (await host.run([nft, "delete", "table", "inet", "cut"], { mayFail: true })) };
}

test.serial("a node that etcd has given up, since it did not hear it for longer than its lease, comes back with what it did meanwhile", async (t) => {
  const { c, etcd, world: { hosts } } = stage;
  const [c1, c2, c3] = await oneOnEach();
  const before = await dropsOf(hosts);
  {
    await using _cut = await cutOff(c);
    await waitFor("c's lease to end", async () => !(await etcd.read("/hawser/nodes/")).has("/hawser/nodes/c"), { promisedMs: 45_000 });
    const late = await stage.container(c, "late", "shop");
    await allTalk(t, [c3, late], "on the node that is cut off");
    await allTalk(t, [c1, c2], "between the others");
  }
  await waitFor("c to be there again", async () => (await etcd.read("/hawser/nodes/")).has("/hawser/nodes/c"), { promisedMs: 45_000 });
  const late = await c.inside("late");
  await meet([c1, c3, late], { promisedMs: 30_000 });
  await recordsEqualReality(t);
  await expectDrops(stage.b, before[1] ?? {}, {});
  await waitFor("a to be told of its neighbour's new container", async () => (await stage.a.run(["ping", "-c1", "-W1", late.ipv4], { mayFail: true })).code === 0);
  await stage.apply("policy: shop\nfor: { network: shop }\ndeny:\n  - any -> late\n");
  const again = await dropsOf(hosts);
  await isDropped(t, c1, late.ipv4, 7000);
  await expectDrops(stage.a, again[0] ?? {}, { POLICY_DENIED: some });
});
