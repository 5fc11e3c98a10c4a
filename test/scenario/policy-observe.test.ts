// What is told of verdicts: `observe` names the rule, `policy trace` foretells it, audit reports and never drops.
//
//   a: web, db, api (shop)   store (other)      LAN ── router ── outside
import test from "ava";
import { expectDrops, some } from "../lab/drops.ts";
import type { Place } from "../lab/place.ts";
import { isDropped, observe, passes, policyScene, portOf, readTold, type Told } from "../lab/policy.ts";
import { waitFor } from "../lab/run.ts";

const stage = policyScene(test);

async function cast(...names: readonly string[]): Promise<readonly Place[]> {
  const { host } = stage;
  await host.network("shop", "--ipv6");
  for (const name of names) await host.container(name, ["--network", "shop", ...(name === "web" ? ["-p", "8080:7000"] : [])]);
  return Promise.all(names.map((name) => host.inside(name)));
}

/** Events come a moment after their packets. */
async function told(what: string, matches: (flow: Told) => boolean, ...args: readonly string[]): Promise<Told> {
  let found: Told | undefined;
  let last: readonly Told[] = [];
  await waitFor(`observe to tell of ${what}`, async () => {
    last = await observe(stage.host, "--last", "200", ...args);
    found = last.findLast(matches);
    return found !== undefined;
  }, { promisedMs: 5000, explain: () => last.slice(-3).map((flow) => JSON.stringify(flow)).join("\n") });
  if (found === undefined) throw new Error("unreachable");
  return found;
}

test.serial("a dropped packet is told with the deciding rule, its file and line, or with the default, and both ends (R104)", async (t) => {
  const { host, world: { outside } } = stage;
  const [web, db, api] = await cast("web", "db", "api") as readonly [Place, Place, Place];
  await stage.apply(`
policy: shop
for: { network: shop }
default: { in: deny }
allow:
  - web -> db:7000
deny:
  - web -> db:7001
`);
  const before = await host.drops();
  await using _db = await db.serve({ tcp: [7000] });
  await passes(t, web, db.ipv4, 7000);
  await isDropped(t, web, db.ipv4, 7001);
  await isDropped(t, api, db.ipv6, 7000);
  await isDropped(t, outside, host.ipv4, 8080);
  const denied = await told("the rule", (flow) => portOf(flow) === 7001, "--verdict", "dropped");
  t.like(denied, { verdict: "DROPPED", IP: { source: web.ipv4, destination: db.ipv4, ipVersion: "IPv4" } });
  t.like(denied.hawser, { reason: "POLICY_DENIED", policy: "shop", rule: "web -> db:7001", line: 8 });
  t.regex(denied.hawser?.file ?? "", /shop\.yaml$/);
  t.is([...(denied.egress_denied_by ?? []), ...(denied.ingress_denied_by ?? [])][0]?.name, "shop");
  t.regex(denied.source?.pod_name ?? "", /web/);
  t.regex(denied.destination?.pod_name ?? "", /db/);
  t.true((denied.source?.identity ?? 0) > 0 && (denied.destination?.identity ?? 0) > 0);
  t.not(denied.source?.identity, denied.destination?.identity, "their names count, since rules refer to them");
  const byDefault = await told("the default", (flow) => flow.IP?.destination === db.ipv6, "--verdict", "dropped");
  t.like(byDefault, { IP: { source: api.ipv6, ipVersion: "IPv6" }, hawser: { reason: "POLICY_DEFAULT_IN", rule: "default:in" } });
  const published = await told("the published port", (flow) => flow.IP?.source === outside.ipv4, "--verdict", "dropped");
  t.like(published, { hawser: { reason: "POLICY_DEFAULT_IN" } });
  t.regex(published.destination?.pod_name ?? "", /web/, "whom it would have reached");
  const allowed = await told("what passes", (flow) => portOf(flow) === 7000 && flow.IP?.source === web.ipv4, "--verdict", "forwarded");
  t.is(allowed.verdict, "FORWARDED");
  await expectDrops(host, before, { POLICY_DENIED: some, POLICY_DEFAULT_IN: some });
});

