// Policy by names and labels holds across nodes: both ends are asked, each where it is.
// Runs alone: it measures how soon a change counts on another node.
//
//   a: web (shop)   b: db (shop)   c: api (shop)        e1 e2 e3 (etcd)
//   └───────┬───────┴──────┬───────┴────────────────────┴── LAN
import test from "ava";
import { clusterScene, dropsOf, endpointOf, meet, withinASecond } from "../lab/cluster.ts";
import { expectDrops, some, type Drops } from "../lab/drops.ts";
import type { Place } from "../lab/place.ts";
import { isDropped, observe, passes, portOf, type Told } from "../lab/policy.ts";
import { waitFor } from "../lab/run.ts";
import type { Host } from "../lab/host.ts";

const stage = clusterScene(test);

async function cast(): Promise<readonly [web: Place, db: Place, api: Place]> {
  const { a, b, c } = stage;
  await stage.network("shop", "--ipv6");
  const places = await Promise.all([
    stage.container(a, "web", "shop", "--label", "tier=front"), stage.container(b, "db", "shop", "--label", "tier=back"),
    stage.container(c, "api", "shop", "--label", "tier=middle"),
  ]);
  await meet(places);
  return places;
}

async function expect(before: readonly Drops[], ...expected: readonly Readonly<Record<string, number | typeof some>>[]): Promise<void> {
  for (const [index, host] of stage.world.hosts.entries()) await expectDrops(host, before[index] ?? {}, expected[index] ?? {});
}

const shop = (rules: string, defaults = "{ in: deny }"): string => `policy: shop\nfor: { network: shop }\ndefault: ${defaults}\n${rules}`;

test.serial("one sentence opens both ends though they are on different nodes, by name and by label, and the rest is closed by the defaults", async (t) => {
  const { world: { hosts } } = stage;
  const [web, db, api] = await cast();
  await stage.apply(shop("allow:\n  - web -> db:7000\n  - label(tier=middle) -> label(tier=back):7001\n", "{ in: deny, out: deny }"));
  await using _db = await db.serve({ tcp: [7000, 7001], udp: [7000] });
  await using _web = await web.serve({ tcp: [7000] });
  const before = await dropsOf(hosts);
  for (const [mine, theirs] of [[web.ipv4, db.ipv4], [web.ipv6, db.ipv6]] as const) {
    await passes(t, web, theirs, 7000);
    await passes(t, api, theirs, 7001);
    await isDropped(t, web, theirs, 7001);
    await isDropped(t, web, theirs, 7000, "udp");
    await isDropped(t, api, theirs, 7000);
    await isDropped(t, db, mine, 7000);
  }
  await expect(before, { POLICY_DEFAULT_OUT: some }, { POLICY_DEFAULT_OUT: some }, { POLICY_DEFAULT_OUT: some });
});

test.serial("a node keeps its own end, whatever the other's policy says", async (t) => {
  const { a, b, world: { hosts } } = stage;
  const [web, db, api] = await cast();
  await using _db = await db.serve({ tcp: [7000] });
  let before = await dropsOf(hosts);
  await stage.apply("policy: shop\nfor: { network: shop }\ndeny:\n  - label(tier=front) -> db:7000\n", [a]);
  await isDropped(t, web, db.ipv4, 7000);
  await isDropped(t, web, db.ipv6, 7000);
  await passes(t, api, db.ipv4, 7000);
  await expect(before, { POLICY_DENIED: some });
  await a.hawser(["policy", "delete", "shop"]);
  await passes(t, web, db.ipv4, 7000);
  await stage.apply(shop("allow:\n  - api -> db:7000\n"), [b]);
  // Its name gives it another number, and until the nodes have agreed on that b takes nothing from it.
  await waitFor("the name api to count on its own node", async () => /^\S+ \d+$/.test(await api.ask("tcp", db.ipv4, 7000, { timeout: 0.3 })), withinASecond);
  before = await dropsOf(hosts);
  await isDropped(t, web, db.ipv4, 7000);
  await isDropped(t, web, db.ipv6, 7000);
  await passes(t, api, db.ipv6, 7000);
  await expectDrops(b, before[1] ?? {}, { POLICY_DEFAULT_IN: some });
});

