// What the sentences of a policy open and close, and what they cannot.
//
//   a: web, db, c1, c2 (shop)   other/db …      LAN ── router ── outside
import test from "ava";
import { expectDrops, some } from "../lab/drops.ts";
import type { Place } from "../lab/place.ts";
import { isDropped, passes, pings, policyScene } from "../lab/policy.ts";
import { waitFor } from "../lab/run.ts";

const stage = policyScene(test);

/** web and db on the dual-stack network shop; db serves 7000 to 7002 and 7050. */
async function webAndDb(...options: readonly string[]): Promise<readonly [Place, Place]> {
  const { host } = stage;
  await host.network("shop", "--ipv6", ...options);
  await host.container("web", ["--network", "shop"]);
  await host.container("db", ["--network", "shop"]);
  return [await host.inside("web"), await host.inside("db")];
}

const gatewayOf = async (place: Place): Promise<string> => /default via (\S+)/.exec(await place.sh("ip route"))?.[1] ?? "";

test.serial("one sentence opens both ends, in both families, and everything else is closed by the defaults", async (t) => {
  const { host, world: { outside } } = stage;
  const [web, db] = await webAndDb();
  await stage.apply("policy: shop\nfor: { network: shop }\ndefault: { in: deny, out: deny }\nallow:\n  - web -> db:7000\n");
  const before = await host.drops();
  await using _db = await db.serve({ tcp: [7000, 7001], udp: [7000] });
  await using _web = await web.serve({ tcp: [7000] });
  await using _world = await outside.serve({ tcp: [7000] });
  for (const [mine, theirs, world] of [[web.ipv4, db.ipv4, outside.ipv4], [web.ipv6, db.ipv6, outside.ipv6]] as const) {
    await passes(t, web, theirs, 7000);
    await isDropped(t, web, theirs, 7001);
    await isDropped(t, web, theirs, 7000, "udp", "since a port without a protocol is TCP's");
    await isDropped(t, db, mine, 7000);
    await isDropped(t, web, world, 7000);
    await isDropped(t, host, theirs, 7000, "tcp", "for default.in: deny holds for the host, too");
    t.false(await pings(web, theirs));
  }
  t.regex(await host.docker("exec", "web", "nslookup", "db"), new RegExp(`Address.*${db.ipv4}`), "names are Docker's own affair and resolve");
  await expectDrops(host, before, { POLICY_DEFAULT_OUT: some, POLICY_DEFAULT_IN: some });
});

test.serial("a deny rule beats every allow rule, however narrow its prefix or its ports are, and in whatever order (R53)", async (t) => {
  const { host, world: { outside } } = stage;
  const [web, db] = await webAndDb();
  await stage.apply(`
policy: shop
for: { network: shop }
allow:
  - web -> db:7050
  - web -> 203.0.113.10:7000
  - web -> [2001:db8:113::10]:7000
  - any -> any
deny:
  - any -> db:7000-7100
  - self -> 203.0.113.0/24, 2001:db8:113::/48
  - web -> db:7200
`);
  const before = await host.drops();
  await using _db = await db.serve({ tcp: [7050, 7101, 7200], udp: [7050] });
  await using _world = await outside.serve({ tcp: [7000] });
  for (const [theirs, world] of [[db.ipv4, outside.ipv4], [db.ipv6, outside.ipv6]] as const) {
    await isDropped(t, web, theirs, 7050);
    await isDropped(t, web, theirs, 7200, "tcp", "for a narrow deny beats a wide allow as well");
    await passes(t, web, theirs, 7101);
    await passes(t, web, theirs, 7050, "udp");
    await isDropped(t, web, world, 7000);
  }
  await expectDrops(host, before, { POLICY_DENIED: some });
});

test.serial("replies of an allowed flow pass though the reverse direction is denied (R57)", async (t) => {
  const { host } = stage;
  const [web, db] = await webAndDb();
  await stage.apply(`
policy: shop
for: { network: shop }
default: { in: deny }
allow:
  - web -> db
deny:
  - db -> web:1-65535
  - db -> web:1-65535/udp
`);
  const before = await host.drops();
  await using _db = await db.serve({ tcp: [7000], udp: [7000] });
  await using _web = await web.serve({ tcp: [7000], udp: [7000] });
  for (const [mine, theirs] of [[web.ipv4, db.ipv4], [web.ipv6, db.ipv6]] as const) {
    for (const protocol of ["tcp", "udp"] as const) {
      await passes(t, web, theirs, 7000, protocol);
      await isDropped(t, db, mine, 7000, protocol);
    }
    t.true(await pings(web, theirs));
    t.false(await pings(db, mine));
    t.is(await web.ask("tcp", theirs, 7009), "ECONNREFUSED", "a refusal is a reply");
    t.is(await web.ask("udp", theirs, 7009), "ECONNREFUSED", "so is an ICMP error about the flow");
  }
  await expectDrops(host, before, { POLICY_DENIED: some, POLICY_DEFAULT_IN: some });
});

