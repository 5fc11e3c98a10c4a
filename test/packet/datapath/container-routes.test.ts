// Routes inside of containers' namespaces: put there, followed, taken away, and nothing of the container's own or of the host's touched.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Datapath } from "../../../src/datapath/types.ts";
import type { ContainerRoutesPlan, EndpointId } from "../../../src/network/types.ts";
import { parseCidr, parseIp } from "../../../src/std/ip.ts";
import { inOwnHost } from "./namespace.ts";
import type { World } from "./namespace.ts";

interface Container extends AsyncDisposable {
  readonly sandbox: string;
  /** Runs `ip` with these words inside. */
  ip(words: string): string;
  /** As Docker brings an endpoint's end of the cable in: interface `ethN`, 10.44.N.2/26 and fd44:N::2/64. */
  plug(n: number): void;
  /** Ours, as `ip` lists them. */
  routes(): readonly string[];
}

async function container({ ip, until }: World): Promise<Container> {
  const holder = spawn("unshare", ["--net", "sleep", "60"], { stdio: "ignore" });
  const sandbox = `/proc/${holder.pid}/ns/net`;
  await until("the namespace is made", () => statSync(sandbox).ino !== statSync("/proc/self/ns/net").ino);
  const inside = (words: string): string => execFileSync("nsenter", [`--net=${sandbox}`, "ip", ...words.split(" ")], { encoding: "utf8" });
  return {
    sandbox,
    ip: inside,
    plug: (n) => {
      ip(`link add hw0000000000${n} type veth peer name hw0000000000${n}c`);
      ip(`link set hw0000000000${n}c netns ${holder.pid} name eth${n}`);
      for (const words of [`address add 10.44.${n}.2/26 dev eth${n}`, `-6 address add fd44:${n}::2/64 dev eth${n} nodad`, `link set eth${n} up`]) inside(words);
      ip(`link set hw0000000000${n} up`);
    },
    routes: () => [...inside("route show proto 72").split("\n"), ...inside("-6 route show proto 72").split("\n")].map((line) => line.replace(" pref medium", "").trim()).filter((line) => line !== "").toSorted(),
    [Symbol.asyncDispose]: async () => {
      holder.kill("SIGKILL");
      await once(holder, "exit");
    },
  };
}

function plan(sandbox: string, n: number, destinations: readonly string[], given: readonly string[] = []): ContainerRoutesPlan {
  const routes = destinations.map((text) => ({ destination: parseCidr(text), gateway: parseIp(text.includes(":") ? `fd44:${n}::1` : `10.44.${n}.1`) }));
  return { sandbox, address: parseCidr(`10.44.${n}.2/26`), routes, given: given.map((text) => parseCidr(text)) };
}

function install({ doers }: Datapath, plans: Readonly<Record<string, ContainerRoutesPlan>>): Promise<void> {
  return doers.containerRoutes.do({ kind: "containerRoutes", routes: new Map(Object.entries(plans) as [EndpointId, ContainerRoutesPlan][]), before: null });
}

const v4 = "10.45.1.0/26 via 10.44.1.1 dev eth1 metric 4096";
const v6 = "fd45:1::/64 via fd44:1::1 dev eth1 metric 4096";