test.serial("observe follows, and filters by verdict and by either end", async (t) => {
  const { host, world: { outside } } = stage;
  const [web, db, api] = await cast("web", "db", "api") as readonly [Place, Place, Place];
  await stage.apply("policy: shop\nfor: { network: shop }\ndeny:\n  - web -> db:7001\n  - api -> db:7001\n");
  const before = await host.drops();
  await using _db = await db.serve({ tcp: [7000] });
  await using _world = await outside.serve({ tcp: [7000] });
  const following = host.start([`${import.meta.dirname}/../../bin/hawser`, "observe", "--follow", "--verdict", "dropped", "--from", "web", "-o", "jsonl"]);
  await using _following = following;
  const followed = (): readonly Told[] => readTold(following.printed());
  // It may not be listening yet; so the first packet is tried until it is told.
  await waitFor("the follower to tell", async () => {
    await web.ask("tcp", db.ipv4, 7001, { timeout: 0.3 });
    return followed().length > 0;
  }, { everyMs: 10 });
  await passes(t, web, db.ipv4, 7000);
  await passes(t, web, outside.ipv4, 7000);
  await isDropped(t, api, db.ipv4, 7001);
  const had = followed().length;
  await isDropped(t, web, db.ipv4, 7001);
  await waitFor("the next to be told while it follows", () => followed().length > had);
  for (const flow of followed()) t.like(flow, { verdict: "DROPPED", IP: { source: web.ipv4, destination: db.ipv4 } });
  await told("api", (flow) => flow.IP?.source === api.ipv4, "--from", "api");
  for (const flow of await observe(host, "--last", "100", "--from", "shop/api")) t.regex(flow.source?.pod_name ?? "", /api/);
  for (const flow of await observe(host, "--last", "100", "--to", outside.ipv4)) t.is(flow.IP?.destination, outside.ipv4);
  const toWorld = await observe(host, "--last", "100", "--from", "web", "--to", "world");
  t.true(toWorld.length > 0);
  for (const flow of toWorld) t.is(flow.IP?.destination, outside.ipv4);
  t.is((await observe(host, "--last", "1", "--verdict", "dropped")).length, 1);
  await expectDrops(host, before, { POLICY_DENIED: some });
});

test.serial("what audit means is reported as its rule says and never dropped, even where a default would; a deny rule still drops (R64)", async (t) => {
  const { host, world: { outside } } = stage;
  const [web, db] = await cast("web", "db") as readonly [Place, Place];
  await stage.apply(`
policy: shop
for: { network: shop }
default: { out: deny }
audit:
  - web -> world:7000-7001
  - web -> db:7000
deny:
  - web -> world:7001
`);
  await using _db = await db.serve({ tcp: [7000], udp: [7000] });
  await using _world = await outside.serve({ tcp: [7000, 7001, 7002] });
  const before = await host.drops();
  for (const address of [outside.ipv4, outside.ipv6, db.ipv4, db.ipv6]) await passes(t, web, address, 7000);
  await expectDrops(host, before, {});
  const audited = await told("the audited flow", (flow) => flow.IP?.destination === outside.ipv4, "--verdict", "audit");
  t.like(audited, { verdict: "AUDIT", hawser: { policy: "shop", rule: "web -> world:7000-7001", line: 6 } });
  await told("the other one", (flow) => flow.IP?.destination === db.ipv6, "--verdict", "audit");
  await isDropped(t, web, outside.ipv4, 7001);
  await isDropped(t, web, outside.ipv4, 7002);
  await expectDrops(host, before, { POLICY_DENIED: some, POLICY_DEFAULT_OUT: some });
});