test.serial("a sentence opens the way between two networks, and that way only", async (t) => {
  const { host } = stage;
  const [web] = await webAndDb();
  await host.network("other", "--ipv6");
  await host.docker("run", "-d", "--name", "store", "--network", "other", "--label", "com.docker.compose.service=db", "--stop-timeout", "0", "hawser/busybox", "sleep", "infinity");
  const store = await host.inside("store");
  await using _store = await store.serve({ tcp: [5432, 5433] });
  await using _web = await web.serve({ tcp: [5432] });
  const before = await host.drops();
  await isDropped(t, web, store.ipv4, 5432);
  await stage.apply("policy: shop\nfor: { network: shop }\nallow:\n  - web -> other/db:5432\n");
  for (const [mine, theirs] of [[web.ipv4, store.ipv4], [web.ipv6, store.ipv6]] as const) {
    await passes(t, web, theirs, 5432);
    await isDropped(t, web, theirs, 5433);
    await isDropped(t, store, mine, 5432);
  }
  await expectDrops(host, before, { NETWORK_ISOLATED: some });
});

test.serial("a sentence opens what enable_icc=false closes", async (t) => {
  const { host } = stage;
  const [web, db] = await webAndDb("-o", "com.docker.network.bridge.enable_icc=false");
  await using _db = await db.serve({ tcp: [7000, 7001] });
  await using _web = await web.serve({ tcp: [7000] });
  const before = await host.drops();
  await isDropped(t, web, db.ipv4, 7000);
  await stage.apply("policy: shop\nfor: { network: shop }\nallow:\n  - web -> db:7000\n");
  for (const [mine, theirs] of [[web.ipv4, db.ipv4], [web.ipv6, db.ipv6]] as const) {
    await passes(t, web, theirs, 7000);
    await isDropped(t, web, theirs, 7001);
    await isDropped(t, db, mine, 7000);
  }
  await expectDrops(host, before, { ICC_DISABLED: some });
});

test.serial("no rule opens an internal network: it stays a wall", async (t) => {
  const { host, world: { outside } } = stage;
  await host.network("vault", "--internal");
  await host.network("shop");
  await host.container("secret", ["--network", "vault"]);
  await host.container("peer", ["--network", "vault"]);
  await host.container("web", ["--network", "shop"]);
  const [secret, peer, web] = [await host.inside("secret"), await host.inside("peer"), await host.inside("web")];
  await stage.apply("policy: everything\nfor: all\nallow:\n  - any -> any\n  - shop/web -> vault/secret\n  - vault/secret -> world\n");
  await using _serving = await secret.serve({ tcp: [7000] });
  await using _world = await outside.serve({ tcp: [7000] });
  const before = await host.drops();
  await passes(t, peer, secret.ipv4, 7000);
  await isDropped(t, web, secret.ipv4, 7000);
  const gateway = (await host.docker("network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", "vault")).split("/")[0] ?? "";
  await secret.sh(`ip route replace default via ${gateway}`);
  await isDropped(t, secret, outside.ipv4, 7000);
  await expectDrops(host, before, { INTERNAL_NETWORK: some });
});

test.serial("ICMP echo obeys policy, by its own word, in both families (R48)", async (t) => {
  const { host } = stage;
  const [web, db] = await webAndDb();
  const before = await host.drops();
  const shop = (rules: string): Promise<unknown> => stage.apply(`policy: shop\nfor: { network: shop }\ndefault: { in: deny }\n${rules}`);
  await shop("");
  for (const address of [db.ipv4, db.ipv6]) {
    t.false(await pings(web, address));
    t.false(await pings(host, address));
  }
  await shop("allow:\n  - web -> db icmp(echo)\n");
  for (const address of [db.ipv4, db.ipv6]) {
    t.true(await pings(web, address));
    t.false(await pings(host, address));
    await isDropped(t, web, address, 7000);
  }
  await shop("allow:\n  - web -> db\ndeny:\n  - any -> db icmp(echo)\n");
  for (const address of [db.ipv4, db.ipv6]) {
    t.false(await pings(web, address));
    t.is(await web.ask("tcp", address, 7000), "ECONNREFUSED");
  }
  await expectDrops(host, before, { POLICY_DEFAULT_IN: some, POLICY_DENIED: some });
});

