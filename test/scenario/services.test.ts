// A service in front of containers that come, stop and die, asked for from outside.
//
//   a: web1, web2 (shop)  ◀── 198.18.7.7:80 ── router ── outside
//      neighbour (a server that knows nothing of services) ◀┘
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test from "ava";
import { few, observe, serve } from "../lab/holders.ts";
import { image } from "../lab/image.ts";
import { waitFor } from "../lab/run.ts";
import { scene } from "../lab/scenario.ts";

const stage = scene(test);
const address = "198.18.7.7";
const text = `service: web
frontends: ["${address}:80"]
backends: [{ select: { network: shop, label: app=web }, port: 7000 }]
health: { kind: none }
drain: 60s
`;

interface Backend {
  readonly identity: string;
  readonly state: string;
}

const backends = async (): Promise<readonly string[]> => {
  const [web] = (await stage.host.json("service", "list")) as readonly { readonly backends: readonly Backend[] }[];
  return (web?.backends ?? []).map(({ identity, state }) => `${identity.replace(/^.*\/(.*):.*$/, "$1")} ${state}`).toSorted();
};

test.serial("R76, R77: clients reach whoever serves with their own address; who is told to stop drains, who is killed is gone at once", async (t) => {
  const { host, world: { outside, router, directory } } = stage;
  await router.run(["ip", "route", "replace", address, "via", host.ipv4]);
  await host.network("shop");
  for (const name of ["web1", "web2", "web3"]) await host.container(name, ["--network", "shop", "--label", "app=web"]);
  await host.container("other", ["--network", "shop"]);
  await using _one = await (await host.inside("web1")).serve({ tcp: [7000] });
  await using _two = await (await host.inside("web2")).serve({ tcp: [7000] });
  await using _three = await (await host.inside("web3")).serve({ tcp: [7000] });
  const file = `${directory}/web.yaml`;
  writeFileSync(file, text);
  t.is((await host.hawser(["service", "apply", file])).stdout, "applied web\n");
  t.deepEqual(await backends(), ["web1 active", "web2 active", "web3 active"]);
  for (let port = 5000; port < 5010; port++) t.is(await outside.ask("tcp", address, 80, { sourcePort: port }), `${outside.ipv4} ${port}`);
  // Sockets of containers and of the host are led there when they connect.
  const other = await host.inside("other");
  t.true((await other.ask("tcp", address, 80)).startsWith(`${other.ipv4} `));
  t.regex(await host.ask("tcp", address, 80), /^[0-9.]+ \d+$/);
  t.is(await other.ask("tcp", address, 81), "ECONNREFUSED", "another port of a service's address");

  // Its first process has no handler for SIGTERM, so that it lives until Docker's patience is over.
  const stopping = host.docker("stop", "-t", "5", "web2");
  await waitFor("web2 to drain", async () => (await backends()).includes("web2 draining"), { promisedMs: 3000 });
  for (let port = 5010; port < 5020; port++) t.is(await outside.ask("tcp", address, 80, { sourcePort: port }), `${outside.ipv4} ${port}`);
  await stopping;
  await waitFor("web2 to be gone", async () => (await backends()).length === 2, { promisedMs: 3000 });

  const killed = Date.now();
  await host.docker("kill", "web3");
  await waitFor("web3 to be gone", async () => (await backends()).length === 1, { promisedMs: 3000 });
  t.log(`gone ${Date.now() - killed} ms after docker kill was called`);
  for (let port = 5020; port < 5030; port++) t.is(await outside.ask("tcp", address, 80, { sourcePort: port }), `${outside.ipv4} ${port}`);

  await host.agent.stop();
  await host.agent.start();
  t.deepEqual(await backends(), ["web1 active"]);
  t.is(await outside.ask("tcp", address, 80, { sourcePort: 5040 }), `${outside.ipv4} 5040`);
  await host.hawser(["service", "delete", "web"]);
  t.deepEqual(await host.json("service", "list"), []);
});

