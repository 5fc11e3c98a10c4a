// Services of three nodes: whose containers are on other nodes than the one that balances, which may be another in the middle of everything;
// and what one node applies, has in its folder or finds ill counts on all.
//
//   a: balances   b: web1 (shop)   c: web2 (shop)
//   └──────┬───────────┴────────────────┴── LAN ── router ── outside ── 198.18.7.7, 2001:db8:7::7
//                                           └ with mode snat: takes packets of the service's from a alone
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import test from "ava";
import { clusterScene, dropsOf, meet, packetsOf, sniff } from "../lab/cluster.ts";
import { expectDrops, some } from "../lab/drops.ts";
import type { Host } from "../lab/host.ts";
import type { Place, Stream } from "../lab/place.ts";
import { configure } from "../lab/policy.ts";
import { waitFor, type Running } from "../lab/run.ts";

const stage = clusterScene(test);
const [four, six] = ["198.18.7.7", "2001:db8:7::7"];
const text = `service: web
frontends: ["${four}:80/tcp", "[${six}]:80/tcp", "${four}:81/udp", "[${six}]:81/udp"]
backends: [{ select: { network: shop, label: app=web }, port: 7000 }]
mode: snat
health: { kind: none }
`;

const plain = `service: web
frontends: ["${four}:80"]
backends: [{ select: { network: shop, label: app=web }, port: 7000 }]
health: { kind: none }
`;
const probed = (port = 80, more = ""): string => `service: web
frontends: ["${four}:${port}"]
backends: [{ select: { network: shop, label: app=web }, port: 7000 }]
health: { kind: http, interval: 200ms, timeout: 150ms, rise: 2, fall: 3 }
${more}`;

const answers = `(tcp or udp) and (src host ${four} or src host ${six})`;

interface Row {
  readonly name: string;
  readonly state: string;
  readonly source: string;
  readonly nodes: readonly string[];
  readonly frontends: readonly { readonly port: number }[];
  readonly backends: readonly { readonly identity: string; readonly state: string }[];
  readonly error?: string;
}

const rows = async (host: Host): Promise<readonly Row[]> => (await host.json("service", "list")) as readonly Row[];
const row = async (host: Host): Promise<Row | undefined> => (await rows(host))[0];
const count = async (host: Host): Promise<number> => (await row(host))?.backends.length ?? 0;
const shown = async (host: Host): Promise<string> =>
  (await rows(host)).map(({ name, state, source, nodes, frontends }) => `${name} ${state} ${source} ${nodes.join("+")} ${frontends.map(({ port }) => port).join()}`).join("; ");
const served = async (host: Host): Promise<string> =>
  (await rows(host)).flatMap(({ backends }) => backends.map(({ identity, state }) => `${identity.replace(/^.*\/(.*):.*$/, "$1")} ${state}`)).toSorted().join();
const becomes = (what: (host: Host) => Promise<string>, host: Host, wanted: string): Promise<void> =>
  waitFor(`${host.name} to show ${wanted}`, async () => (await what(host)) === wanted, { everyMs: 10, explain: () => host.agent.tail(20) });

/** Packets for the service come to that node, and the router forwards what is in its name from nobody else. */
async function balancedBy(host: Host): Promise<void> {
  const { router } = stage.world;
  const mac = await host.sh("cat /sys/class/net/eth0/address");
  await router.sh(`ip route replace ${four} via ${host.ipv4}; ip -6 route replace ${six} via ${host.ipv6}
nft -f - <<END
table inet only
delete table inet only
table inet only { chain forward { type filter hook forward priority 0
  ip saddr ${four} ether saddr != ${mac} counter drop
  ip6 saddr ${six} ether saddr != ${mac} counter drop
} }
END`);
}

async function serving(): Promise<readonly [Place, Place, AsyncDisposable]> {
  const { a, b, c, world: { directory, hosts } } = stage;
  await stage.network("shop", "--ipv6");
  const [web1, web2] = await Promise.all([stage.container(b, "web1", "shop", "--label", "app=web"), stage.container(c, "web2", "shop", "--label", "app=web")]);
  await meet([web1, web2]);
  const servers: Running[] = [];
  for (const web of [web1, web2]) servers.push(await web.serve({ tcp: [7000], udp: [7000] }));
  const file = `${directory}/web.yaml`;
  writeFileSync(file, text);
  await a.hawser(["service", "apply", file]);
  // Each in both families.
  for (const host of hosts) await waitFor(`${host.name} to know both`, async () => (await count(host)) === 4, { explain: () => host.agent.tail(20) });
  await balancedBy(a);
  return [web1, web2, { [Symbol.asyncDispose]: async () => {
    for (const server of servers) await server[Symbol.asyncDispose]();
    await a.hawser(["service", "delete", "web"]);
    await stage.world.router.sh("nft delete table inet only");
  } }];
}