test.serial("DHCP, mDNS, LLMNR and HSRP between containers are closed until a rule opens them (R49)", async (t) => {
  const { host, world: { outside } } = stage;
  const [web, db] = await webAndDb();
  const local = [67, 68, 546, 547, 5353, 5355, 1985];
  await using _db = await db.serve({ udp: [...local, 7000], tcp: [5353] });
  await using _world = await outside.serve({ udp: [5353] });
  const before = await host.drops();
  await Promise.all(local.map((port) => isDropped(t, web, db.ipv4, port, "udp")));
  await Promise.all(local.map((port) => isDropped(t, web, db.ipv6, port, "udp")));
  await passes(t, web, db.ipv4, 7000, "udp");
  await passes(t, web, db.ipv4, 5353, "tcp", "for mDNS is UDP");
  await passes(t, web, outside.ipv4, 5353, "udp", "for the world is not the container's neighbourhood");
  await stage.apply("policy: shop\nfor: { network: shop }\nallow:\n  - web -> db:5353/udp\n  - web -> db:67/udp\n");
  for (const address of [db.ipv4, db.ipv6]) {
    await passes(t, web, address, 5353, "udp");
    await passes(t, web, address, 67, "udp");
    await isDropped(t, web, address, 5355, "udp");
  }
  await expectDrops(host, before, { POLICY_DENIED: some });
});

test.serial("metadata addresses and the host's Docker API are closed to containers until a rule opens them (R52)", async (t) => {
  const { host, world: { outside, router } } = stage;
  const [web] = await webAndDb();
  await outside.sh("ip address add 169.254.169.254/32 dev lo; ip address add fd00:ec2::254/128 dev lo");
  await router.sh(`ip route add 169.254.169.254 via ${outside.ipv4}; ip route add fd00:ec2::254 via ${outside.ipv6}`);
  await using _metadata = await outside.serve({ tcp: [80], udp: [80] });
  await using _host = await host.serve({ tcp: [2375, 2376, 2374] });
  const before = await host.drops();
  const gateway = await gatewayOf(web);
  for (const address of ["169.254.169.254", "fd00:ec2::254"]) {
    await isDropped(t, web, address, 80);
    await isDropped(t, web, address, 80, "udp");
    await passes(t, host, address, 80, "tcp", "for the host may ask");
  }
  for (const address of [host.ipv4, host.ipv6, gateway]) {
    await isDropped(t, web, address, 2375);
    await isDropped(t, web, address, 2376);
    await passes(t, web, address, 2374);
  }
  await stage.apply("policy: shop\nfor: { network: shop }\nallow:\n  - web -> 169.254.169.254:80, [fd00:ec2::254]:80\n  - web -> host:2375\n");
  for (const address of ["169.254.169.254", "fd00:ec2::254"]) {
    await passes(t, web, address, 80);
    await isDropped(t, web, address, 80, "udp");
  }
  for (const address of [host.ipv4, host.ipv6, gateway]) {
    await passes(t, web, address, 2375);
    await isDropped(t, web, address, 2376);
  }
  await expectDrops(host, before, { POLICY_DENIED: some });
});

