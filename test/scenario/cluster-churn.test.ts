// etcd is killed while 50 containers start and stop on three hosts; afterwards every record equals reality, on every node.
// Runs alone: it starts as many containers at once as the cores can.
//
//   a: a0 …   b: b0 …   c: c0 …  (shop)     e1 e2 e3 (etcd)
import test from "ava";
import { clusterScene, dropsOf, endpointsOf, meet } from "../lab/cluster.ts";
import { expectDrops } from "../lab/drops.ts";
import type { Host } from "../lab/host.ts";
import { waitFor } from "../lab/run.ts";

const stage = clusterScene(test);

async function inParallel(count: number, lanes: number, work: (index: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

/** `HOST NAME ADDRESS` of what Docker runs. */
async function real(hosts: readonly Host[]): Promise<readonly string[]> {
  const rows = await Promise.all(hosts.map(async (host) => {
    const names = (await host.docker("ps", "--format", "{{.Names}}")).split("\n").filter(Boolean);
    if (names.length === 0) return [];
    const listed = await host.docker("inspect", "-f", "{{.Name}} {{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", ...names);
    return listed.split("\n").map((line) => `${host.name} ${line.replace(/^\//, "")}`);
  }));
  return rows.flat().sort();
}

async function recorded(): Promise<readonly string[]> {
  return [...(await stage.etcd.read("/hawser/endpoints/"))].map(([key, value]) => {
    const { name, ipv4 } = JSON.parse(value) as { readonly name: string; readonly ipv4: string };
    return `${key.split("/")[3]} ${name} ${ipv4}`;
  }).sort();
}

async function remotes(host: Host): Promise<number> {
  const maps = (await host.json("map", "list")) as readonly { readonly name: string; readonly entries: number }[];
  return maps.find(({ name }) => name === "hw_remotes")?.entries ?? -1;
}

test.serial("etcd killed while 50 containers start and stop, five at a time: afterwards the records equal reality on every node", async (t) => {
  const { etcd, world: { hosts } } = stage;
  await stage.network("shop");
  const before = await dropsOf(hosts);
  const kept = new Set<number>();
  let started = 0;
  const killing = waitFor("a third to have started", () => started >= 17, { promisedMs: 600_000 }).then(() => etcd.kill());
  const starting = waitFor("two thirds to have started", () => started >= 34, { promisedMs: 600_000 }).then(() => etcd.start());
  await Promise.all([killing, starting, inParallel(50, 5, async (index) => {
    const host = hosts[index % hosts.length];
    if (host === undefined) throw new Error("there is no host");
    await host.container(`${host.name}${index}`, ["--network", "shop", "--label", `tier=t${index % 7}`]);
    started += 1;
    if (index % 4 === 1) await host.docker("rm", "-f", `${host.name}${index}`);
    else kept.add(index);
  })]);
  const reality = await real(hosts);
  t.is(reality.length, kept.size);
  await waitFor("the records to equal reality", async () => (await recorded()).join("\n") === reality.join("\n"), { promisedMs: 40_000 });
  t.deepEqual(await recorded(), reality);
  for (const host of hosts) {
    const own = (await endpointsOf(host)).map(({ name, ipv4 }) => `${host.name} ${name} ${ipv4}`).sort();
    t.deepEqual(own, reality.filter((line) => line.startsWith(`${host.name} `)));
    await waitFor(`${host.name}'s kernel to know the others' containers and no more`, async () => (await remotes(host)) === reality.length - own.length);
  }
  const one = await Promise.all(hosts.map(async (host) => host.inside(reality.find((line) => line.startsWith(`${host.name} `))?.split(" ")[1] ?? "")));
  await meet(one);
  for (const [index, host] of hosts.entries()) await expectDrops(host, before[index] ?? {}, {});
  await Promise.all(hosts.map((host) => host.clear()));
  await waitFor("no record to be left", async () => (await recorded()).length === 0);
  for (const host of hosts) await waitFor(`${host.name} to know no other's container`, async () => (await remotes(host)) === 0);
});
