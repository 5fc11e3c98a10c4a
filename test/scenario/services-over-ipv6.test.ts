// Services whose containers are on other nodes, where nodes reach one another over IPv6: whatever is inside goes in Geneve over IPv6, and comes back.
//
//   a: balances   b: web1 (shop)   c: web2 (shop)
//   └──────┬───────────┴────────────────┴── LAN, IPv6 between the hosts ── router ── outside ── 198.18.7.7, 2001:db8:7::7
import { writeFileSync } from "node:fs";
import test from "ava";
import { allTalk, clusterScene, dropsOf, meet, packetsOf, sniff } from "../lab/cluster.ts";
import { expectDrops } from "../lab/drops.ts";
import type { Host } from "../lab/host.ts";
import type { Stream } from "../lab/place.ts";
import { waitFor, type Running } from "../lab/run.ts";

const stage = clusterScene(test, { underlay: 6 });
const [four, six] = ["198.18.7.7", "2001:db8:7::7"];
const text = (mode: string): string => `service: web
frontends: ["${four}:80/tcp", "[${six}]:80/tcp", "${four}:81/udp", "[${six}]:81/udp"]
backends: [{ select: { network: shop, label: app=web }, port: 7000 }]
mode: ${mode}
health: { kind: none }
`;

interface Row {
  readonly state: string;
  readonly backends: readonly { readonly identity: string }[];
}

async function balancedBy(host: Host): Promise<void> {
  await stage.world.router.sh(`ip route replace ${four} via ${host.ipv4}; ip -6 route replace ${six} via ${host.ipv6}`);
}

async function applied(mode: string): Promise<void> {
  const { a, world: { directory, hosts } } = stage;
  const file = `${directory}/web.yaml`;
  writeFileSync(file, text(mode));
  await a.hawser(["service", "apply", file]);
  for (const host of hosts) {
    await waitFor(`${host.name} to know both`, async () => {
      const [row] = (await host.json("service", "list")) as readonly Row[];
      return row?.state === "enforced" && row.backends.length === 4;
    }, { explain: () => host.agent.tail(20) });
  }
}

test.serial("containers on other nodes serve clients and hosts, in both families and modes, and connections outlive a takeover", async (t) => {
  const { a, b, c, world: { hosts, outside } } = stage;
  await stage.network("shop", "--ipv6");
  const webs = await Promise.all([stage.container(b, "web1", "shop", "--label", "app=web"), stage.container(c, "web2", "shop", "--label", "app=web")]);
  await meet(webs);
  await using servers = new AsyncDisposableStack();
  for (const web of webs) servers.use(await web.serve({ tcp: [7000], udp: [7000] }) as Running);
  const before = await dropsOf(hosts);
  await using outer4 = await sniff(a, "ip and udp port 8472");
  await using outer6 = await sniff(a, "ip6 and udp port 8472");
  let first = 5000;
  for (const mode of ["dsr", "snat"]) {
    await applied(mode);
    await balancedBy(a);
    for (const [mine, vip] of [[outside.ipv4, four], [outside.ipv6, six]] as const) {
      for (let port = first; port < first + 8; port++) t.is(await outside.ask("tcp", vip, 80, { sourcePort: port }), `${mine} ${port}`, mode);
      for (let port = first; port < first + 8; port++) t.is(await outside.ask("udp", vip, 81, { sourcePort: port }), `${mine} ${port}`, mode);
      t.regex(await outside.ask("tcp", vip, 80, { size: 1_000_000, timeout: 10 }), new RegExp(`^${mine} `), mode);
      first += 100;
    }
    const streams: Stream[] = [];
    try {
      for (const vip of [four, six]) streams.push(await outside.stream(vip, 80));
      for (const host of [b, c, a]) {
        await balancedBy(host);
        await Promise.all(streams.map((stream) => stream.progress(20)));
      }
      for (const stream of streams) t.is((await stream.report()).error, null, mode);
    } finally {
      for (const stream of streams) await stream[Symbol.asyncDispose]();
    }
  }
  for (const web of webs) t.true(Number(await web.sh("cat /proc/net/snmp | awk '/^Udp: [0-9]/ { print $2 }'")) > 0, `${web.name} was asked`);
  // Programs of the balancing node are led to a container elsewhere.
  for (const [mine, vip] of [[a.ipv4, four], [a.ipv6, six]] as const) {
    for (const [protocol, port] of [["tcp", 80], ["udp", 81]] as const) t.regex(await a.ask(protocol, vip, port), new RegExp(`^${mine} `), `${protocol} to ${vip}`);
  }
  await waitFor("the tunnels to be seen", () => packetsOf(outer6).length > 0);
  t.deepEqual(packetsOf(outer4), []);
  for (const [index, host] of hosts.entries()) await expectDrops(host, before[index] ?? {}, {});
});

test.serial("hosts with a second address on the link, which Linux prefers, speak to one another from those that they are known by", async (t) => {
  const { a, b, c, world: { hosts, outside } } = stage;
  await stage.network("shop", "--ipv6");
  const webs = await Promise.all([a, b, c].map((host, i) => stage.container(host, `web${i}`, "shop", ...(i === 0 ? [] : ["--label", "app=web"]))));
  for (const [index, host] of hosts.entries()) {
    await host.run(["ip", "address", "add", `${host.ipv6.replace(/::.*/, "")}::abc${index}/64`, "dev", "eth0", "nodad"]);
    await host.run(["ip", "address", "add", host.ipv4.replace(/\d+$/, String(240 + index)) + "/24", "dev", "eth0"]);
  }
  await meet(webs);
  const before = await dropsOf(hosts);
  await allTalk(t, webs);
  await using servers = new AsyncDisposableStack();
  for (const web of webs) servers.use(await web.serve({ tcp: [7000], udp: [7000] }) as Running);
  let first = 6000;
  for (const mode of ["dsr", "snat"]) {
    await applied(mode);
    await balancedBy(a);
    for (const [mine, vip] of [[outside.ipv4, four], [outside.ipv6, six]] as const) {
      for (let port = first; port < first + 8; port++) t.is(await outside.ask("tcp", vip, 80, { sourcePort: port }), `${mine} ${port}`, mode);
      first += 100;
    }
  }
  for (const [index, host] of hosts.entries()) await expectDrops(host, before[index] ?? {}, {});
});