test.serial("a container with NET_ADMIN changes nothing by flushing its own rules or taking other addresses (R51)", async (t) => {
  const { host, world: { outside } } = stage;
  await host.network("shop", "--subnet", "10.64.0.0/24");
  await host.container("good", ["--network", "shop"]);
  await host.container("db", ["--network", "shop"]);
  await host.container("evil", ["--network", "shop", "--cap-add", "NET_ADMIN", "--cap-add", "NET_RAW"]);
  const [good, db, evil] = [await host.inside("good"), await host.inside("db"), await host.inside("evil")];
  await stage.apply("policy: shop\nfor: { network: shop }\ndefault: { in: deny, out: deny }\nallow:\n  - good -> db:7000, world:7000\n");
  await using _db = await db.serve({ tcp: [7000] });
  await using _world = await outside.serve({ tcp: [7000] });
  const before = await host.drops();
  const closed = async (when: string): Promise<void> => {
    await isDropped(t, evil, db.ipv4, 7000, "tcp", when);
    await isDropped(t, evil, outside.ipv4, 7000, "tcp", when);
    await passes(t, good, db.ipv4, 7000, "tcp", when);
  };
  await closed("before it tries");
  await evil.sh("/usr/sbin/nft flush ruleset; iptables -F 2>/dev/null; iptables -t nat -F 2>/dev/null; tc qdisc del dev eth0 root 2>/dev/null; tc qdisc del dev eth0 clsact 2>/dev/null; true");
  await closed("after it flushed its rules and queues");
  const gateway = await gatewayOf(evil);
  await host.docker("exec", "evil", "sh", "-c", `ip link set eth0 down; ip link set eth0 up; ip route replace default via ${gateway}`);
  await closed("after it took its device down and up");
  await evil.sh(`ip address add 10.64.0.200/24 dev eth0; ip route replace ${db.ipv4} dev eth0 src 10.64.0.200; ip route replace ${outside.ipv4} via ${gateway} src 10.64.0.200`);
  await closed("with an address that nobody has");
  await good.sh("ip link set eth0 down");
  await evil.sh(`ip address add ${good.ipv4}/24 dev eth0; ip route replace ${db.ipv4} dev eth0 src ${good.ipv4}; ip route replace ${outside.ipv4} via ${gateway} src ${good.ipv4}`);
  await isDropped(t, evil, db.ipv4, 7000, "tcp", "with the address of one that may");
  await isDropped(t, evil, outside.ipv4, 7000, "tcp", "with the address of one that may");
  await expectDrops(host, before, { POLICY_DEFAULT_OUT: some, INVALID_SOURCE_IP: some });
});

test.serial("entities mean what they say: host, lan, world and internet", async (t) => {
  const { host, world: { outside, neighbour, router } } = stage;
  const [web] = await webAndDb();
  await outside.sh("ip address add 9.9.9.9/32 dev lo");
  await router.sh(`ip route add 9.9.9.9 via ${outside.ipv4}`);
  await using _world = await outside.serve({ tcp: [7000] });
  await using _lan = await neighbour.serve({ tcp: [7000] });
  await using _host = await host.serve({ tcp: [7000] });
  const before = await host.drops();
  const targets = [["host", host.ipv4], ["lan", neighbour.ipv4], ["world", outside.ipv4], ["internet", "9.9.9.9"]] as const;
  // lan is part of world; 203.0.113.0/24 is reserved for documentation and so no part of the internet.
  for (const [entity, open] of [["host", ["host"]], ["lan", ["lan"]], ["world", ["lan", "world", "internet"]], ["internet", ["internet"]]] as const) {
    await stage.apply(`policy: shop\nfor: { network: shop }\ndefault: { out: deny }\nallow:\n  - web -> ${entity}\n`);
    for (const [name, address] of targets) {
      if ((open as readonly string[]).includes(name)) await passes(t, web, address, 7000, "tcp", `with web -> ${entity}`);
      else await isDropped(t, web, address, 7000, "tcp", `with web -> ${entity}`);
    }
  }
  await expectDrops(host, before, { POLICY_DEFAULT_OUT: some });
});

test.serial("exceptions of a prefix are outside of it, and containers are never meant by a prefix", async (t) => {
  const { host, world: { outside, neighbour } } = stage;
  const [web, db] = await webAndDb();
  await using _world = await outside.serve({ tcp: [7000] });
  await using _lan = await neighbour.serve({ tcp: [7000] });
  await using _db = await db.serve({ tcp: [7000] });
  const before = await host.drops();
  const { stderr } = await stage.apply(`
policy: shop
for: { network: shop }
default: { out: deny }
sets: { far: [203.0.113.0/24 except 203.0.113.8/29 and 203.0.113.99] }
allow:
  - "web -> @far:7000"
  - { from: [web], to: [{ cidr: 10.0.0.0/9, except: [10.98.0.0/16] }], ports: [7000/tcp] }
`);
  t.regex(stderr, /warning.*10\.0\.0\.0\/9 overlaps network "shop"/, "which is told when it overlaps a network");
  await passes(t, web, neighbour.ipv4, 7000);
  await isDropped(t, web, outside.ipv4, 7000);
  await isDropped(t, web, db.ipv4, 7000);
  await stage.apply("policy: shop\nfor: { network: shop }\ndefault: { out: deny }\nallow:\n  - web -> 203.0.113.0/24 except 203.0.113.99\n");
  await passes(t, web, outside.ipv4, 7000);
  await waitFor("the neighbour to be out of reach", async () => (await web.ask("tcp", neighbour.ipv4, 7000, { timeout: 0.5 })) === "TIMEOUT", { promisedMs: 2000 });
  await expectDrops(host, before, { POLICY_DEFAULT_OUT: some });
});
