// Addresses of services on the hosts' own link: one host answers for each, another when it dies, and never two.
//
//   a: web1 (shop)   b: web2 (shop)   c     neighbour
//   └──────┬─────────┴──────┬─────────┴─────┴── LAN: 10.99.0.200, fd99::200
import test from "ava";
import { clusterScene } from "../lab/cluster.ts";
import { observe, serve } from "../lab/holders.ts";
import type { Host } from "../lab/host.ts";
import { waitFor } from "../lab/run.ts";

const stage = clusterScene(test);
const [four, six] = ["10.99.0.200", "fd99::200"];

interface Shown {
  readonly frontends: readonly { readonly address: string; readonly holder: string }[];
}

const holderOf = async (host: Host, address: string): Promise<string> => {
  const services = (await host.json("service", "list")) as readonly Shown[];
  return services.flatMap(({ frontends }) => frontends).find((one) => one.address === address)?.holder ?? "";
};

test.serial("a client on the link finds a service's address; one host answers, another when it dies, none twice, and none when it is deleted", async (t) => {
  t.timeout(150_000);
  const { a, b, world } = stage;
  const { neighbour, hosts } = world;
  await stage.network("shop", "--ipv6");
  const webs = [await stage.container(a, "web1", "shop", "--label", "app=web"), await stage.container(b, "web2", "shop", "--label", "app=web")];
  await using scope = new AsyncDisposableStack();
  for (const web of webs) scope.use(await web.serve({ tcp: [7000] }));
  const began = Date.now();
  await serve(world, hosts, [four, six]);
  const [v4, v6] = [await observe(world, four, scope), await observe(world, six, scope)];
  await waitFor("somebody to answer for both", () => v4.holder() !== undefined && v6.holder() !== undefined);
  t.log(`answered ${Date.now() - began} ms after it was applied`);
  for (const [address, mine, first] of [[four, neighbour.ipv4, 5000], [six, neighbour.ipv6, 5010]] as const) {
    for (let port = first; port < first + 4; port++) t.is(await neighbour.ask("tcp", address, 80, { sourcePort: port }), `${mine} ${port}`);
  }
  const holder = hosts.find(({ name }) => name === v4.holder());
  if (holder === undefined) throw new Error(`a stranger answers: ${v4.holder()}`);
  for (const host of hosts) {
    t.is(await holderOf(host, four), v4.holder() ?? "");
    t.is(await holderOf(host, six), v6.holder() ?? "");
  }

  let since = Date.now();
  await holder.agent.kill();
  await v4.settles(holder.name);
  await holder.agent.start();
  await waitFor("the new agent to have taken over its word", async () => (await holderOf(holder, four)) === holder.name);
  await v4.settles(holder.name);
  t.true(v4.gap(t, since) < 400, "an agent that is killed leaves no gap");

  since = Date.now();
  await holder.unplug();
  const left = hosts.filter((host) => host !== holder);
  await waitFor("another to answer", () => v4.holder() !== undefined && v4.holder() !== holder.name, { timeoutMs: 40_000 });
  t.log(`another answers ${v4.gap(t, since)} ms after the holder died`);
  const next = v4.holder();
  t.true(left.some(({ name }) => name === next));
  t.regex(await neighbour.ask("tcp", six, 80), /^\S+ \d+$/, "who knew the dead holder was told of the next");
  since = Date.now();
  await holder.plug();
  await waitFor("the one that is back to know who has it", async () => (await holderOf(holder, four)) === next, { timeoutMs: 20_000 });
  await v4.settles(next);
  t.true(v4.gap(t, since) < 400, "who is back takes nothing away");
  v6.gap(t, since);

  for (const host of hosts) await host.hawser(["service", "delete", "web"]);
  await v4.settles(undefined, 5000);
  await v6.settles(undefined, 5000);
  await waitFor("nobody to be written down", async () => (await stage.etcd.read("/hawser/held/")).size === 0);
});

test.serial("with etcd away nothing moves, until a host dies whose address another then has when etcd is back; a clean stop keeps answering until another takes over", async (t) => {
  t.timeout(150_000);
  const { a, etcd, world } = stage;
  const { hosts } = world;
  await stage.network("shop");
  await stage.container(a, "web1", "shop", "--label", "app=web");
  await using scope = new AsyncDisposableStack();
  await serve(world, hosts, [four]);
  const seen = await observe(world, four, scope);
  await waitFor("somebody to answer", () => seen.holder() !== undefined);
  const holder = hosts.find(({ name }) => name === seen.holder());
  if (holder === undefined) throw new Error(`a stranger answers: ${seen.holder()}`);
  let since = Date.now();
  await etcd.kill();
  await new Promise((resolve) => setTimeout(resolve, 18_000));
  await holder.agent.kill();
  await holder.agent.start();
  await etcd.start();
  await waitFor("the holder's word to stand again", async () => [...(await etcd.read("/hawser/held/")).values()].some((value) => value.includes(`"${holder.name}"`)));
  await seen.settles(holder.name);
  t.true(seen.gap(t, since) < 400, "longer than a lease without etcd");

  since = Date.now();
  await holder.agent.stop();
  await waitFor("another to answer", () => seen.holder() !== holder.name, { timeoutMs: 40_000 });
  t.true(seen.gap(t, since) < 400, "the entry outlives the agent until another has announced the address");
  const next = seen.holder();
  since = Date.now();
  await holder.agent.start();
  await seen.settles(next);
  t.true(seen.gap(t, since) < 400);
  for (const host of hosts) await host.hawser(["service", "delete", "web"]);
});
