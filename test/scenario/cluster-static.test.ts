// Two hosts that know each other from their configuration, and no server at all.
// Runs alone: it counts the questions that nobody answered in time.
//
//   a: c1 (shop)   b: c2 (shop)      outside
//   └───────┬──────┴── LAN ── router ───┘
import { writeFileSync } from "node:fs";
import test from "ava";
import { allTalk, clusterScene, dropsOf, meet, nodeIs, nodesOf, reaches } from "../lab/cluster.ts";
import { expectDrops, some } from "../lab/drops.ts";
import { waitFor } from "../lab/run.ts";
import type { Host } from "../lab/host.ts";
import type { Place } from "../lab/place.ts";
import { few, observe, serve } from "../lab/holders.ts";
import { isDropped, passes } from "../lab/policy.ts";

const stage = clusterScene(test, { store: "peers" }, { hosts: 2 });

async function oneOnEach(): Promise<readonly [Place, Place]> {
  await stage.network("shop", "--ipv6");
  const places = await Promise.all([stage.container(stage.a, "c1", "shop"), stage.container(stage.b, "c2", "shop")] as const);
  await meet(places);
  return places;
}

test.serial("two nodes without a server: one network, each with the slice that the configuration gives it", async (t) => {
  const { a, b, world: { hosts } } = stage;
  const [c1, c2] = await oneOnEach();
  t.regex(c1.ipv4, /^10\.44\.1\./);
  t.regex(c2.ipv4, /^10\.44\.2\./);
  t.regex(c2.ipv6, /^fd44:0:0:2:/);
  const before = await dropsOf(hosts);
  await allTalk(t, [c1, c2]);
  await using _server = await c2.serve({ tcp: [7000], udp: [7000] });
  for (const address of [c2.ipv4, c2.ipv6]) {
    t.regex(await c1.ask("tcp", address, 7000, { size: 1_000_000, timeout: 10 }), /^\S+ \d+$/);
    t.regex(await c1.ask("udp", address, 7000, { size: 65_400 }), /^\S+ \d+$/);
  }
  // By the only address that the peer knows it by.
  t.regex(await a.ask("tcp", c2.ipv4, 7000), /^\S+ \d+$/, "the host reaches the other's containers as well");
  t.deepEqual((await nodesOf(a)).map(({ name, state, ipv4 }) => [name, state, ipv4]).sort(), [["a", "self", "10.44.1.0/24"], ["b", "ready", "10.44.2.0/24"]]);
  await expectDrops(a, before[0] ?? {}, {});
  await expectDrops(b, before[1] ?? {}, {});
});

test.serial("networks of other names are apart across nodes, though nobody tells whose a container is", async (t) => {
  const { a, b, world: { hosts } } = stage;
  const [c1, c2] = await oneOnEach();
  await stage.network("yard", "--ipv6");
  const [d1, d2] = await Promise.all([stage.container(a, "d1", "yard"), stage.container(b, "d2", "yard")] as const);
  await meet([d1, d2]);
  const before = await dropsOf(hosts);
  await using _c2 = await c2.serve({ tcp: [7000], udp: [7000] });
  await using _d1 = await d1.serve({ tcp: [7000] });
  for (const address of [c2.ipv4, c2.ipv6]) {
    await isDropped(t, d1, address, 7000);
    await isDropped(t, d1, address, 7000, "udp");
  }
  await isDropped(t, c2, d1.ipv4, 7000);
  await expectDrops(b, before[1] ?? {}, { NETWORK_ISOLATED: some });
  await expectDrops(a, before[0] ?? {}, { NETWORK_ISOLATED: some });
  await passes(t, c1, c2.ipv4, 7000);
});

test.serial("an internal network talks within, by routes to the slices that the configuration tells, and not out", async (t) => {
  const { a, b, world: { outside } } = stage;
  await stage.network("vault", "--internal", "--ipv6");
  const [v1, v2] = await Promise.all([stage.container(a, "v1", "vault"), stage.container(b, "v2", "vault")] as const);
  t.regex(await v1.sh("ip route"), /^10\.44\.2\.0\/24 via 10\.44\.1\.\d+ dev eth0/m, "from its first moment on");
  await meet([v1, v2]);
  await allTalk(t, [v1, v2]);
  t.is(await v1.ask("tcp", outside.ipv4, 7000, { timeout: 1 }), "ENETUNREACH");
});