test.serial("containers of other nodes serve, see their clients, and answer by way of the node that balances; a megabyte each way fits", async (t) => {
  const { a, b, c, world: { hosts, outside } } = stage;
  const [web1, web2, done] = await serving();
  await using _done = done;
  for (const host of hosts) {
    const shown = await row(host);
    t.deepEqual([shown?.state, shown?.error ?? null], ["enforced", null], host.name);
  }
  const before = await dropsOf(hosts);
  await using atB = await sniff(b, answers);
  await using atC = await sniff(c, answers);
  await using atA = await sniff(a, answers);
  // Ports of their own, because what has ended holds one in both families.
  for (const [mine, vip, first] of [[outside.ipv4, four, 5000], [outside.ipv6, six, 5100]] as const) {
    for (let port = first; port < first + 12; port++) t.is(await outside.ask("tcp", vip, 80, { sourcePort: port }), `${mine} ${port}`);
    for (let port = first; port < first + 12; port++) t.is(await outside.ask("udp", vip, 81, { sourcePort: port }), `${mine} ${port}`);
    t.regex(await outside.ask("tcp", vip, 80, { size: 1_000_000, timeout: 10 }), new RegExp(`^${mine} `));
  }
  for (const web of [web1, web2]) t.true(Number(await web.sh("cat /proc/net/snmp | awk '/^Udp: [0-9]/ { print $2 }'")) > 0, `${web.name} was asked`);
  await waitFor("answers to be seen at a", () => packetsOf(atA).length >= 48);
  t.deepEqual([...packetsOf(atB), ...packetsOf(atC)], [], "nobody but a sends in the service's name");
  for (const [index, host] of hosts.entries()) await expectDrops(host, before[index] ?? {}, {});
});

test.serial("policy asks of the client's own address, where the container is", async (t) => {
  const { a, b, c, world: { hosts, outside } } = stage;
  const [, , done] = await serving();
  await using _done = done;
  const before = await dropsOf(hosts);
  await stage.apply(`policy: web\nfor: { network: shop }\ndeny:\n  - ${outside.ipv4} -> label(app=web):7000\n`);
  for (let port = 6000; port < 6008; port++) t.is(await outside.ask("tcp", four, 80, { sourcePort: port, timeout: 0.4 }), "TIMEOUT", `${port}`);
  t.is(await outside.ask("tcp", six, 80, { sourcePort: 6200 }), `${outside.ipv6} 6200`);
  for (const host of hosts) await host.hawser(["policy", "delete", "web"]);
  await stage.apply(`policy: web\nfor: { network: shop }\ndefault: { in: deny }\nallow:\n  - ${outside.ipv4} -> label(app=web):7000\n`);
  for (let port = 6100; port < 6108; port++) {
    t.is(await outside.ask("tcp", four, 80, { sourcePort: port }), `${outside.ipv4} ${port}`, "and not of the balancing node's");
    t.is(await outside.ask("tcp", six, 80, { sourcePort: port + 200, timeout: 0.4 }), "TIMEOUT", `${port + 200}`);
  }
  for (const [index, host] of [a, b, c].entries()) await expectDrops(host, before[index] ?? {}, host === a ? {} : { POLICY_DENIED: some, POLICY_DEFAULT_IN: some });
});

test.serial("connections go on when another node takes over, and are answered by way of that one", async (t) => {
  const { a, b, c, world: { outside } } = stage;
  const [, , done] = await serving();
  await using _done = done;
  const streams: Stream[] = [];
  try {
    for (let i = 0; i < 6; i++) streams.push(await outside.stream(i % 2 === 0 ? four : six, 80));
    for (const host of [b, c, a]) {
      await balancedBy(host);
      await Promise.all(streams.map((stream) => stream.progress(20)));
    }
    for (const stream of streams) t.is((await stream.report()).error, null);
  } finally {
    for (const stream of streams) await stream[Symbol.asyncDispose]();
  }
});

