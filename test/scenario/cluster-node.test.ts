// Nodes come, go and move: what `hawser node list` and `hawser status` say of them, and what their containers notice.
//
//   a: c1 (shop)   b: c2 (shop)   c: c3 (shop)     e1 e2 e3 (etcd)
//   └───────┬──────┴──────┬───────┴────────────────┴── LAN
import test from "ava";
import { allReady, allTalk, clusterScene, dropsOf, meet, nodeIs, nodesOf, reaches } from "../lab/cluster.ts";
import { expectDrops } from "../lab/drops.ts";
import type { Place } from "../lab/place.ts";
import { waitFor } from "../lab/run.ts";

const stage = clusterScene(test);

async function oneOnEach(): Promise<readonly [Place, Place, Place]> {
  const { a, b, c } = stage;
  await stage.network("shop", "--ipv6");
  const places = await Promise.all([stage.container(a, "c1", "shop"), stage.container(b, "c2", "shop"), stage.container(c, "c3", "shop")] as const);
  await meet(places);
  return places;
}

test.serial("node list shows every node with its address, its slices, and how fast it answers", async (t) => {
  const { world: { hosts } } = stage;
  for (const host of hosts) {
    await waitFor(`${host.name} to have measured the others`, async () => (await nodesOf(host)).every(({ state, rttMs }) => state === "self" || (rttMs ?? 0) > 0));
    const rows = await nodesOf(host);
    t.deepEqual(rows.map(({ name, state }) => [name, state]).sort(), hosts.map(({ name }) => [name, name === host.name ? "self" : "ready"]));
    for (const { name, address, ipv4, ipv6, state, lastSeen } of rows) {
      const { ipv4: wanted } = hosts.find((each) => each.name === name) ?? { ipv4: "?" };
      t.is(address, wanted);
      t.regex(ipv4, /^10\.44\.\d+\.0\/24$/);
      t.regex(ipv6, /^fd44:[0-9a-f:]*\/64$/);
      if (state === "ready") t.true(lastSeen > 1_600_000_000_000);
    }
    t.is(new Set(rows.flatMap(({ ipv4, ipv6 }) => [ipv4, ipv6])).size, 6, "no slice is given twice");
  }
});

test.serial("the table of nodes and status say so to people", async (t) => {
  const { a } = stage;
  const table = (await a.hawser(["node", "list"])).stdout;
  for (const words of [/\ba\b.*self/, /\bb\b.*10\.99\.0\.12.*ready/, /\bc\b.*10\.99\.0\.13.*ready/, /\d ?(ms|µs|us)/]) t.regex(table, words);
  const status = (await a.hawser(["status"])).stdout;
  t.regex(status, /etcd/);
  for (const name of ["b", "c"]) t.regex(status, new RegExp(`\\b${name}\\b.*\\d ?(ms|µs|us)`));
});

test.serial("a node whose slice is full goes on in another, and its containers there are met from every node (R80)", async (t) => {
  const { a, b, world: { hosts } } = stage;
  const slicesOf = async (): Promise<readonly string[]> => (await nodesOf(a)).find(({ name }) => name === "a")?.ipv4.split(", ") ?? [];
  const [first] = await slicesOf();
  for (const name of ["full1", "full2", "full3", "full4"]) await a.network(name);
  t.deepEqual(await slicesOf(), [first]);
  await stage.network("shop");
  const slices = await slicesOf();
  t.is(slices.length, 2);
  for (const host of hosts) await waitFor(`${host.name} to know both`, async () => (await nodesOf(host)).find(({ name }) => name === "a")?.ipv4 === slices.join(", "));
  const places = await Promise.all([stage.container(a, "c1", "shop"), stage.container(b, "c2", "shop")] as const);
  const other = slices.find((slice) => slice !== first) ?? "";
  t.true(places[0].ipv4.startsWith(other.replace(/0\/24$/, "")), `${places[0].ipv4} in ${other}`);
  await meet(places);
  await allTalk(t, places, "from the second slice");
  await a.agent.kill();
  await a.agent.start();
  await allReady(hosts);
  t.deepEqual(await slicesOf(), slices);
  await allTalk(t, places, "after the agent came back");
});