test.serial("a client on the link finds a service's address, by IPv4 and IPv6, and finds it still while the agent is away; a sweep of everything ends it", async (t) => {
  const { host, world } = stage;
  const { neighbour, router } = world;
  await host.network("shop", "--ipv6");
  await host.container("web1", ["--network", "shop", "--label", "app=web"]);
  await using _one = await (await host.inside("web1")).serve({ tcp: [7000] });
  await serve(world, [host], ["10.99.0.200", "fd99::200"]);
  await using scope = new AsyncDisposableStack();
  const seen = [await observe(world, "10.99.0.200", scope), await observe(world, "fd99::200", scope)];
  for (const one of seen) await one.settles("a");
  t.is(await neighbour.ask("tcp", "10.99.0.200", 80, { sourcePort: 5000 }), `${neighbour.ipv4} 5000`);
  t.is(await neighbour.ask("tcp", "fd99::200", 80, { sourcePort: 5001 }), `${neighbour.ipv6} 5001`);
  // Answered at once, also where the uplink leaves sums to nobody behind it.
  for (const sums of ["on", "off"]) {
    await host.run(["ethtool", "-K", "eth0", "tx", sums]);
    for (const held of ["10.99.0.200", "fd99::200"]) {
      for (const protocol of ["tcp", "udp"] as const) t.is(await neighbour.ask(protocol, held, 81), "ECONNREFUSED", `${protocol} to ${held}, tx ${sums}`);
      t.is((await neighbour.run(["ping", "-c1", "-W2", held], { mayFail: true })).code, 0, `${held}, tx ${sums}`);
    }
  }
  await host.run(["ethtool", "-K", "eth0", "tx", "on"]);
  t.regex((await host.hawser(["service", "get", "web"])).stdout, /^held by +a$/m);
  t.regex(await host.sh("ip maddr show dev eth0"), /ff02::1:ff00:200/);

  const since = Date.now();
  await host.agent.stop();
  for (const one of seen) await one.settles("a");
  await host.run(["ip", "link", "set", "dev", "eth0", "address", "02:00:00:00:00:aa"]);
  await host.agent.start();
  await waitFor("the uplink's new MAC to be told", async () => /02:00:00:00:00:aa/.test(await neighbour.sh("ip neighbour show 10.99.0.200")));
  for (const one of seen) t.true(one.missed(t, since) <= few);
  await host.agent.stop();
  await host.hawser(["sweep", "--all", "--config", host.configuration]);
  for (const one of seen) await one.settles(undefined);
  t.notRegex(await host.sh("ip maddr show dev eth0"), /ff02::1:ff00:200/);
  // Linux tells nobody of the host's own addresses that its MAC is another.
  for (const one of [neighbour, router]) await one.run(["ip", "neighbour", "flush", "all"]);
  await host.agent.start();
  await host.hawser(["service", "delete", "web"]);
});

test.serial("R76: a container that dies while Docker is stopped is gone within a second, as containerd says", async (t) => {
  const { host, world: { directory } } = stage;
  await host.network("shop");
  for (const name of ["web1", "web2"]) await host.container(name, ["--network", "shop", "--label", "app=web"]);
  const pid = await host.docker("inspect", "-f", "{{.State.Pid}}", "web2");
  const file = `${directory}/web.yaml`;
  writeFileSync(file, text);
  await host.hawser(["service", "apply", file]);
  t.deepEqual(await backends(), ["web1 active", "web2 active"]);
  await host.dockerd.kill();
  const died = Date.now();
  await host.run(["kill", "-KILL", pid]);
  await waitFor("web2 to be gone", async () => (await backends()).length === 1, { promisedMs: 3000 });
  t.log(`gone ${Date.now() - died} ms after it was killed`);
  await host.dockerd.start();
  await host.hawser(["service", "delete", "web"]);
});

