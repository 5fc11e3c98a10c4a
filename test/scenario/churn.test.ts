// Many containers, at once and after each other; and afterwards nothing is left over.
// Runs alone: it starts as many containers at once as the cores can.
//
//   a: c0 … c99 (shop)
//   a: web1, web2 (shop)  ◀── 198.18.7.7:80 (web) ── router ── outside
//                         ◀── 198.18.8.0:80… (others, which come and go)
import { writeFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
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

const address = "198.18.7.7";
const textOf = (name: string, frontend: string, more = ""): string => `service: ${name}
frontends: ["${frontend}"]
backends: [{ select: { network: shop, label: app=web }, port: 7000 }]
health: { kind: none }
${more}`;

test.serial("a service that nobody touches: its streams go on and every new connection is answered, from outside and from a container, whatever happens beside it", async (t) => {
  const { host, world: { outside, router, directory } } = stage;
  await router.run(["ip", "route", "replace", address, "via", host.ipv4]);
  await host.network("shop");
  for (const name of ["web1", "web2"]) await host.container(name, ["--network", "shop", "--label", "app=web"]);
  await host.container("other", ["--network", "shop"]);
  await using _one = await (await host.inside("web1")).serve({ tcp: [7000] });
  await using _two = await (await host.inside("web2")).serve({ tcp: [7000] });
  const other = await host.inside("other");
  const [web, others] = [`${directory}/web.yaml`, `${directory}/others.yaml`];
  writeFileSync(web, textOf("web", `${address}:80`));
  await host.hawser(["service", "apply", web]);
  await using held = new AsyncDisposableStack();
  const streams = await Promise.all([outside, other].flatMap((from) => Array.from({ length: 4 }, async () => held.use(await from.stream(address, 80)))));

  const over = new AbortController();
  const answers = new Map<string, number>();
  const asking = [outside, other].map(async (from) => {
    while (!over.signal.aborted) {
      const answer = (await from.ask("tcp", address, 80)).replace(/ .*/, "");
      answers.set(answer, (answers.get(answer) ?? 0) + 1);
      await setTimeout(30);
    }
  });
  for (let round = 0; round < 6; round++) {
    const more = ["affinity: { by: client }\n", "sources: { deny: [192.0.2.0/24] }\n", ""][round % 3] as string;
    writeFileSync(others, Array.from({ length: 40 }, (_, i) => textOf(`other${i}`, `198.18.8.${i + round}:80`, more)).join("---\n"));
    const applying = host.hawser(["service", "apply", others], { mayFail: true });
    if (round % 2 === 1) {
      await setTimeout(250 + 60 * round);
      await host.agent.kill();
      await applying;
      await host.agent.start();
    }
    await applying;
    for (let i = 0; i < 3; i++) await host.hawser(["service", "delete", `other${i}`], { mayFail: true });
  }
  over.abort();
  await Promise.all(asking);
  t.log(Object.fromEntries(answers));
  t.deepEqual([...answers.keys()].toSorted(), [outside.ipv4, other.ipv4].toSorted());
  for (const stream of streams) t.like(await stream.report(), { error: null });
  const names = ((await host.json("service", "list")) as readonly { readonly name: string }[]).map(({ name }) => name);
  for (const name of names) await host.hawser(["service", "delete", name]);
});
