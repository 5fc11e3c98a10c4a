// Policy, labels, names and addresses change under running probes: a verdict is the old one or the new one, never a third.
// Runs alone: it counts packets in the moment of a change.
//
//   a: web ──▶ db (shop)   caller (shop, then yard)      LAN ── router ── outside
import test from "ava";
import { expectDrops, some } from "../lab/drops.ts";
import type { Place } from "../lab/place.ts";
import { counter, isDropped, passes, policyScene } from "../lab/policy.ts";
import { waitFor } from "../lab/run.ts";
import { change, now, runs, storm, wrong, type Change } from "../lab/storm.ts";

const stage = policyScene(test);

async function make(name: string, ...options: readonly string[]): Promise<Place> {
  await stage.host.container(name, ["--network", "shop", ...options]);
  return stage.host.inside(name);
}

/** What came to a container as UDP since it began, whether or not somebody listened. */
const datagrams = async (place: Place): Promise<string> => place.sh("awk '/^Udp: [0-9]/ { print $2 + $3 }' /proc/net/snmp");

const shop = (rules: string, defaults = "{ in: deny }"): string => `policy: shop\nfor: { network: shop }\ndefault: ${defaults}\n${rules}`;

test.serial("probes at a high rate see every change once, and no verdict but the one that was answered for (R56)", async (t) => {
  const { host } = stage;
  await host.network("shop");
  const [web, db] = [await make("web"), await make("db")];
  await using _db = await db.serve({ udp: [7000, 7001] });
  const rule = (port: number): string => shop(`allow:\n  - web -> db:${port}/udp\n`);
  const first = await change(true, () => stage.apply(rule(7000)));
  const plan = [["fresh", 7000], ["udp", 7000], ["fresh", 7001], ["udp", 7001]] as const;
  const storms = await Promise.all(plan.map(([kind, port]) => storm(web, { kind, address: db.ipv4, port })));
  const changes: Change[] = [first];
  for (let round = 0; round < 8; round += 1) {
    const open = round % 2 === 1;
    changes.push(await change(open, () => stage.apply(rule(open ? 7000 : 7001))));
  }
  const reports = await Promise.all(storms.map((each) => each.probes()));
  for (const [index, [kind, port]] of plan.entries()) {
    const probes = reports[index] ?? [];
    const wanted = port === 7000 ? changes : changes.map(({ asked, done, open }) => ({ asked, done, open: !open }));
    t.true(probes.length > 500, `${probes.length} probes`);
    t.deepEqual(wrong(probes, wanted), [], `${kind} to ${port}`);
    t.deepEqual(runs(probes), wanted.map(({ open }) => open), `${kind} to ${port}: each change is seen once`);
  }
});

test.serial("an established TCP connection and a UDP flow are cut within a second by a change that denies them (R56)", async (t) => {
  const { host, world: { outside } } = stage;
  await host.network("shop", "--ipv6");
  const [web, db] = [await make("web", "-p", "8080:7000"), await make("db")];
  await using _web = await web.serve({ tcp: [7000] });
  await using _db = await db.serve({ tcp: [7000], udp: [7000] });
  await using _world = await outside.serve({ tcp: [7000], udp: [7000] });
  const before = await host.drops();
  const storms = await Promise.all([
    storm(web, { kind: "tcp", address: db.ipv4, port: 7000, interval: 0.01 }),
    storm(web, { kind: "tcp", address: db.ipv6, port: 7000, interval: 0.01 }),
    storm(web, { kind: "udp", address: db.ipv4, port: 7000, interval: 0.01 }),
    storm(web, { kind: "tcp", address: outside.ipv4, port: 7000, interval: 0.01 }),
    storm(web, { kind: "udp", address: outside.ipv6, port: 7000, interval: 0.01 }),
    storm(outside, { kind: "tcp", address: host.ipv4, port: 8080, interval: 0.01 }),
    storm(host, { kind: "tcp", address: db.ipv4, port: 7000, interval: 0.01 }),
  ]);
  await stage.apply(shop("", "{ in: allow, out: allow }"));
  const cut = await change(false, () => stage.apply(shop("deny:\n  - web -> any\n  - any -> web\n  - host -> db\n", "{ in: allow, out: allow }")));
  const until = now() + 1_500_000;
  await waitFor("one and a half seconds to pass under probes", () => now() > until);
  for (const [index, each] of storms.entries()) {
    const probes = await each.probes();
    t.true(probes.some(({ answered }) => answered), `storm ${index} was answered at first`);
    t.true(probes.some(({ sent }) => sent > cut.done + 1_000_000), `storm ${index} went on`);
    t.deepEqual(wrong(probes, [cut]), [], `storm ${index}`);
  }
  await expectDrops(host, before, { POLICY_DENIED: some });
});