test.serial("policy speaks of the other node's containers by their addresses", async (t) => {
  const { a, b, world: { hosts } } = stage;
  const [c1, c2] = await oneOnEach();
  await stage.apply(`policy: shop\nfor: { network: shop }\ndefault: { in: deny }\nallow:\n  - 10.44.1.0/24, fd44:0:0:1::/64 -> c2:7000\ndeny:\n  - ${c1.ipv4} -> c2:7001\n`, [b]);
  await stage.apply("policy: yard\nfor: { network: shop }\ndeny:\n  - c1 -> 10.44.2.0/24:7002\n", [a]);
  const before = await dropsOf(hosts);
  await using _server = await c2.serve({ tcp: [7000, 7001, 7002] });
  await passes(t, c1, c2.ipv4, 7000);
  await passes(t, c1, c2.ipv6, 7000);
  await isDropped(t, c1, c2.ipv4, 7001);
  await isDropped(t, c1, c2.ipv4, 7002);
  await isDropped(t, c1, c2.ipv6, 7003);
  await expectDrops(a, before[0] ?? {}, { POLICY_DENIED: some });
  await expectDrops(b, before[1] ?? {}, { POLICY_DENIED: some, POLICY_DEFAULT_IN: some });
  await a.hawser(["policy", "delete", "yard"]);
});

test.serial("tunnel packets of a machine that is no peer, and of the peer for what is not its own, are dropped (R42, R43)", async (t) => {
  const { a, b, world: { neighbour, outside } } = stage;
  const [c1, c2] = await oneOnEach();
  const before = await a.drops();
  await neighbour.tunnel({ ...stage.tunnels, outer: a.ipv4, key: 1000, source: c2.ipv4, target: c1.ipv4, count: 2 });
  await b.tunnel({ ...stage.tunnels, outer: a.ipv4, key: 1000, source: outside.ipv4, target: c1.ipv4 });
  await b.tunnel({ ...stage.tunnels, outer: a.ipv4, key: 1000, source: "10.44.3.9", target: c1.ipv4 });
  await expectDrops(a, before, { UNKNOWN_PEER: 2, PEER_ADDRESS: 2 });
  t.pass();
});

test.serial("with one node off the other keeps everything and starts new containers, and it heals by itself (R113)", async (t) => {
  const { a, b, world: { outside } } = stage;
  const [c1, c2] = await oneOnEach();
  const web = await stage.container(a, "web", "shop", "-p", "8080:7000");
  await using _web = await web.serve({ tcp: [7000] });
  await using stream = await outside.stream(a.ipv4, 8080);
  await stage.apply("policy: shop\nfor: { network: shop }\ndeny:\n  - c1 -> web:7001\n", [a]);
  await b.agent.kill();
  await b.unplug();
  await nodeIs(a, "b", "unreachable");
  t.regex((await a.hawser(["status"])).stdout, /(unreachable|without an answer).*\bb\b/s, "status says so, too");
  const late = await stage.container(a, "late", "shop");
  await allTalk(t, [c1, late], "while the other node is off");
  await isDropped(t, c1, web.ipv4, 7001, "tcp", "for policy stays");
  await stage.apply("policy: shop\nfor: { network: shop }\ndeny:\n  - late -> web:7000\n", [a]);
  await isDropped(t, late, web.ipv4, 7000, "tcp", "for policy can be changed");
  await passes(t, c1, web.ipv4, 7000);
  await a.agent.stop();
  await a.agent.start();
  t.regex(await outside.ask("tcp", a.ipv4, 8080), /^\S+ \d+$/, "a restart of its agent changes nothing");
  await b.plug();
  await reaches(c1, c2.ipv4, { promisedMs: 20_000 });
  t.is((await stream.report()).error, null);
  await b.agent.start();
  await nodeIs(a, "b", "ready");
  await nodeIs(b, "a", "ready");
  await allTalk(t, [c1, c2, late], "after it came back");
});

test.serial("without a server the lowest name that answers has a service's address; the other has it while that one's cable is out", async (t) => {
  const { a, b, world } = stage;
  const { neighbour, hosts } = world;
  await stage.network("shop");
  const webs = [await stage.container(a, "web1", "shop", "--label", "app=web"), await stage.container(b, "web2", "shop", "--label", "app=web")];
  await using scope = new AsyncDisposableStack();
  for (const web of webs) scope.use(await web.serve({ tcp: [7000] }));
  await serve(world, hosts, ["10.99.0.200"]);
  const seen = await observe(world, "10.99.0.200", scope);
  await seen.settles("a");
  t.is(await neighbour.ask("tcp", "10.99.0.200", 80, { sourcePort: 5000 }), `${neighbour.ipv4} 5000`);
  let since = Date.now();
  await a.agent.kill();
  await new Promise((resolve) => setTimeout(resolve, 5000));
  await a.agent.start();
  await seen.settles("a");
  t.true(seen.missed(t, since) <= few, "an agent that is killed leaves no gap");
  since = Date.now();
  await a.unplug();
  await waitFor("b to answer", () => seen.holder() === "b");
  t.log(`another answers ${seen.missed(t, since) / 10} s after the holder died`);
  t.is(await neighbour.ask("tcp", "10.99.0.200", 80, { sourcePort: 5001 }), `${neighbour.ipv4} 5001`, "who knew the dead holder was told of the next");
  since = Date.now();
  await a.plug();
  await seen.settles("a");
  t.log(`${seen.missed(t, since) / 10} s without an answer when it was back`);
  for (const host of hosts) await host.hawser(["service", "delete", "web"]);
  await seen.settles(undefined, 5000);
});