/** Opens connections and, told by a file, sends a megabyte by each and compares the echo: how many were right. */
const bulk = (count: number, told: string): string => `
import os, socket, threading, time
socks = [socket.create_connection(("${four}", 80), timeout=20) for _ in range(${count})]
for one in socks:
    while not one.recv(1) == b"\\n": pass
print("connected", flush=True)
while not os.path.exists("${told}"): time.sleep(0.05)
body, right = os.urandom(1 << 20), 0
for one in socks:
    threading.Thread(target=one.sendall, args=(body,), daemon=True).start()
    got = b""
    try:
        while len(got) < len(body):
            piece = one.recv(1 << 16)
            if not piece: break
            got += piece
    except OSError: pass
    right += got == body
print(right, "right", flush=True)
`;

test.serial("connections of before a change and of after it go on when another node takes over, and again when a third does (C6)", async (t) => {
  const { a, b, c, world: { outside, router, directory, hosts } } = stage;
  const by = (host: Host): Promise<unknown> => router.run(["ip", "route", "replace", four, "via", host.ipv4]);
  await stage.network("shop");
  await by(a);
  const file = `${directory}/web.yaml`;
  writeFileSync(file, plain);
  const web1 = await stage.container(b, "web1", "shop", "--label", "app=web");
  await using _one = await web1.serve({ tcp: [7000] });
  await a.hawser(["service", "apply", file]);
  for (const host of hosts) await waitFor(`${host.name} to know web1`, async () => (await count(host)) === 1);
  const streams: Stream[] = [];
  try {
    for (let i = 0; i < 4; i++) streams.push(await outside.stream(four, 80));

    const web2 = await stage.container(c, "web2", "shop", "--label", "app=web");
    await using _two = await web2.serve({ tcp: [7000] });
    await meet([web1, web2]);
    for (const host of hosts) await waitFor(`${host.name} to know web2`, async () => (await count(host)) === 2);
    for (let i = 0; i < 8; i++) streams.push(await outside.stream(four, 80));
    const atWeb2 = Number(await web2.sh("ss -Htn state established sport = :7000 | wc -l"));
    t.true(atWeb2 > 0 && atWeb2 < 8, `${atWeb2} of the 8 of after the change are web2's, and by no node but a is it known which`);

    const told = `${directory}/told`;
    await using uploads = outside.start(["/usr/bin/python3", "-c", bulk(8, told)]);
    await uploads.says("connected");

    let port = 5300;
    for (const host of [b, c, a]) {
      await by(host);
      await Promise.all(streams.map((stream) => stream.progress(20)));
      // What opens there is in order, too.
      for (let i = 0; i < 8; i++, port++) t.is(await outside.ask("tcp", four, 80, { sourcePort: port, timeout: 10 }), `${outside.ipv4} ${port}`, host.name);
    }
    await by(b);
    // Uplinks here are as wide as the clients' way, and services' headers come on top: clients must be told (R78). By right sums, which nobody behind makes.
    await b.run(["ethtool", "-K", "eth0", "tx", "off"]);
    writeFileSync(told, "");
    await uploads.says("8 right");
    for (const stream of streams) {
      const { error, exchanges } = await stream.report();
      t.is(error, null);
      t.true(exchanges > 60);
    }
  } finally {
    for (const stream of streams) await stream[Symbol.asyncDispose]();
    await b.run(["ethtool", "-K", "eth0", "tx", "on"]);
    await a.hawser(["service", "delete", "web"]);
  }
});