test.serial("policy trace says of every pair what its packets find (R55)", async (t) => {
  const { host, world: { outside, neighbour } } = stage;
  const [web, db, api] = await cast("web", "db", "api") as readonly [Place, Place, Place];
  await host.network("other", "--ipv6");
  await host.container("store", ["--network", "other", "--label", "hawser.default.in=deny"]);
  const store = await host.inside("store");
  await stage.apply(`
policy: shop
for: { network: shop }
default: { in: deny }
allow:
  - world -> web:7000
  - web -> db:7000,7001
  - any -> api:7000
  - web -> other/store:7000
  - web -> host:2375
deny:
  - web -> 203.0.113.0/24:7001
  - lan -> web
  - api -> db
audit:
  - db -> any:7000
`);
  const ports = { tcp: [7000, 7001], udp: [7000] };
  await using _web = await web.serve(ports);
  await using _db = await db.serve(ports);
  await using _api = await api.serve(ports);
  await using _store = await store.serve(ports);
  await using _world = await outside.serve(ports);
  await using _host = await host.serve({ tcp: [2375, 2376], udp: [7000] });
  const places: Readonly<Record<string, Place>> = { web, db, api, "other/store": store, host, [outside.ipv4]: outside, [neighbour.ipv4]: neighbour };
  const pairs: (readonly [string, string, number, "tcp" | "udp"])[] = [];
  for (const from of ["web", "db", "api", "other/store", "host"]) {
    for (const to of ["web", "db", "api", "other/store", outside.ipv4]) {
      if (from !== to && !(from === "host" && to === outside.ipv4)) pairs.push([from, to, 7000, "tcp"], [from, to, 7001, "tcp"], [from, to, 7000, "udp"]);
    }
  }
  pairs.push(["web", "host", 2375, "tcp"], ["web", "host", 2376, "tcp"], ["web", "host", 7000, "udp"], ["db", "host", 2375, "tcp"]);
  pairs.push([outside.ipv4, "web", 7000, "tcp"], [neighbour.ipv4, "web", 7000, "tcp"]);
  const lines: string[] = [];
  const judge = async ([from, to, port, protocol]: (typeof pairs)[number]): Promise<void> => {
    const { verdict, decidedBy } = (await host.json("policy", "trace", from, `${to}:${port}/${protocol}`)) as { readonly verdict: string; readonly decidedBy: unknown };
    const fromOutside = from === outside.ipv4 || from === neighbour.ipv4;
    const [address, number] = fromOutside ? [host.ipv4, 8080] : [places[to]?.ipv4 ?? "", port];
    const answer = await places[from]?.ask(protocol, address, number, { timeout: verdict === "deny" ? 0.7 : 3 });
    const agrees = verdict === "deny" ? answer === "TIMEOUT" : /^\S+ \d+$/.test(answer ?? "");
    if (!agrees) lines.push(`${from} -> ${to}:${port}/${protocol}: trace says ${verdict} by ${JSON.stringify(decidedBy)}, the packet found ${answer}`);
  };
  for (let index = 0; index < pairs.length; index += 4) await Promise.all(pairs.slice(index, index + 4).map(judge));
  t.deepEqual(lines, []);
});

test.serial("policy trace names the rule with file and line, the default, or the networks' border", async (t) => {
  const { host } = stage;
  await cast("web", "db");
  await host.network("other");
  await host.container("store", ["--network", "other"]);
  await stage.apply("policy: shop\nfor: { network: shop }\ndefault: { in: deny, out: deny }\nallow:\n  - web -> db:7000\ndeny:\n  - any -> 169.254.169.254\n  - db -> other/store:1\n");
  const trace = async (from: string, to: string): Promise<unknown> => host.json("policy", "trace", from, to);
  t.like(await trace("web", "db:7000"), { verdict: "allow", decidedBy: { policy: "shop", rule: "web -> db:7000", line: 5 } });
  t.like(await trace("web", "169.254.169.254:80"), { verdict: "deny", decidedBy: { policy: "shop", rule: "any -> 169.254.169.254", line: 7 } });
  t.like(await trace("web", "db:7001"), { verdict: "deny", decidedBy: "default:out" });
  t.like(await trace("host", "db:7000"), { verdict: "deny", decidedBy: "default:in" });
  t.like(await trace("world", "web:80"), { verdict: "deny", decidedBy: "default:in" });
  await host.hawser(["policy", "delete", "shop"]);
  t.like(await trace("web", "store:80"), { verdict: "deny", decidedBy: "between-networks" });
  t.like(await trace("web", "169.254.169.254:80"), { verdict: "deny", decidedBy: "default:metadata" });
  const unknown = await host.hawser(["policy", "trace", "stor", "db:1"], { mayFail: true });
  t.is(unknown.code, 1);
  t.regex(unknown.stderr, /"stor".*"store"/s);
});
