// A service of mode snat whose containers are on other nodes than the one that balances: they see their clients, and every answer leaves by that node.
//
//   a: balances   b: web1 (shop)   c: web2 (shop)
//   └──────┬───────────┴────────────────┴── LAN ── router ── outside ── 198.18.7.7, 2001:db8:7::7
//                                           └ takes packets of the service's from a alone
import { writeFileSync } from "node:fs";
import test from "ava";
import { clusterScene, dropsOf, meet, packetsOf, sniff } from "../lab/cluster.ts";
import { expectDrops, some } from "../lab/drops.ts";
import type { Host } from "../lab/host.ts";
import type { Place, Stream } from "../lab/place.ts";
import { waitFor, type Running } from "../lab/run.ts";

const stage = clusterScene(test);
const [four, six] = ["198.18.7.7", "2001:db8:7::7"];
const text = `service: web
frontends: ["${four}:80/tcp", "[${six}]:80/tcp", "${four}:81/udp", "[${six}]:81/udp"]
backends: [{ select: { network: shop, label: app=web }, port: 7000 }]
mode: snat
health: { kind: none }
`;

const answers = `(tcp or udp) and (src host ${four} or src host ${six})`;

interface Row {
  readonly state: string;
  readonly error?: string;
  readonly backends: readonly { readonly identity: string }[];
}

const row = async (host: Host): Promise<Row | undefined> => ((await host.json("service", "list")) as readonly Row[])[0];

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
  for (const host of hosts) await waitFor(`${host.name} to know both`, async () => (await row(host))?.backends.length === 4, { explain: () => host.agent.tail(20) });
  await balancedBy(a);
  return [web1, web2, { [Symbol.asyncDispose]: async () => {
    for (const server of servers) await server[Symbol.asyncDispose]();
    await a.hawser(["service", "delete", "web"]);
    await stage.world.router.sh("nft delete table inet only");
  } }];
}

test.serial("containers of other nodes serve, see their clients, and answer by way of the node that balances; a megabyte each way fits", async (t) => {
  t.timeout(180_000);
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
  t.timeout(120_000);
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
  t.timeout(180_000);
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