test.serial("a service that one host applies is in force on both, and both take out the container that its own host finds ill", async (t) => {
  const { a, b, world: { directory } } = stage;
  const script = fileURLToPath(new URL("../lab/web.py", import.meta.url));
  const say = (name: string, status: number): void => writeFileSync(`${directory}/${name}.status`, String(status));
  await stage.network("shop");
  for (const [host, name] of [[a, "web1"], [b, "web2"]] as const) {
    say(name, 200);
    await host.container(name, ["--network", "shop", "--label", "app=web"]);
  }
  const places = await Promise.all([a.inside("web1"), b.inside("web2")]);
  const serving = places.map((place, i) => place.start(["/usr/bin/python3", script, `web${i + 1}`, "7000", `${directory}/web${i + 1}.status`]));
  await Promise.all(serving.map((one) => one.says("ready")));
  await meet(places);
  const file = `${directory}/web.yaml`;
  writeFileSync(file, probed());
  await a.hawser(["service", "apply", file]);
  for (const host of [a, b]) await becomes(shown, host, `web enforced apply ${file} a 80`);
  for (const host of [a, b]) await becomes(served, host, "web1 active,web2 active");

  for (const [status, state] of [[500, "down"], [200, "active"]] as const) {
    const since = Date.now();
    say("web1", status);
    const took = await Promise.all([a, b].map(async (host) => {
      await becomes(served, host, `web1 ${state},web2 active`);
      return Date.now() - since;
    }));
    t.log(`web1 is ${state} on its own host after ${took[0]} ms, on the other after ${took[1]} ms`);
    t.true((took[1] ?? 0) - (took[0] ?? 0) < 1500);
  }
  say("web1", 500);
  await becomes(served, b, "web1 down,web2 active");
  for (let i = 0; i < 8; i++) t.regex(await b.ask("tcp", four, 80), /^web2 /);

  // A host that begins anew knows it at once.
  await b.agent.stop();
  await b.agent.start();
  t.is(await served(b), "web1 down,web2 active");
  await b.hawser(["service", "delete", "web"]);
  for (const host of [a, b]) await becomes(shown, host, "");
  for (const one of serving) await one.stop();
});

test.serial("folders: the same text agrees, another is refused with who has it; without etcd everything stays in force, over a restart as well", async (t) => {
  const { a, b, etcd, world: { directory } } = stage;
  const folder = (host: Host): string => `${directory}/${host.name}.service.d`;
  const put = (host: Host, name: string, said: string): void => {
    writeFileSync(`${folder(host)}/${name}`, said);
  };
  const path = (host: Host, name = "web.yaml"): string => `${folder(host)}/${name}`;
  for (const host of [a, b]) {
    mkdirSync(folder(host));
    configure(host, { services: { directory: folder(host) } });
    await host.agent.stop();
    await host.agent.start();
  }
  for (const host of [a, b]) put(host, "keep.yaml", probed(99).replace("service: web", "service: keep"));
  put(a, "web.yaml", probed());
  await becomes(shown, b, `keep enforced directory ${path(b, "keep.yaml")} a+b 99; web enforced directory ${path(a)} a 80`);
  put(b, "web.yaml", probed(80, "# the same\n"));
  await becomes(shown, a, `keep enforced directory ${path(a, "keep.yaml")} a+b 99; web enforced directory ${path(a)} a+b 80`);
  put(b, "web.yaml", probed(81));
  await waitFor("b to refuse it", async () => (await rows(b)).some(({ state, error = "" }) => state === "rejected" && error.includes(`of a:${path(a)}`)), { explain: () => b.agent.tail(20) });
  t.regex(await shown(a), /web enforced directory \S+ a 80/);
  rmSync(path(a));
  for (const host of [a, b]) await waitFor(`${host.name} to have b's`, async () => (await shown(host)).includes(`web enforced directory ${path(b)} b 81`), { explain: () => host.agent.tail(20) });

  await etcd.kill();
  await waitFor("a to notice", async () => (await a.hawser(["status"], { mayFail: true })).stdout.includes("not heard"));
  const refused = await a.hawser(["service", "delete", "web"], { mayFail: true });
  t.is(refused.code, 1);
  t.regex(refused.stderr, /the other nodes cannot be told, so that what was in force stays/);
  put(a, "late.yaml", probed(82).replace("service: web", "service: late"));
  await waitFor("late to wait", async () => (await rows(a)).some(({ state, error = "" }) => state === "pending" && error.includes("not told to the other nodes yet")));
  await a.agent.stop();
  await a.agent.start();
  t.regex(await shown(a), /^keep enforced .* 99; web enforced directory \S+ b 81/);
  await etcd.start();
  for (const host of [a, b]) await waitFor(`${host.name} to have all`, async () => /^keep enforced \S+ \S+ a\+b 99; late enforced \S+ \S+ a 82; web enforced \S+ \S+ b 81$/.test(await shown(host)), { promisedMs: 60_000, explain: () => host.agent.tail(20) });
  for (const host of [a, b]) {
    rmSync(folder(host), { recursive: true });
    for (const { name } of await rows(host)) await host.hawser(["service", "delete", name], { mayFail: true });
  }
  for (const host of [a, b]) await becomes(shown, host, "");
});
