// Many containers, at once and after each other; and afterwards nothing is left over.
//
//   a: c0 … c99 (shop)
import test from "ava";
import { expectDrops } from "../lab/drops.ts";
import { scene } from "../lab/scenario.ts";
import type { Host } from "../lab/host.ts";

const stage = scene(test);

/**
 * All that Hawser keeps for endpoints: links, pins, map entries, rows. Connections age by themselves, and what rules say of a kind of
 * container stays for the next one of its kind (64 kinds at most), so that its start writes one entry.
 */
async function remains(host: Host): Promise<unknown> {
  const maps = (await host.json("map", "list")) as readonly { readonly name: string; readonly entries: number }[];
  const aging = /ct4|ct6|fragments|metrics|events|policy_pairs|policy_ports/;
  return {
    links: await host.links(),
    pins: (await host.sh("find /sys/fs/bpf/hawser/links | sort")).split("\n"),
    entries: maps.filter((map) => !aging.test(map.name)).map((map) => `${map.name} ${map.entries}`).sort(),
    endpoints: await host.json("endpoint", "list"),
    ports: await host.json("port"),
  };
}

async function inParallel(count: number, lanes: number, work: (index: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

test.serial("100 containers start 8 at a time, reach each other, and leave nothing over (R92, R94)", async (t) => {
  const { host } = stage;
  t.timeout(300_000);
  await host.network("shop", "--ipv6", "--subnet", "10.70.0.0/24", "--subnet", "fd70::/64");
  const before = await remains(host);
  const drops = await host.drops();
  await inParallel(100, 8, (index) => host.container(`c${index}`, ["--network", "shop", "-p", `${20_000 + index}:80`]));
  const endpoints = (await host.json("endpoint", "list")) as readonly { readonly name: string; readonly state: string; readonly ipv4: string }[];
  t.is(endpoints.filter((each) => each.state === "ready").length, 100);
  t.is(new Set(endpoints.map((each) => each.ipv4)).size, 100);
  for (const name of ["c1", "c50", "c99"]) t.is((await host.dockerOutput(["exec", "c0", "ping", "-c1", "-W1", name])).code, 0);
  const all = Array.from({ length: 100 }, (_, index) => `c${index}`);
  await inParallel(8, 8, (lane) => host.docker("rm", "-f", ...all.filter((_, index) => index % 8 === lane)));
  t.deepEqual(await remains(host), before);
  await expectDrops(host, drops, {});
});

test.serial("projects that come up and go down as Compose does it leave nothing over (R96)", async (t) => {
  const { host } = stage;
  t.timeout(180_000);
  const before = await remains(host);
  for (let round = 0; round < 3; round += 1) {
    await host.network("shop_default", "--label", "com.docker.compose.project=shop");
    for (const service of ["db", "api", "web"]) {
      await host.docker("create", "--name", `shop-${service}-1`, "--network", "shop_default", "--network-alias", service,
        "--label", "com.docker.compose.project=shop", "--label", `com.docker.compose.service=${service}`,
        ...(service === "web" ? ["-p", "8080:80"] : []), "hawser/busybox", "sleep", "infinity");
    }
    await Promise.all(["db", "api", "web"].map((service) => host.docker("start", `shop-${service}-1`)));
    t.is((await host.dockerOutput(["exec", "shop-web-1", "ping", "-c1", "-W1", "db"])).code, 0);
    await host.docker("rm", "-f", "shop-db-1", "shop-api-1", "shop-web-1");
    await host.docker("network", "rm", "shop_default");
  }
  t.deepEqual(await remains(host), before);
});

test.serial("a container removed in the middle of its start is rolled back (R95)", async (t) => {
  const { host } = stage;
  await host.network("shop");
  const before = await remains(host);
  for (let round = 0; round < 5; round += 1) {
    const starting = host.dockerOutput(["run", "-d", "--name", "hasty", "--network", "shop", "-p", "8080:80", "hawser/busybox", "sleep", "infinity"]);
    await host.dockerOutput(["rm", "-f", "hasty"]);
    await starting;
    await host.dockerOutput(["rm", "-f", "hasty"]);
  }
  const broken = await host.dockerOutput(["run", "--rm", "--network", "shop", "-p", "8080:80", "hawser/busybox", "/no/such/program"]);
  t.not(broken.code, 0);
  t.deepEqual(await remains(host), before);
});