test.serial("a node whose machine dies is unreachable, then gone with its lease, and returns with its containers", async (t) => {
  const { a, b, c, world: { hosts } } = stage;
  const [c1, c2, c3] = await oneOnEach();
  await using _server = await c2.serve({ tcp: [7000] });
  await using stream = await c1.stream(c2.ipv4, 7000);
  await stream.progress(10);
  const before = await dropsOf(hosts);
  await c.agent.kill();
  await c.unplug();
  await nodeIs(a, "c", "unreachable");
  t.regex((await a.hawser(["status"])).stdout, /(unreachable|without an answer).*\bc\b/s);
  await nodeIs(a, "c", "gone", { promisedMs: 60_000 });
  await nodeIs(b, "c", "gone");
  t.is((await stage.etcd.read("/hawser/endpoints/c/")).size, 0);
  t.not((await c1.run(["ping", "-c1", "-W1", c3.ipv4], { mayFail: true })).code, 0);
  await allTalk(t, [c1, c2], "without the third");
  await expectDrops(b, before[1] ?? {}, {});
  await c.plug();
  await c.agent.start();
  await allReady(hosts);
  await meet([c1, c2, c3], { promisedMs: 30_000 });
  await allTalk(t, [c1, c2, c3], "after it came back");
  t.like(await stream.report(), { error: null, retransmits: 0 });
});

test.serial("a node whose agent alone is away for longer than its lease is there all the same, and its containers talk on", async (t) => {
  const { a, b, c } = stage;
  const [c1, c2, c3] = await oneOnEach();
  await using _server = await c2.serve({ tcp: [7000] });
  await using stream = await c1.stream(c2.ipv4, 7000);
  await stream.progress(10);
  const before = await dropsOf([a]);
  await b.agent.kill();
  await waitFor("etcd to have given up b", async () => (await stage.etcd.read("/hawser/endpoints/b/")).size === 0, { promisedMs: 60_000 });
  await nodeIs(a, "b", "ready");
  await stream.progress(100);
  await allTalk(t, [c1, c2, c3], "with b's agent away");
  t.regex((await a.hawser(["status"])).stdout, /leases have ended, because they answer: b/);
  await b.agent.start();
  await allReady([a, b, c]);
  await allTalk(t, [c1, c2, c3], "after it came back");
  await expectDrops(a, before[0] ?? {}, {});
  t.like(await stream.report(), { error: null, retransmits: 0 });
});

test.serial("a host that gets another address takes its tunnels with it within 5 s (R102)", async (t) => {
  const { a, b } = stage;
  const [c1, c2, c3] = await oneOnEach();
  await using _server = await c2.serve({ tcp: [7000] });
  await using stream = await c1.stream(c2.ipv4, 7000);
  await stream.progress(10);
  const readdress = (from: string, to: string): Promise<string> =>
    b.sh(`ip address del ${from}/24 dev eth0 && ip address add ${to}/24 dev eth0 && ip route replace default via 10.99.0.1`);
  const fiveSeconds = { promisedMs: 5000, everyMs: 20 };
  await readdress(b.ipv4, "10.99.0.52");
  try {
    await reaches(c1, c2.ipv4, fiveSeconds);
    await reaches(c3, c2.ipv6, fiveSeconds);
    await waitFor("a to list the new address", async () => (await nodesOf(a)).find(({ name }) => name === "b")?.address === "10.99.0.52", fiveSeconds);
    await allTalk(t, [c1, c2, c3], "at the new address");
  } finally {
    await readdress("10.99.0.52", b.ipv4);
  }
  await reaches(c1, c2.ipv4, fiveSeconds);
  await stream.progress(10);
  t.is((await stream.report()).error, null, "and its connections live on");
  await nodeIs(a, "b", "ready");
});

test.serial("a cable that is pulled for a moment costs no connection (R102)", async (t) => {
  const { a, b } = stage;
  const [c1, c2] = await oneOnEach();
  await using _server = await c2.serve({ tcp: [7000] });
  await using stream = await c1.stream(c2.ipv4, 7000);
  await stream.progress(10);
  await b.unplug();
  t.not((await c1.run(["ping", "-c1", "-W1", c2.ipv4], { mayFail: true })).code, 0);
  await b.plug();
  await reaches(c1, c2.ipv4, { promisedMs: 5000, everyMs: 20 });
  await stream.progress(10);
  t.is((await stream.report()).error, null);
  await nodeIs(a, "b", "ready");
  t.like(await b.json("status"), { ready: true }, "nobody was locked out");
});
