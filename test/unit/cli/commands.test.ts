// What each command prints and how it ends.
import test from "ava";
import { nodeTable } from "../../../src/cli/commands/node.ts";
import type { AgentOptions, SweepOptions } from "../../../src/cli/dependencies.ts";
import { styleFor } from "../../../src/cli/style.ts";
import { HawserError } from "../../../src/std/errors.ts";
import { endpoints, far, maps, networks, nodes, ports, status } from "../api/world.ts";
import { hawser, serve, socketFor } from "./harness.ts";

test("lists as JSON are exactly what the agent said, alone on stdout", async (t) => {
  const socket = await serve(t);
  const lists = [
    { words: ["endpoint", "list"], wanted: endpoints }, { words: ["network", "list"], wanted: networks }, { words: ["node", "list"], wanted: nodes },
    { words: ["endpoint", "list", "--all"], wanted: [...endpoints, far] }, { words: ["map", "list"], wanted: maps },
  ];
  for (const { words, wanted } of lists) {
    const ran = await hawser(socket, [...words, "-o", "json"]);
    t.is(ran.code, 0);
    t.is(ran.err, "");
    t.deepEqual(JSON.parse(ran.out), wanted);
  }
});

test("the contract's fields are in the JSON of each list", async (t) => {
  const socket = await serve(t);
  const fieldsOf = async (...words: readonly string[]): Promise<readonly string[]> => {
    const [first] = JSON.parse((await hawser(socket, [...words, "-o", "json"])).out) as readonly object[];
    return Object.keys(first ?? {});
  };
  const endpoint = await fieldsOf("endpoint", "list");
  for (const field of ["id", "name", "containerId", "network", "node", "ipv4", "ipv6", "mac", "identity", "labels", "state", "hostInterface", "default"]) {
    t.true(endpoint.includes(field), field);
  }
  const network = await fieldsOf("network", "list");
  for (const field of ["id", "name", "ipv4", "ipv6", "internal", "endpoints"]) t.true(network.includes(field), field);
  const node = await fieldsOf("node", "list");
  for (const field of ["name", "address", "ipv4", "ipv6", "state", "lastSeen"]) t.true(node.includes(field), field);
});

test("endpoint list: one aligned line each, with a dash for what is not known", async (t) => {
  const ran = await hawser(await serve(t), ["endpoint", "list"]);
  t.is(ran.out, [
    "ID             NAME   CONTAINER      NETWORK   IPV4        IPV6      IDENTITY   DEFAULT               INTERFACE       STATE   NOTES",
    "4f0c11111111   web    c0ffee000000   shop      10.44.0.2   fd44::2        256   in allow, out allow   hw4f0c1111111   ready   -",
    "4f0d22222222   web    c0ffee000000   back      10.44.1.2   -              256   in allow, out allow   hw4f0d2222222   ready   -",
    "773333333333   -      -              shop      10.44.0.3   fd44::3          -   in allow, out allow   hw77333333333   init    -",
    "994444444444   db     c0ffff000000   shop      10.44.0.4   fd44::4        257   in deny, out allow    hw4f0c1111111   ready   1 note",
    "",
  ].join("\n"));
});

test("endpoint list --all: those of other nodes too, and on which node each is", async (t) => {
  const { out } = await hawser(await serve(t), ["endpoint", "list", "--all"]);
  t.regex(out, /^ID +NAME +CONTAINER +NODE +NETWORK /m);
  t.regex(out, /^994444444444 +db +c0ffff000000 +edge-1 +shop /m);
  t.regex(out, /^aa5555555555 +cache +c0dddd000000 +edge-2 +shop +10\.44\.2\.2 /m);
});

test("node list: this node and the others, with a dash for what is not known", async (t) => {
  const ran = await hawser(await serve(t), ["node", "list"]);
  t.is(ran.out, [
    "NAME     ADDRESS        STATE             RTT   LAST SEEN   IPV4           IPV6              ENDPOINTS",
    "edge-1   192.0.2.10     self                -   -           10.44.0.0/24   fd44::/64                 4",
    "edge-2   192.0.2.20     ready         0.42 ms   1 s ago     10.44.2.0/24   fd44:0:0:2::/64           1",
    "edge-3   2001:db8::30   unreachable         -   never       10.44.3.0/24   -                         0",
    "",
  ].join("\n"));
});