test.serial("containers with the same labels have the same number on every node", async (t) => {
  const { a, b, c } = stage;
  await stage.network("shop");
  for (const [host, name] of [[a, "one"], [b, "two"], [c, "three"]] as const) await stage.container(host, name, "shop", "--label", "tier=same");
  const numbers = async (): Promise<readonly number[]> =>
    Promise.all(([[a, "one"], [b, "two"], [c, "three"]] as const).map(async ([host, name]) => (await endpointOf(host, name)).identity));
  await waitFor("the number to be agreed on", async () => (await numbers()).every((number) => number >= 256 && number < 2 ** 23));
  t.is(new Set(await numbers()).size, 1);
  await stage.container(a, "other", "shop", "--label", "tier=other");
  t.not((await endpointOf(a, "other")).identity, (await endpointOf(a, "one")).identity);
});

test.serial("a new container, a new name and a new network on one node are judged so on the others within a second (R59)", async (t) => {
  const { a, c } = stage;
  const [web, db] = await cast();
  await stage.apply(shop("allow:\n  - web, label(tier=ops) -> db:7000\n"));
  await using _db = await db.serve({ tcp: [7000] });
  await passes(t, web, db.ipv4, 7000);
  const answers = async (from: Place): Promise<boolean> => /^\S+ \d+$/.test(await from.ask("tcp", db.ipv4, 7000, { timeout: 0.2 }));
  const ops = await stage.container(c, "ops", "shop", "--label", "tier=ops");
  await waitFor("the new container to be let in", () => answers(ops), withinASecond);
  await a.docker("rename", "web", "gone");
  await waitFor("the old name's permission to end", async () => !(await answers(web)), withinASecond);
  await a.docker("rename", "gone", "web");
  await waitFor("the name's permission to come back", () => answers(web), withinASecond);
  await c.docker("network", "disconnect", "shop", "ops");
  await c.docker("network", "connect", "shop", "ops");
  const again = await c.inside("ops");
  await waitFor("it to be let in with its new address", () => answers(again), withinASecond);
});

async function told(host: Host, what: string, matches: (flow: Told) => boolean): Promise<Told> {
  let found: Told | undefined;
  await waitFor(`observe on ${host.name} to tell of ${what}`, async () => {
    found = (await observe(host, "--last", "200")).findLast(matches);
    return found !== undefined;
  }, { promisedMs: 5000 });
  if (found === undefined) throw new Error("unreachable");
  return found;
}

test.serial("policy trace and observe name containers of other nodes", async (t) => {
  const { a, b } = stage;
  const [web, db] = await cast();
  await stage.apply(shop("allow:\n  - web -> db:7000\ndeny:\n  - web -> db:7002\n"));
  for (const host of [a, b]) {
    t.like(await host.json("policy", "trace", "web", "db:7000"), { verdict: "allow", decidedBy: { policy: "shop", rule: "web -> db:7000" } }, host.name);
    t.like(await host.json("policy", "trace", "web", "db:7002"), { verdict: "deny", decidedBy: { policy: "shop" } }, host.name);
    t.like(await host.json("policy", "trace", "db", "web:7000"), { verdict: "deny", decidedBy: "default:in" }, host.name);
  }
  await using _db = await db.serve({ tcp: [7000] });
  await passes(t, web, db.ipv4, 7000);
  await isDropped(t, web, db.ipv4, 7001);
  await isDropped(t, web, db.ipv6, 7002);
  const left = await told(a, "what leaves", (flow) => portOf(flow) === 7000 && flow.IP?.source === web.ipv4);
  t.regex(left.destination?.pod_name ?? "", /db/);
  t.is(left.destination?.identity, (await endpointOf(b, "db")).identity);
  const denied = await told(a, "what is denied", (flow) => portOf(flow) === 7002);
  t.like(denied.hawser, { reason: "POLICY_DENIED", rule: "web -> db:7002" });
  const came = await told(b, "what comes", (flow) => portOf(flow) === 7000 && flow.IP?.source === web.ipv4);
  t.regex(came.source?.pod_name ?? "", /web/);
  const closed = await told(b, "what the default closes", (flow) => portOf(flow) === 7001);
  t.like(closed, { verdict: "DROPPED", hawser: { reason: "POLICY_DEFAULT_IN" } });
  t.regex(closed.source?.pod_name ?? "", /web/);
});