test.serial("a change that still allows a flow disturbs neither it nor its neighbours (R56)", async (t) => {
  const { host } = stage;
  await host.network("shop");
  const [web, db] = [await make("web"), await make("db")];
  await using _db = await db.serve({ tcp: [7000], udp: [7000] });
  await stage.apply(shop("allow:\n  - web -> db:7000\n  - web -> db:7000/udp\n"));
  const before = await host.drops();
  const [stream, flow] = [await web.stream(db.ipv4, 7000), await storm(web, { kind: "udp", address: db.ipv4, port: 7000, interval: 0.005 })];
  for (let round = 0; round < 4; round += 1) {
    await stage.apply(shop(`allow:\n  - web -> db\n  - host -> db:${8000 + round}\ndeny:\n  - web -> db:${9000 + round}\n`));
    await stream.progress(3);
  }
  t.like(await stream.report(), { error: null, retransmits: 0 });
  t.deepEqual(runs(await flow.probes()), [true]);
  await expectDrops(host, before, {});
});

test.serial("a reply that comes when its flow has expired is no reply (R57)", async (t) => {
  const { host } = stage;
  await host.network("shop");
  const [web, db] = [await make("web"), await make("db")];
  await stage.apply(shop("allow:\n  - web -> db:7000/udp\n"));
  // An unanswered UDP flow lives for 30 s; one answer comes before that and one after.
  const answering = (seconds: number, port: number): string => `
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 7000))
print("bound", flush=True)
data, who = s.recvfrom(100)
time.sleep(${seconds})
s.sendto(b"late", who)
s.close()
`.replaceAll("7000", String(port));
  const asking = (port: number): string => `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", ${port}))
s.sendto(b"ask", ("${db.ipv4}", 7000))
s.settimeout(40)
try:
    print(s.recv(100).decode())
except socket.timeout:
    print("nothing")
`;
  const before = await host.drops();
  const prompt = db.start(["/usr/bin/python3", "-c", answering(1, 7000)]);
  await prompt.says("bound");
  t.is(await web.sh(`python3 -c '${asking(4000)}'`), "late");
  await prompt.ended;
  const late = db.start(["/usr/bin/python3", "-c", answering(34, 7000)]);
  await late.says("bound");
  t.is(await web.sh(`python3 -c '${asking(4001)}'`), "nothing");
  await late.ended;
  await expectDrops(host, before, { POLICY_DEFAULT_IN: some });
});

test.serial("an address that is given again inherits nothing: neither flows nor permissions (R58)", async (t) => {
  const { host } = stage;
  await host.network("shop", "--subnet", "10.61.0.0/24");
  await stage.apply(shop("allow:\n  - label(role=client) -> label(role=db)\n  - label(role=db) -> label(role=client)\n", "{ in: deny, out: deny }"));
  const client = await make("client", "--label", "role=client");
  const old = await make("old", "--ip", "10.61.0.9", "--label", "role=db");
  await using _old = await old.serve({ udp: [7000] });
  await using _client = await client.serve({ udp: [7001] });
  const asking = await storm(client, { kind: "udp", address: old.ipv4, port: 7000 });
  t.is(await old.ask("udp", client.ipv4, 7001, { sourcePort: 5555 }), "10.61.0.9 5555");
  await host.docker("rm", "-f", "old");
  await using heard = await counter(client, "ip saddr 10.61.0.9");
  const before = await host.drops();
  // The next one has the address at once, and its first instruction is a packet of the old flow.
  await host.docker("run", "-d", "--name", "evil", "--network", "shop", "--ip", "10.61.0.9", "--label", "role=evil", "--stop-timeout", "0",
    "hawser/busybox", "sh", "-c", `echo x | nc -u -w 1 -p 5555 ${client.ipv4} 7001; sleep infinity`);
  const evil = await host.inside("evil");
  t.is(evil.ipv4, "10.61.0.9");
  t.is(await evil.ask("udp", client.ipv4, asking.sourcePort, { sourcePort: 7000, timeout: 1 }), "TIMEOUT", "no answer to the old flow either");
  t.is(await evil.ask("udp", client.ipv4, 7001, { sourcePort: 5555, timeout: 1 }), "TIMEOUT");
  t.is(await datagrams(evil), "0", "nothing that was meant for the old one came in");
  t.is(await heard.packets(), 0, "and nothing of it got out");
  const probes = await asking.probes();
  t.deepEqual(runs(probes), [true, false]);
  // Probes that came between the new one's address and its labels.
  const early = ((await host.drops())["NOT_IDENTIFIED"] ?? 0) - (before["NOT_IDENTIFIED"] ?? 0);
  await expectDrops(host, before, { POLICY_DEFAULT_OUT: some, NOT_IDENTIFIED: early });
});