test.serial("a server that knows nothing of services is asked in the node's name, with the agent away, too, and by sockets here directly", async (t) => {
  const { host, world: { neighbour, outside, router, directory } } = stage;
  await router.run(["ip", "route", "replace", address, "via", host.ipv4]);
  await host.network("shop");
  await host.container("other", ["--network", "shop"]);
  await using _server = await neighbour.serve({ tcp: [7000], udp: [7000] });
  const file = `${directory}/web.yaml`;
  writeFileSync(file, `service: web
frontends: ["${address}:80", "${address}:53/udp"]
backends: [{ address: "${neighbour.ipv4}:7000" }]
health: { kind: none }
`);
  t.is((await host.hawser(["service", "apply", file])).stdout, "applied web\n");
  const asked = async (): Promise<void> => {
    for (const [protocol, port] of [["tcp", 80], ["udp", 53]] as const) {
      for (let i = 0; i < 10; i++) {
        const [from, own] = (await outside.ask(protocol, address, port)).split(" ");
        t.is(from, host.ipv4);
        t.true(Number(own) >= 16384 && Number(own) < 32768, `port ${own}`);
      }
    }
  };
  await asked();
  const other = await host.inside("other");
  t.regex(await other.ask("tcp", address, 80), new RegExp(`^${host.ipv4.replaceAll(".", "\\.")} \\d+$`));
  t.true(Number((await host.ask("tcp", address, 80)).split(" ")[1]) >= 32768, "the host's own port, and nobody translates");
  await host.agent.stop();
  await asked();
  await host.agent.start();
  await asked();
  await host.hawser(["service", "delete", "web"]);
});

test.serial("the first example of docs/services.md is applied as it stands", async (t) => {
  const { host, world: { directory } } = stage;
  await host.network("shop");
  const [, example = ""] = /```yaml\n([\s\S]*?)```/.exec(readFileSync(join(import.meta.dirname, "../../docs/services.md"), "utf8")) ?? [];
  const file = `${directory}/example.yaml`;
  writeFileSync(file, example);
  t.is((await host.hawser(["service", "apply", file])).stdout, "applied web\n");
  const [web] = (await host.json("service", "list")) as readonly { readonly state: string; readonly backends: readonly Backend[] }[];
  t.deepEqual([web?.state, web?.backends.map(({ identity }) => identity)], ["enforced", ["192.0.2.7:8080"]]);
  await host.hawser(["service", "delete", "web"]);
});

