// Addresses of services on the hosts' own link: one host answers for each, another when it dies, and never two.
// Runs alone: it counts the questions that nobody answered in time.
//
//   a: web1 (shop)   b: web2 (shop)   c     neighbour
//   └──────┬─────────┴──────┬─────────┴─────┴── LAN: 10.99.0.200, fd99::200
import test from "ava";
import { clusterScene } from "../lab/cluster.ts";
import { few, observe, serve } from "../lab/holders.ts";
import type { Observation } from "../lab/holders.ts";
import type { Host } from "../lab/host.ts";
import { waitFor } from "../lab/run.ts";

const stage = clusterScene(test);
const [four, six] = ["10.99.0.200", "fd99::200"];

/** Milliseconds: what is left at least of a lease when an agent dies. */
const shortestLease = 10_000;

interface Shown {
  readonly frontends: readonly { readonly address: string; readonly holder: string }[];
}

const holderOf = async (host: Host, address: string): Promise<string> => {
  const services = (await host.json("service", "list")) as readonly Shown[];
  return services.flatMap(({ frontends }) => frontends).find((one) => one.address === address)?.holder ?? "";
};

const hostOf = (name: string | undefined): Host => {
  const host = stage.world.hosts.find((one) => one.name === name);
  if (host === undefined) throw new Error(`a stranger answers, or nobody: ${name}`);
  return host;
};

/** Waits until the host says of the address what the link says. */
const knows = (host: Host, seen: Observation): Promise<void> =>
  waitFor(`${host.name} to know who answers`, async () => (await holderOf(host, four)) === seen.holder(), { promisedMs: 30_000 });

test.serial("a client on the link finds a service's address; one host answers, another when it dies, none twice, and none when it is deleted", async (t) => {
  const { a, b, world } = stage;
  const { neighbour, hosts } = world;
  await stage.network("shop", "--ipv6");
  const webs = [await stage.container(a, "web1", "shop", "--label", "app=web"), await stage.container(b, "web2", "shop", "--label", "app=web")];
  await using scope = new AsyncDisposableStack();
  for (const web of webs) scope.use(await web.serve({ tcp: [7000] }));
  const began = Date.now();
  // Addresses that a host has itself: one by which nodes know it, and another.
  await b.run(["ip", "address", "add", "10.99.0.201/24", "dev", "eth0"]);
  await serve(world, hosts, [four, six, a.ipv4, "10.99.0.201"]);
  const own = [await observe(world, a.ipv4, scope), await observe(world, "10.99.0.201", scope)];
  const [v4, v6] = [await observe(world, four, scope), await observe(world, six, scope)];
  await waitFor("somebody to answer for both", () => v4.holder() !== undefined && v6.holder() !== undefined);
  t.log(`answered ${Date.now() - began} ms after it was applied`);
  for (const [address, mine, first] of [[four, neighbour.ipv4, 5000], [six, neighbour.ipv6, 5010]] as const) {
    for (let port = first; port < first + 4; port++) t.is(await neighbour.ask("tcp", address, 80, { sourcePort: port }), `${mine} ${port}`);
  }
  for (const host of hosts) {
    t.is(await holderOf(host, four), v4.holder() ?? "");
    t.is(await holderOf(host, six), v6.holder() ?? "");
    t.is(await holderOf(host, a.ipv4), "a");
    await waitFor(`${host.name} to know who has an address itself`, async () => (await holderOf(host, "10.99.0.201")) === "b");
  }

  let holder = hostOf(v4.holder());
  let since = Date.now();
  await holder.agent.kill();
  await v4.settles(holder.name);
  await holder.agent.start();
  await knows(holder, v4);
  // On a machine so busy that the start took longer than a lease, another may have it.
  if (Date.now() - since < shortestLease) t.is(v4.holder(), holder.name);
  else t.log(`the agent was away for ${Date.now() - since} ms`);
  t.true(v4.missed(t, since) <= few, "an agent that is killed leaves no gap");

  holder = hostOf(v4.holder());
  since = Date.now();
  const dead = holder.name;
  await holder.unplug();
  await waitFor("another to answer", () => v4.holder() !== undefined && v4.holder() !== dead, { promisedMs: 40_000 });
  t.log(`another answers ${v4.missed(t, since) / 10} s after the holder died`);
  const next = v4.holder();
  t.regex(await neighbour.ask("tcp", six, 80), /^\S+ \d+$/, "who knew the dead holder was told of the next");
  since = Date.now();
  await holder.plug();
  await knows(holder, v4);
  await v4.settles(next);
  t.true(v4.missed(t, since) <= few, "who is back takes nothing away");
  v6.missed(t, since);
  await own[0]?.settles("a");
  await own[1]?.settles("b");

  await a.hawser(["service", "delete", "web"]);
  await v4.settles(undefined, 5000);
  await v6.settles(undefined, 5000);
  await waitFor("nobody to be written down", async () => (await stage.etcd.read("/hawser/held/")).size === 0);
});