test("node list: of many slices the first and how many more", (t) => {
  const row = { name: "a", address: "192.0.2.1", ipv4: "10.44.1.0/24, 10.44.7.0/24, 10.44.9.0/24", ipv6: "fd44::/64, fd44:0:0:2::/64", state: "self", lastSeen: 0, rttMs: null, mtu: 1500, endpoints: 0 } as const;
  t.regex(nodeTable([row], styleFor({ isTTY: false, env: {} }), 0), / 10\.44\.1\.0\/24 and 2 more +fd44::\/64, fd44:0:0:2::\/64 /);
});

test("node get: by name, as text and as one JSON object; a slip is told the nearest name", async (t) => {
  const socket = await serve(t);
  const { out } = await hawser(socket, ["node", "get", "edge-2"]);
  t.regex(out, /^round trip +0\.42 ms$/m);
  t.regex(out, /^mtu +1500$/m);
  t.deepEqual(JSON.parse((await hawser(socket, ["node", "get", "edge-2", "-o", "json"])).out), nodes[1]);
  t.like(await hawser(socket, ["node", "get", "edge-4"]), { code: 1, out: "" });
});

test("endpoint get: by name, as text and as one JSON object", async (t) => {
  const socket = await serve(t);
  const text = await hawser(socket, ["endpoint", "get", "shop/web"]);
  t.regex(text.out, /^labels +tier=front, a=b=c, d$/m);
  t.regex(text.out, /^ports +80\/tcp -> 0\.0\.0\.0:8080, 80\/tcp -> \[::\]:8080$/m);
  t.deepEqual(JSON.parse((await hawser(socket, ["endpoint", "get", "db", "-o", "json"])).out), endpoints[3]);
  const db = await hawser(socket, ["endpoint", "get", "db"]);
  t.regex(db.out, /^identity +257$/m);
  t.regex(db.out, /^default +in deny, out allow$/m);
  t.regex(db.out, /^notes +container db-admin shares its namespace/m);
});

test("endpoint get: an ambiguous beginning fails and names the candidates on stderr", async (t) => {
  const ran = await hawser(await serve(t), ["endpoint", "get", "4f0", "-o", "json"]);
  t.is(ran.code, 1);
  t.is(ran.out, "");
  t.regex(ran.err, /^hawser: "4f0" could be 2 endpoints: 4f0c11111111 \(shop\/web\), 4f0d22222222 \(back\/web\).*\[BAD_REQUEST\]\n$/);
});

test("port: of one container as docker port prints them, by name or the beginning of its id", async (t) => {
  const socket = await serve(t);
  for (const container of ["web", "c0ffee"]) {
    t.deepEqual(await hawser(socket, ["port", container]), { code: 0, out: "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n", err: "" });
  }
  t.is((await hawser(socket, ["port", "web", "80"])).out, "0.0.0.0:8080\n[::]:8080\n");
  t.is((await hawser(socket, ["port", "db", "53/udp"])).out, "127.0.0.1:5353\n");
  t.like(await hawser(socket, ["port", "db", "53"]), { code: 1, err: "hawser: port 53/tcp of container \"db\" is not published [NOT_FOUND]\n" });
  t.like(await hawser(socket, ["port", "dp"]), { code: 1, out: "" });
});

test("port: without a container, a table of all; as JSON, every field", async (t) => {
  const socket = await serve(t);
  t.is((await hawser(socket, ["port"])).out, [
    "CONTAINER   NETWORK   PORT     PUBLISHED ON",
    "db          shop      53/udp   127.0.0.1:5353",
    "web         shop      80/tcp   0.0.0.0:8080",
    "web         shop      80/tcp   [::]:8080",
    "",
  ].join("\n"));
  const [web4, web6, db] = ports;
  t.deepEqual(JSON.parse((await hawser(socket, ["port", "-o", "json"])).out), [db, web4, web6]);
});

test("network get: a network without its own MTU takes the uplink's", async (t) => {
  const ran = await hawser(await serve(t), ["network", "get", "back"]);
  t.regex(ran.out, /^internal +yes$/m);
  t.regex(ran.out, /^mtu +as the uplink$/m);
});

test("map list: how full each is", async (t) => {
  const ran = await hawser(await serve(t), ["map", "list"]);
  t.regex(ran.out, /^hw_ct4 +lru_hash +16 +64 +130000 +131072 +99%$/m);
  t.regex(ran.out, /^hw_metrics .* 512 +512 +-$/m);
});