test.serial("without a server an address that another machine has is nobody's on either node, also while the agent of the one whose it would be is away, and is that one's when it is free", async (t) => {
  const { a, b, world } = stage;
  const { neighbour, hosts } = world;
  const taken = "10.99.0.202";
  await stage.network("shop");
  await stage.container(a, "web1", "shop", "--label", "app=web");
  await using scope = new AsyncDisposableStack();
  await neighbour.run(["ip", "address", "add", `${taken}/24`, "dev", "eth0"]);
  await serve(world, hosts, [taken]);
  const holder = async (host: Host): Promise<string> => ((await host.json("service", "list")) as readonly Shown[]).flatMap(({ frontends }) => frontends)[0]?.holder ?? "?";
  const told = async (host: Host): Promise<string> => ((await host.json("status")) as { readonly problems: readonly string[] }).problems.join();
  await waitFor("a to say so", async () => (await told(a)).includes(`${taken} is another machine's`), { promisedMs: 30_000, explain: () => a.agent.tail(20) });
  await waitFor("b to know that a does not answer", async () => (await holder(b)) === "" && (await told(b)).includes(`${taken} would be a's, which found it another machine's`));
  t.is(await holder(a), "");
  await a.agent.kill();
  await new Promise((resolve) => setTimeout(resolve, 4000));
  t.is(await holder(b), "");
  await a.agent.start();

  await neighbour.run(["ip", "address", "delete", `${taken}/24`, "dev", "eth0"]);
  const seen = await observe(world, taken, scope);
  await seen.settles("a");
  await waitFor("both to know", async () => (await holder(a)) === "a" && (await holder(b)) === "a");
  await waitFor("nothing to be told of it any more", async () => !(await told(b)).includes(taken));
  for (const host of hosts) await host.hawser(["service", "delete", "web"]);
  await seen.settles(undefined, 5000);
});

interface Shown {
  readonly frontends: readonly { readonly address: string; readonly holder: string }[];
  readonly backends: readonly { readonly address: string; readonly node: string; readonly state: string }[];
}

test.serial("clients from outside reach containers that a service names by their addresses, whichever node they are on; one that is killed gets nobody", async (t) => {
  const { a, b, world: { neighbour, hosts, directory } } = stage;
  await stage.network("shop");
  const webs = [await stage.container(a, "web1", "shop"), await stage.container(b, "web2", "shop")] as const;
  await meet(webs);
  const [one, two] = webs.map(({ ipv4 }) => ipv4);
  await using scope = new AsyncDisposableStack();
  for (const web of webs) scope.use(await web.serve({ tcp: [7000] }));
  const apply = async (mode: string): Promise<void> => {
    const file = `${directory}/named.yaml`;
    writeFileSync(file, `service: named\nfrontends: ["10.99.0.201:80"]\nbackends: [{ address: "${one}:7000" }, { address: "${two}:7000" }]\nmode: ${mode}\nhealth: { kind: tcp, interval: 200ms, timeout: 200ms }\n`);
    for (const host of hosts) await host.hawser(["service", "apply", file]);
  };
  const settles = async (host: Host, ...wanted: readonly string[]): Promise<void> => {
    let last: readonly string[] = [];
    await waitFor(`${host.name} to have ${wanted.join(", ")}`, async () => {
      last = ((await host.json("service", "list")) as readonly Shown[]).flatMap(({ backends }) => backends.map(({ address, node, state }) => `${address} ${node} ${state}`));
      return last.join() === wanted.join();
    }, { promisedMs: 15_000, explain: () => last.join(", ") });
  };
  let port = 5100;
  const allAnswer = async (why: string): Promise<void> => {
    for (let i = 0; i < 12; i++) t.is(await neighbour.ask("tcp", "10.99.0.201", 80, { sourcePort: ++port }), `${neighbour.ipv4} ${port}`, why);
  };
  await apply("auto");
  for (const host of hosts) await settles(host, `${one} a active`, `${two} b active`);
  await waitFor("somebody to answer for 10.99.0.201", async () => (await neighbour.ask("tcp", "10.99.0.201", 80)).startsWith(neighbour.ipv4));
  const before = await dropsOf(hosts);
  await allAnswer("the containers' own node answers, and they see the client");
  for (const host of hosts) t.regex(await host.ask("tcp", "10.99.0.201", 80), /^\S+ \d+$/);
  await apply("snat");
  for (const host of hosts) await settles(host, `${one} a active`, `${two} b active`);
  await allAnswer("by way of the node that balances");
  await expectDrops(a, before[0] ?? {}, {});
  await expectDrops(b, before[1] ?? {}, {});
  await a.docker("kill", "web1");
  await settles(a, `${two} b active`);
  await settles(b, `${one} a down`, `${two} b active`);
  await allAnswer("the one that is left has all");
  for (const host of hosts) await host.hawser(["service", "delete", "named"]);
});