test.serial("a container that answers 500 goes out and comes back, its connections keep going, and neither a restart nor a pause of the agent changes who serves", async (t) => {
  const { host, world: { outside, router, directory } } = stage;
  const script = fileURLToPath(new URL("../lab/web.py", import.meta.url));
  const say = (name: string, status: number): void => writeFileSync(`${directory}/${name}.status`, String(status));
  const is = (name: string, state: string) => waitFor(`${name} to be ${state}`, async () => (await backends()).includes(`${name} ${state}`), { everyMs: 20, explain: () => host.agent.tail(20) });
  await router.run(["ip", "route", "replace", address, "via", host.ipv4]);
  await host.network("shop");
  for (const name of ["web1", "web2"]) {
    say(name, 200);
    await host.container(name, ["--network", "shop", "--label", "app=web"]);
  }
  const serving = await Promise.all(["web1", "web2"].map(async (name) => (await host.inside(name)).start(["/usr/bin/python3", script, name, "7000", `${directory}/${name}.status`])));
  await Promise.all(serving.map((one) => one.says("ready")));
  const answering = async (): Promise<ReadonlySet<string>> =>
    new Set(await Promise.all(Array.from({ length: 16 }, async () => (await outside.ask("tcp", address, 80)).split(" ")[0] as string)));
  const file = `${directory}/web.yaml`;
  writeFileSync(file, text.replace("{ kind: none }", "{ kind: http, path: /healthz, interval: 200ms, timeout: 150ms, rise: 2, fall: 3 }"));
  await host.hawser(["service", "apply", file]);
  await Promise.all([is("web1", "active"), is("web2", "active")]);
  t.deepEqual([...(await answering())].toSorted(), ["web1", "web2"]);
  const streams = await Promise.all(Array.from({ length: 8 }, () => outside.stream(address, 80)));

  const ill = Date.now();
  say("web1", 500);
  await is("web1", "down");
  t.log(`out ${Date.now() - ill} ms after it began to answer 500, of which 400 to 600 are three probes`);
  t.deepEqual([...(await answering())], ["web2"]);
  const status = (await host.json("status")) as { readonly parts: readonly { readonly part: string; readonly state: string; readonly detail: string }[] };
  t.regex(status.parts.find(({ part }) => part === "health")?.detail ?? "", /^2 asked; not well: web [0-9.]+:7000 \(HTTP 500\)$/);

  const seen = new Set<string>();
  const watching = new AbortController();
  const look = async (): Promise<void> => {
    while (!watching.signal.aborted) {
      seen.add(await backends().then((all) => all.join(), () => "no agent"));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  const looking = look();
  await host.agent.stop();
  t.deepEqual([...(await answering())], ["web2"], "without an agent");
  await host.agent.start();
  t.deepEqual([...(await answering())], ["web2"]);
  await host.run(["kill", "-STOP", String(host.agent.pid())]);
  t.deepEqual([...(await answering())], ["web2"], "while the agent stands still");
  await new Promise((resolve) => setTimeout(resolve, 3000));
  await host.run(["kill", "-CONT", String(host.agent.pid())]);
  t.deepEqual([...(await answering())], ["web2"]);
  watching.abort();
  await looking;
  t.deepEqual([...seen].filter((one) => one !== "no agent"), ["web1 down,web2 active"]);

  say("web2", 503);
  await is("web2", "down");
  t.deepEqual([...(await answering())].toSorted(), ["web1", "web2"], "all have failed, and all are tried");
  say("web1", 200);
  await is("web1", "active");
  t.deepEqual([...(await answering())], ["web1"]);
  say("web2", 204);
  await is("web2", "active");
  t.deepEqual([...(await answering())].toSorted(), ["web1", "web2"]);
  for (const stream of streams) t.like(await stream.report(), { error: null });
  await host.hawser(["service", "delete", "web"]);
  for (const one of serving) await one.stop();
});

test.serial("R66: probes are the host's, and policy holds for them: what keeps the host out takes a container out", async (t) => {
  const { host, world: { directory } } = stage;
  const is = (state: string) => waitFor(`web1 to be ${state}`, async () => (await backends()).join() === `web1 ${state}`, { explain: () => host.agent.tail(20) });
  await host.network("shop");
  await host.container("web1", ["--network", "shop", "--label", "app=web"]);
  await using _serving = await (await host.inside("web1")).serve({ tcp: [7000] });
  const apply = async (kind: "service" | "policy", written: string): Promise<void> => {
    writeFileSync(`${directory}/${kind}.yaml`, written);
    await host.hawser([kind, "apply", `${directory}/${kind}.yaml`]);
  };
  await apply("service", text.replace("{ kind: none }", "{ kind: tcp, interval: 200ms, timeout: 150ms }"));
  await is("active");
  await apply("policy", "policy: lock\nfor: { network: shop }\ndefault: { in: deny }\nallow: [\"world -> label(app=web):7000\"]\n");
  await is("down");
  await apply("policy", "policy: lock\nfor: { network: shop }\ndefault: { in: deny }\nallow: [\"world -> label(app=web):7000\", \"host -> label(app=web):7000\"]\n");
  await is("active");
  t.deepEqual(await backends(), ["web1 active"]);
  await host.hawser(["policy", "delete", "lock"]);
  await host.hawser(["service", "delete", "web"]);
});

test.serial("programs of containers are clients by their own address from their first connection on, and are told at once when their backend is gone", async (t) => {
  const { host, world: { directory } } = stage;
  await host.network("shop");
  for (const name of ["web1", "web2"]) await host.container(name, ["--network", "shop", "--label", "app=web"]);
  await host.container("other", ["--network", "shop"]);
  await using _one = await (await host.inside("web1")).serve({ tcp: [7000] });
  await using _two = await (await host.inside("web2")).serve({ tcp: [7000] });
  const other = await host.inside("other");
  const file = `${directory}/web.yaml`;
  writeFileSync(file, `${text}sources: { allow: [${other.ipv4.replace(/\d+$/, "0/24")}] }\n`);
  await host.hawser(["service", "apply", file]);
  t.true((await other.ask("tcp", address, 80)).startsWith(`${other.ipv4} `));
  t.is(await host.ask("tcp", address, 80), "EPERM", "the host's own address is not among the sources");
  const first = await host.docker("run", "--rm", "--network", "shop", image, "sh", "-c", `echo hi | nc -w 2 ${address} 80`);
  t.regex(first, /^who [0-9.]+ \d+/, "a container that connects as the first thing it does");

  // Their servers are no processes of the containers', so that nobody resets what is connected to them.
  await using streams = new AsyncDisposableStack();
  const open = await Promise.all(Array.from({ length: 8 }, async () => streams.use(await other.stream(address, 80))));
  await Promise.all(open.map((one) => one.progress(3)));
  const killed = Date.now();
  await host.docker("kill", "web1");
  await Promise.any(open.map((one) => one.broken));
  t.log(`told ${Date.now() - killed} ms after docker kill was called`);
  t.true(Date.now() - killed < 3000);
  t.true((await other.ask("tcp", address, 80)).startsWith(`${other.ipv4} `), "and a new connection is had at once");
  const errors = (await Promise.all(open.map((one) => one.report()))).map(({ error }) => error);
  t.true(errors.some((error) => error !== null && /abort/.test(error)), String(errors));
  t.true(errors.every((error) => error === null || /abort/.test(error)), String(errors));
  await host.hawser(["service", "delete", "web"]);
});

test.serial("XDP: the uplink has the balancer's program while there are services, whatever becomes of the agent", async (t) => {
  const { host, world: { outside, router, directory } } = stage;
  const before = readFileSync(host.configuration, "utf8");
  writeFileSync(host.configuration, `${before}loadBalancer: { acceleration: native }\n`);
  await host.agent.stop();
  await host.agent.start();
  const xdp = async (): Promise<readonly string[]> => {
    const { kernel } = (await host.json("status")) as { readonly kernel: { readonly programs: readonly { readonly name: string; readonly device: string; readonly hook: string; readonly mode: string }[] } };
    return kernel.programs.filter(({ mode }) => mode === "xdp").map(({ name, hook }) => `${name} ${hook}`);
  };
  const onDevice = async (): Promise<boolean> => (await host.sh("ip -o link show type veth")).includes("prog/xdp");
  await router.run(["ip", "route", "replace", address, "via", host.ipv4]);
  await host.network("shop");
  await host.container("web1", ["--network", "shop", "--label", "app=web"]);
  await using _one = await (await host.inside("web1")).serve({ tcp: [7000] });
  t.false(await onDevice());
  const file = `${directory}/web.yaml`;
  writeFileSync(file, text);
  await host.hawser(["service", "apply", file]);
  t.deepEqual(await xdp(), ["xdp_lb native"]);
  t.is(await outside.ask("tcp", address, 80, { sourcePort: 6000 }), `${outside.ipv4} 6000`);
  t.deepEqual(((await host.json("status")) as { readonly problems: readonly string[] }).problems, []);
  await host.agent.kill();
  t.true(await onDevice());
  t.is(await outside.ask("tcp", address, 80, { sourcePort: 6001 }), `${outside.ipv4} 6001`);
  await host.agent.start();
  await host.hawser(["sweep"]);
  t.deepEqual(await xdp(), ["xdp_lb native"]);
  t.is(await outside.ask("tcp", address, 80, { sourcePort: 6002 }), `${outside.ipv4} 6002`);
  await host.hawser(["service", "delete", "web"]);
  t.deepEqual(await xdp(), []);
  t.false(await onDevice());
  await host.agent.stop();
  writeFileSync(host.configuration, before);
  await host.agent.start();
});