test("map dump: the same entries as table, JSON and lines of JSON", async (t) => {
  const socket = await serve(t);
  const table = await hawser(socket, ["map", "dump", "hw_endpoints"]);
  t.regex(table.out, /^ifindex=7 +mac=02:42:0a:2c:00:02 ipv4=10\.44\.0\.2 flags=\[1 2\]$/m);
  const json = JSON.parse((await hawser(socket, ["map", "dump", "hw_endpoints", "-o", "json"])).out) as unknown[];
  const lines = (await hawser(socket, ["map", "dump", "hw_endpoints", "-o", "jsonl"])).out.trimEnd().split("\n").map((line) => JSON.parse(line) as unknown);
  t.is(json.length, 2);
  t.deepEqual(lines, json);
});

test("map dump: an empty map is an empty list; a cut one says so on stderr only", async (t) => {
  const empty = await serve(t, { dumpMap: () => Promise.resolve([]) });
  t.deepEqual(await hawser(empty, ["map", "dump", "hw_ct4", "-o", "json"]), { code: 0, out: "[]\n", err: "" });
  t.deepEqual(await hawser(empty, ["map", "dump", "hw_ct4", "-o", "jsonl"]), { code: 0, out: "", err: "" });
  const cut = await hawser(await serve(t), ["map", "dump", "hw_endpoints", "-n", "1", "-o", "json"]);
  t.is((JSON.parse(cut.out) as unknown[]).length, 1);
  t.regex(cut.err, /only the first 1 entries/);
});

test("status: parts, kernel, drops by number, and up since", async (t) => {
  const ran = await hawser(await serve(t), ["status"]);
  t.is(ran.code, 0);
  t.is(ran.out, [
    "hawser 0.1.0 on edge-1: ready, up 3 h 12 min",
    "",
    "  ✓ store        /var/lib/hawser/hawser.db",
    "  ! docker       has not answered for 12 s",
    "  - containerd   off",
    "",
    "  kernel     6.18.0  ✓ tcx  - xdp",
    "  uplinks    eth0",
    "  programs   tcx: netdev on eth0 (ingress), from_container on 2 devices (ingress)",
    "             cgroup: connect4, bind4",
    "  holds      2 networks, 4 endpoints, 3 published ports, 3 pools",
    "",
    "DIRECTION   REASON                 PACKETS                 BYTES",
    "ingress     MARTIAN    1152921504606846976   4611686018427387904",
    "egress      NO_ROUTE                     3                   180",
    "",
  ].join("\n"));
});

test("status: each other node, whether it answers and how fast", async (t) => {
  const socket = await serve(t, { status: () => Promise.resolve({ ...status, peers: nodes.slice(1) }) });
  const { out } = await hawser(socket, ["status"]);
  t.true(out.includes([
    "",
    "PEER     ADDRESS        STATE             RTT   LAST SEEN",
    "edge-2   192.0.2.20     ready         0.42 ms   1 s ago",
    "edge-3   2001:db8::30   unreachable         -   never",
    "",
  ].join("\n")), out);
  const { peers } = JSON.parse((await hawser(socket, ["status", "-o", "json"])).out) as { readonly peers: unknown };
  t.deepEqual(peers, nodes.slice(1));
});

test("status: problems with their mends, and exit 1, when the agent is not ready", async (t) => {
  const problem = "Docker does not answer on /run/docker.sock; start dockerd";
  const socket = await serve(t, { status: () => Promise.resolve({ ...status, ready: false, problems: [problem] }) });
  const text = await hawser(socket, ["status"]);
  t.is(text.code, 1);
  t.regex(text.out, /not ready/);
  t.true(text.out.includes(`  ✗ ${problem}\n`));
  const json = await hawser(socket, ["status", "-o", "json"]);
  t.is(json.code, 1);
  t.like(JSON.parse(json.out), { ready: false, problems: [problem] });
});

test("status: what stands among the problems is not said twice, long details are wrapped, reasons are those of docs/drops.md", async (t) => {
  const wrong = { part: "policy", state: "degraded", detail: `shop.yaml:2:1: ${"wrong ".repeat(20)}` } as const;
  const other = { part: "host", state: "degraded", detail: "word ".repeat(20).trimEnd() } as const;
  const counters = [{ direction: "to-container", reason: "policy-default-in", packets: 1n, bytes: 60n }];
  const socket = await serve(t, { status: () => Promise.resolve({ ...status, parts: [wrong, other], problems: [`policy: ${wrong.detail}`], counters }) });
  const { out } = await hawser(socket, ["status"], { columns: 80 });
  t.regex(out, /^ {2}! policy {3}see above$/m);
  t.regex(out, /^ {2}! host {5}(?:word ){12,13}word\n {13}word/m);
  t.regex(out, /^to-container {3}POLICY_DEFAULT_IN +1 +60$/m);
});