test.serial("with etcd away for longer than a lease nothing moves; a host whose agent was stopped answers until another has taken over", async (t) => {
  const { a, etcd, world } = stage;
  const { hosts } = world;
  await stage.network("shop");
  await stage.container(a, "web1", "shop", "--label", "app=web");
  await using scope = new AsyncDisposableStack();
  await serve(world, hosts, [four]);
  const seen = await observe(world, four, scope);
  await waitFor("somebody to answer", () => seen.holder() !== undefined);
  const holder = hostOf(seen.holder());
  let since = Date.now();
  await etcd.kill();
  await new Promise((resolve) => setTimeout(resolve, 18_000));
  await holder.agent.kill();
  await holder.agent.start();
  await etcd.start();
  await waitFor("the holder's word to stand again", async () => [...(await etcd.read("/hawser/held/")).values()].some((value) => value.includes(`"${holder.name}"`)));
  await seen.settles(holder.name);
  t.true(seen.missed(t, since) <= few, "longer than a lease without etcd");

  since = Date.now();
  await holder.agent.stop();
  await waitFor("another to answer", () => seen.holder() !== holder.name, { promisedMs: 40_000 });
  t.true(seen.missed(t, since) <= few, "the entry outlives the agent until another has announced the address");
  const next = seen.holder();
  since = Date.now();
  await holder.agent.start();
  await seen.settles(next);
  t.true(seen.missed(t, since) <= few);
  await a.hawser(["service", "delete", "web"]);
});

test.serial("an address that another machine on the link has is left to it, and said; a host answers when it is free", async (t) => {
  const { a, world } = stage;
  const { neighbour, hosts } = world;
  const [taken, free] = ["10.99.0.202", "fd99::202"];
  await stage.network("shop", "--ipv6");
  await stage.container(a, "web1", "shop", "--label", "app=web");
  await using scope = new AsyncDisposableStack();
  await neighbour.run(["ip", "address", "add", `${taken}/24`, "dev", "eth0"]);
  const since = Date.now();
  await serve(world, hosts, [taken, free]);
  const seen = await observe(world, free, scope);
  const told = async (host: Host): Promise<string> => ((await host.json("status")) as { readonly problems: readonly string[] }).problems.join();
  const examined = async (host: Host): Promise<string> => (await host.hawser(["doctor", "--config", host.configuration, "-o", "json"], { mayFail: true })).stdout;
  const telling = async (): Promise<readonly Host[]> => (await Promise.all(hosts.map(async (host) => ((await told(host)).includes(`${taken} is another machine's`) ? [host] : [])))).flat();
  await waitFor("the host whose it would be to say so", async () => (await telling()).length === 1, { promisedMs: 30_000, explain: () => a.agent.tail(20) });
  const [teller] = await telling();
  t.truthy(teller);
  if (teller === undefined) return;
  t.regex(await examined(teller), new RegExp(`"${taken.replaceAll(".", "\\.")} is another machine's, .* on device \\d+",\\s*"mend": "take it off that machine `));
  await waitFor("nobody to be its holder at its next look", async () => (await holderOf(teller, taken)) === "");
  await waitFor("the other address to be answered for", () => seen.holder() !== undefined);
  t.log(`the free one is answered for ${Date.now() - since} ms after it was applied`);

  await neighbour.run(["ip", "address", "delete", `${taken}/24`, "dev", "eth0"]);
  const now = await observe(world, taken, scope);
  await now.settles(teller.name);
  await waitFor("it to be its holder at its next look", async () => (await holderOf(teller, taken)) === teller.name);
  await waitFor("nothing to be told of it any more", async () => !(await told(teller)).includes(taken));
  t.notRegex(await examined(teller), new RegExp(taken));

  await neighbour.run(["ip", "address", "add", `${taken}/24`, "dev", "eth0"]);
  await neighbour.sh(`ping -c 1 -w 1 -I ${taken} ${teller.ipv4} || true`);
  await waitFor("the machine that was given it while it is answered for to be told", async () => (await examined(teller)).includes(`another machine says that it has ${taken}, `), { promisedMs: 40_000 });
  await neighbour.run(["ip", "address", "delete", `${taken}/24`, "dev", "eth0"]);
  await now.settles(teller.name);
  await a.hawser(["service", "delete", "web"]);
});