await inOwnHost(import.meta.url, {
  "routes come as soon as Docker has put the interface there, follow the plan and go with it": async (world) => {
    await using datapath = await world.open();
    await using inner = await container(world);
    await install(datapath, { a: plan(inner.sandbox, 1, ["10.45.1.0/26", "fd45:1::/64"]) });
    await world.until("it was looked for in vain", () => world.lines.some(({ message, endpoint }) => /cannot be given/.test(String(message)) && endpoint === "a"));
    inner.plug(1);
    await world.until("both routes", () => inner.routes().join() === [v4, v6].join());
    await install(datapath, { a: plan(inner.sandbox, 1, ["10.45.2.0/26", "fd45:1::/64"]) });
    await world.until("the other route", () => inner.routes().join() === ["10.45.2.0/26 via 10.44.1.1 dev eth1 metric 4096", v6].join());
    await install(datapath, {});
    await world.until("none", () => inner.routes().length === 0);
  },

  "each network's are on its own interface, and those of one go alone": async (world) => {
    await using datapath = await world.open();
    await using inner = await container(world);
    inner.plug(1);
    inner.plug(2);
    const two = plan(inner.sandbox, 2, ["10.46.1.0/26"]);
    await install(datapath, { a: plan(inner.sandbox, 1, ["10.45.1.0/26"]), b: two });
    await world.until("both", () => inner.routes().join() === [v4, "10.46.1.0/26 via 10.44.2.1 dev eth2 metric 4096"].join());
    await install(datapath, { b: two });
    await world.until("one", () => inner.routes().join() === "10.46.1.0/26 via 10.44.2.1 dev eth2 metric 4096");
  },

  "what Docker put there at Join is enough, and goes when nobody wants it; what is the container's own comes first and stays": async (world) => {
    await using datapath = await world.open();
    await using inner = await container(world);
    inner.plug(1);
    for (const subnet of ["10.45.1.0/26", "10.45.2.0/26", "10.45.3.0/26", "default"]) inner.ip(`route add ${subnet} via 10.44.1.1`);
    inner.ip("route add 10.45.4.0/26 via 10.44.1.9");
    const given = ["10.45.1.0/26", "10.45.2.0/26"];
    await install(datapath, { a: plan(inner.sandbox, 1, ["10.45.1.0/26", "10.45.3.0/26", "10.45.4.0/26"], given) });
    const ours = ["10.45.3.0/26 via 10.44.1.1 dev eth1 metric 4096", "10.45.4.0/26 via 10.44.1.1 dev eth1 metric 4096"];
    await world.until("those that Docker was not told of", () => inner.routes().join() === ours.join());
    assert.doesNotMatch(inner.ip("route"), /10\.45\.2\.0/);
    assert.match(inner.ip("route"), /10\.45\.1\.0\/26 via 10\.44\.1\.1 dev eth1 \n/);
    assert.match(inner.ip("route get 10.45.4.1"), /via 10\.44\.1\.9/);
    await install(datapath, { a: plan(inner.sandbox, 1, [], given) });
    await world.until("none", () => inner.routes().length === 0 && !/10\.45\.1\.0/.test(inner.ip("route")));
    assert.match(inner.ip("route"), /default via 10\.44\.1\.1[\s\S]*10\.45\.3\.0\/26 via 10\.44\.1\.1[\s\S]*10\.45\.4\.0\/26 via 10\.44\.1\.9/);
  },

  "what Docker is about to put there is not put there first, and is when it does not come or goes": async (world) => {
    await using datapath = await world.open();
    await using inner = await container(world);
    inner.plug(1);
    const whole = plan(inner.sandbox, 1, ["10.45.1.0/26", "10.45.2.0/26"], ["10.45.1.0/26"]);
    await install(datapath, { a: whole });
    await world.until("the other one", () => inner.routes().length > 0);
    assert.deepEqual(inner.routes(), ["10.45.2.0/26 via 10.44.1.1 dev eth1 metric 4096"]);
    await install(datapath, { a: whole });
    await world.until("both", () => inner.routes().length === 2);
    await install(datapath, { a: plan(inner.sandbox, 1, [], ["10.45.1.0/26"]) });
    await world.until("none", () => inner.routes().length === 0);
    await install(datapath, { a: plan(inner.sandbox, 1, ["10.45.1.0/26"], ["10.45.1.0/26"]) });
    await world.until("it to be back at once", () => inner.routes().join() === v4);
  },

  "an agent that comes after another takes over what stands": async (world) => {
    await using inner = await container(world);
    inner.plug(1);
    {
      await using datapath = await world.open();
      await install(datapath, { a: plan(inner.sandbox, 1, ["10.45.1.0/26", "10.45.2.0/26"]) });
      await world.until("both", () => inner.routes().length === 2);
    }
    assert.equal(inner.routes().length, 2, "and stands while there is none");
    await using datapath = await world.open();
    await install(datapath, { a: plan(inner.sandbox, 1, ["10.45.1.0/26"]) });
    await world.until("the one", () => inner.routes().join() === v4);
  },

  "a container that is gone, a file that is no namespace and the host's own fail nothing and keep nobody from having theirs": async (world) => {
    await using datapath = await world.open();
    await using inner = await container(world);
    inner.plug(1);
    const file = join(process.env["HAWSER_TEST_FOLDER"] ?? "", "stub");
    writeFileSync(file, "");
    world.ip("address add 10.44.7.2/26 dev wan0");
    const before = world.ip("route show");
    const broken = { ...plan(inner.sandbox, 1, ["10.45.1.0/26", "fd45:1::/64"]), routes: [
      { destination: parseCidr("10.45.9.0/26"), gateway: parseIp("192.0.2.77") }, { destination: parseCidr("10.45.1.0/26"), gateway: parseIp("10.44.1.1") },
    ] };
    await install(datapath, { a: plan("/run/docker/netns/gone", 1, ["10.45.1.0/26"]), b: plan(file, 1, ["10.45.1.0/26"]), c: plan("/proc/self/ns/net", 7, ["10.45.1.0/26"]), d: broken });
    await world.until("the last one's", () => inner.routes().join() === v4);
    const said = (): readonly string[] => [...new Set(world.lines.filter(({ message }) => /cannot be given/.test(String(message))).map(({ endpoint, why }) => `${endpoint}: ${why}`))].toSorted();
    await world.until("all four to be told", () => said().length >= 4);
    assert.match(said().join("\n"), /a: .*ENOENT[\s\S]*b: .*EINVAL[\s\S]*c: it is the host's own namespace\nd: .*10\.45\.9\.0\/26/);
    assert.equal(world.ip("route show"), before);
    inner.ip("route add 192.0.2.77 dev eth1");
    await datapath.doers.containerRoutes.do({ kind: "containerRoutes", routes: new Map([["d" as EndpointId, broken]]), before: null });
    await world.until("what was refused, too", () => inner.routes().length === 2);
  },
});