test.serial("a container made again with the same name and address and another label has the other label's rights at once (R59)", async (t) => {
  const { host } = stage;
  await host.network("shop", "--subnet", "10.61.0.0/24");
  const db = await make("db");
  await using _db = await db.serve({ tcp: [7000] });
  await stage.apply(shop("allow:\n  - label(tier=good) -> db:7000\n"));
  const before = await host.drops();
  for (const tier of ["good", "bad", "good"]) {
    const { stdout, stderr } = await host.dockerOutput(["run", "--rm", "--name", "web", "--network", "shop", "--ip", "10.61.0.20", "--label", `tier=${tier}`,
      "hawser/busybox", "nc", "-w", "2", db.ipv4, "7000"], { timeoutMs: 20_000 });
    if (tier === "good") t.regex(stdout, /^who 10\.61\.0\.20 /, stderr);
    else t.is(stdout, "");
  }
  await expectDrops(host, before, { POLICY_DEFAULT_IN: some });
});

test.serial("docker rename takes the old name's rights and gives the new one's within a second, in running flows, too (R59)", async (t) => {
  const { host } = stage;
  await host.network("shop");
  const [alpha, db] = [await make("alpha"), await make("db")];
  await using _db = await db.serve({ udp: [7000] });
  await stage.apply(shop("allow:\n  - alpha -> db:7000/udp\n"));
  const storms = [await storm(alpha, { kind: "fresh", address: db.ipv4, port: 7000 }), await storm(alpha, { kind: "udp", address: db.ipv4, port: 7000 })];
  const changes = [await change(true, async () => passes(t, alpha, db.ipv4, 7000, "udp"))];
  for (const [from, to] of [["alpha", "beta"], ["beta", "alpha"]] as const) {
    changes.push(await change(to === "alpha", () => host.docker("rename", from, to)));
    const until = now() + 1_300_000;
    await waitFor("its second to pass under probes", () => now() > until);
  }
  for (const each of storms) {
    const probes = await each.probes();
    t.deepEqual(wrong(probes, changes, 1000), []);
    t.deepEqual(runs(probes), [true, false, true]);
  }
});

test.serial("network connect gives a container the other network's identity, and disconnect takes it (R59)", async (t) => {
  const { host } = stage;
  await host.network("shop");
  await host.network("yard");
  await host.docker("run", "-d", "--name", "db", "--network", "yard", "--stop-timeout", "0", "hawser/busybox", "sleep", "infinity");
  const [caller, db] = [await make("caller", "--label", "tier=web"), await host.inside("db")];
  await using _db = await db.serve({ tcp: [7000, 7001] });
  await stage.apply("policy: yard\nfor: { network: yard }\ndefault: { in: deny }\nallow:\n  - label(network=yard, tier=web) -> db:7000\n");
  const before = await host.drops();
  await isDropped(t, caller, db.ipv4, 7000);
  await host.docker("network", "connect", "yard", "caller");
  await passes(t, caller, db.ipv4, 7000);
  await isDropped(t, caller, db.ipv4, 7001);
  const identities = async (): Promise<readonly number[]> => ((await host.json("endpoint", "list")) as readonly { readonly name: string; readonly identity: number }[])
    .filter(({ name }) => name === "caller").map(({ identity }) => identity);
  t.is(new Set(await identities()).size, 2, "one for each network");
  await host.docker("network", "disconnect", "yard", "caller");
  t.is((await identities()).length, 1);
  await isDropped(t, caller, db.ipv4, 7000);
  await expectDrops(host, before, { POLICY_DEFAULT_IN: some });
});