test("status: counters beyond what JSON carries exactly are text", async (t) => {
  const { counters } = JSON.parse((await hawser(await serve(t), ["status", "-o", "json"])).out) as { counters: unknown[] };
  t.deepEqual(counters[0], { direction: "egress", reason: "NO_ROUTE", packets: 3, bytes: 180 });
  t.like(counters[1], { packets: "1152921504606846976" });
});

test("colours only on a terminal, and never with NO_COLOR", async (t) => {
  const socket = await serve(t);
  const terminal = { isTTY: true, columns: 80 };
  t.true((await hawser(socket, ["status"], terminal)).out.includes("\x1b["));
  t.false((await hawser(socket, ["status"])).out.includes("\x1b["));
  t.false((await hawser(socket, ["status"], { ...terminal, env: { HAWSER_SOCKET: socket, NO_COLOR: "1" } })).out.includes("\x1b["));
  t.false((await hawser(socket, ["--help"], { ...terminal, env: { TERM: "dumb" } })).out.includes("\x1b["));
});

test("doctor: findings with their mends, exit 1 only when one fails", async (t) => {
  const findings = [
    { check: "kernel", state: "ok", detail: "6.18.0", mend: "" },
    { check: "bpffs", state: "warn", detail: "not mounted", mend: "mount it" },
  ] as const;
  const fine = await hawser("/none", ["doctor"], { doctor: () => Promise.resolve(findings) });
  t.is(fine.code, 0);
  t.is(fine.out, "  ✓ kernel   6.18.0\n  ! bpffs    not mounted\n             → mount it\n\nnothing keeps Hawser from working (2 checks), 1 to look at\n");
  const broken = await hawser("/none", ["doctor", "-o", "json"], {
    doctor: () => Promise.resolve([...findings, { check: "build", state: "fail", detail: "missing", mend: "npm run build" }]),
  });
  t.is(broken.code, 1);
  t.is((JSON.parse(broken.out) as unknown[]).length, 3);
});

test("agent: hands the configuration's path on, and its failure is a sentence with a code", async (t) => {
  const given: AgentOptions[] = [];
  t.is((await hawser("/none", ["agent", "--config", "lab.yaml"], { runAgent: (options) => (given.push(options), Promise.resolve()) })).code, 0);
  t.deepEqual(given, [{ configPath: "lab.yaml" }]);
  const bad = await hawser("/none", ["agent"], { runAgent: () => Promise.reject(new HawserError("BAD_CONFIG", "\"pol\" is no key")) });
  t.deepEqual(bad, { code: 1, out: "", err: "hawser: \"pol\" is no key [BAD_CONFIG]\n" });
});

test("sweep: through the agent when one runs, alone when none does", async (t) => {
  const asked: SweepOptions[] = [];
  const alone = { sweep: (options: SweepOptions) => (asked.push(options), Promise.resolve({ swept: [{ kind: "pin", name: "maps/hw_old" }], kept: "the rest stays" })) };
  const socket = await serve(t);
  t.deepEqual(JSON.parse((await hawser(socket, ["sweep", "-o", "json"], alone)).out), [{ kind: "link", name: "hwdeadbeef000" }]);
  t.deepEqual(asked, []);
  const ran = await hawser(await socketFor(t), ["sweep", "--all"], alone);
  t.is(ran.out, "REMOVED   NAME\npin       maps/hw_old\n");
  t.is(ran.err, "hawser: the rest stays\n");
  t.deepEqual(asked, [{ configPath: undefined, all: true, force: false }]);
  t.deepEqual(await hawser(await socketFor(t), ["sweep"]), { code: 0, out: "", err: "hawser: nothing to sweep\n" });
});

test("sweep --all is refused while an agent needs what it would remove, unless forced", async (t) => {
  const socket = await serve(t);
  const refused = await hawser(socket, ["sweep", "--all"]);
  t.is(refused.code, 1);
  t.regex(refused.err, /an agent is running.*\[IN_USE\]/);
  t.is((await hawser(socket, ["sweep", "--all", "--force", "-o", "json"])).out, "[]\n");
});

test("a configuration of its own means an agent of its own: sweep does not ask the one on the default socket", async (t) => {
  const asked: SweepOptions[] = [];
  await hawser("", ["sweep", "-c", "lab.yaml"], {
    sweep: (options) => (asked.push(options), Promise.resolve({ swept: [] })),
    connect: () => Promise.reject(new HawserError("INTERNAL", "asked an agent")),
  });
  t.deepEqual(asked, [{ configPath: "lab.yaml", all: false, force: false }]);
});
