// Trace: what is meant by FROM and TO[:PORT[/PROTO]], and each different answer.
import test from "ava";
import { trace } from "../../../src/policy/trace.ts";
import type { KnownEndpoint } from "../../../src/policy/trace.ts";
import { parseTarget } from "../../../src/policy/asked.ts";
import type { IdentityLabels, Policy } from "../../../src/policy/types.ts";
import { HawserError } from "../../../src/std/errors.ts";
import { parseIp } from "../../../src/std/ip.ts";
import { api, container, db, facts, job, policies, shop, told, web } from "./shop.ts";

function endpoint(name: string, number: number, labels: IdentityLabels, identity: number, ipv6: string | null = null): KnownEndpoint {
  const digit = number.toString(16);
  return {
    id: `e${digit}`.repeat(32), containerId: `c${digit}`.repeat(32), name, network: labels.network, identity: { id: identity, labels },
    ipv4: parseIp(`10.44.0.${number}`), ipv6: ipv6 === null ? null : parseIp(ipv6),
  };
}

const known = [
  endpoint("shop-web-1", 2, web, 1, "fd44::2"), endpoint("shop-web-2", 3, web, 1), endpoint("shop-api-1", 4, api, 2), endpoint("shop-db-1", 5, db, 3),
  endpoint("job", 6, job, 4),
];

function traces(written: Policy | readonly Policy[], from: string, to: string, endpoints = known): readonly string[] {
  return trace("rules" in written ? [written] : written, facts, from, to, endpoints).map((one) => told(one));
}

const closed = shop({ default: "{ in: deny }", allow: ["web -> api:8080", "world -> web:443", "api -> db:5432/udp", "any -> web icmp(echo)", "2001:db8:1::/48 -> web:22"] });

test("a name, network/name, service, id, the beginning of an id, an address and labels all mean the container", (t) => {
  const [webEndpoint] = known;
  for (const who of ["shop-web-1", "shop/shop-web-1", "web", "shop/web", webEndpoint?.id ?? "", webEndpoint?.containerId.slice(0, 12) ?? "", "10.44.0.2", "fd44::2", "label(tier=front)"]) {
    t.deepEqual(traces(closed, who, "api:8080"), ["allow out web -> api:8080"], who);
  }
  t.deepEqual(traces(closed, "net(shop)", "api:8080"), ["deny in default:in", "deny in default:in", "allow out web -> api:8080"]);
});

test("what was judged is told: identity, labels, address and endpoint", (t) => {
  const [one] = trace([closed], facts, "web", "shop-api-1:8080", known);
  t.like(one, {
    verdict: "allow", end: "out", protocol: "tcp", port: 8080,
    from: { name: "web", identity: 1, address: "10.44.0.2" }, to: { name: "shop-api-1", identity: 2, address: "10.44.0.4", endpoint: known[2]?.id ?? "" },
  });
  t.like(one?.from.labels, { network: "shop", service: "web", tier: "front" });
});

test("world is a public address that no policy and no fact mentions, and says which", (t) => {
  const mentioned = shop({ default: "{ in: deny }", allow: ["1.0.0.0/8 -> web:443", "2.2.2.2 -> web:443"] });
  const [one] = trace([mentioned], facts, "world", "web:443", known);
  t.like(one, { verdict: "deny", from: { name: "world", address: "3.3.3.3", identity: 0, endpoint: null } });
  t.deepEqual(traces(closed, "world", "web:443"), ["allow in world -> web:443"]);
  t.deepEqual(traces(closed, "world", "[fd44::2]:443"), ["allow in world -> web:443"]);
});

test("from outside a container is reached by its published port", (t) => {
  const strict = { ...facts, published: "deny" as const };
  t.deepEqual(trace([], strict, "world", "web:443", known).map(told), ["deny in default:published"]);
  t.deepEqual(trace([], strict, "host", "web:443", known).map(told), ["allow in default:in"]);
});

test("where neither end is a container there is nothing to judge, and a word for many is no end", (t) => {
  const says = (from: string, to: string): string => t.throws(() => traces(closed, from, to), { instanceOf: HawserError, code: "BAD_REQUEST" })?.message ?? "";
  t.regex(says("world", "198.51.100.7:8080"), /^neither "world" nor "198\.51\.100\.7" is a container, and policy is for containers' flows; for a published port name the container/);
  for (const who of ["any", "self", "@office"]) t.regex(says(who, "db:5432"), /stands for many, who may fare differently; name one of them/);
});

test("host, lan and nodes are addresses of this host's facts; none known is an error", (t) => {
  t.deepEqual(traces(closed, "host", "web:443"), ["deny in default:in"]);
  t.deepEqual(traces(shop({ deny: ["lan -> web"] }), "lan", "web:443"), ["deny in lan -> web"]);
  t.deepEqual(traces(shop({ deny: ["nodes -> web"] }), "nodes", "web:443"), ["deny in nodes -> web"]);
  t.deepEqual(traces([], "web", "host:2375"), ["deny out default:host-services"]);
  const error = t.throws(() => trace([], { ...facts, nodes: [] }, "nodes", "web", known), { instanceOf: HawserError });
  t.is(error?.code, "NOT_FOUND");
});

test("ports, protocols, brackets and ICMP messages are read off the target", (t) => {
  t.like(parseTarget("db:5432/udp"), { who: "db", protocol: "udp", port: 5432 });
  t.like(parseTarget("db"), { who: "db", protocol: null, port: null });
  t.like(parseTarget("[2001:db8::7]:443"), { who: "2001:db8::7", protocol: "tcp", port: 443 });
  t.like(parseTarget("2001:db8::7"), { who: "2001:db8::7", protocol: null });
  t.like(parseTarget("2001:db8::443"), { who: "2001:db8::443", protocol: null });
  for (const asked of ["web/icmp", "web:icmp", "web icmp", "web:icmp(echo)", "web icmp(8/0)"]) t.like(parseTarget(asked), { who: "web", protocol: "icmp", port: 2048 });
  t.like(parseTarget("label(tier=db):5432"), { who: "label(tier=db)", port: 5432 });
  t.like(parseTarget("shop/db:5432"), { who: "shop/db", port: 5432 });
  for (const wrong of ["db:0", "db:65536", "db:http", "db:80/tls", "web:icmp(pong)", "web:icmp(300)"]) {
    t.is(t.throws(() => parseTarget(wrong), { instanceOf: HawserError })?.code, "BAD_REQUEST", wrong);
  }
});

test("icmp is ICMPv6 where the two speak IPv6", (t) => {
  const [four] = trace([closed], facts, "api", "web:icmp(echo)", known);
  t.like(four, { verdict: "allow", protocol: "icmp", port: 8 * 256 });
  const [six] = trace([closed], facts, "2001:db8:1::7", "web:icmp(echo)", known);
  t.like(six, { verdict: "allow", protocol: "icmpv6", port: 128 * 256, to: { address: "fd44::2" } });
});

test("a name of several endpoints with different verdicts gives each, what is denied first", (t) => {
  const other = endpoint("shop-api-2", 7, container("shop", "api", { canary: "yes" }), 5);
  const canary = shop({ allow: ["web -> api"], deny: ["web -> label(canary=yes)"] });
  t.deepEqual(traces(canary, "web", "api:8080", [...known, other]), ["deny out web -> label(canary=yes)", "allow out web -> api"]);
});

test("of a name on several networks those count that share one with the other end", (t) => {
  const both = [...known, endpoint("shop-api-1", 8, container("back", "api"), 6)];
  t.deepEqual(traces([], "web", "api:80", both), ["allow in default:in"]);
  t.deepEqual(traces([], "web", "back/api:80", both), ["deny out between-networks"]);
});

test("replicas are asked about one another, not about themselves", (t) => {
  const strangers = { ...facts, networks: new Map([["shop", { internal: false, icc: false }]]) };
  t.deepEqual(trace([], strangers, "web", "web:80", known).map(told), ["deny out default:icc"]);
});

test("a container whose labels are not known yet is traced as what it is", (t) => {
  const init = endpoint("new", 9, container("shop", "x"), 0);
  t.deepEqual(traces(policies("policy: p\nfor: all\nallow: ['any -> any']"), "new", "web:80", [...known, init]), ["deny out not-identified"]);
});

test("what nobody is called is an error with the nearest name", (t) => {
  const error = t.throws(() => trace([], facts, "shop-wbe-1", "db", known), { instanceOf: HawserError });
  t.is(error?.code, "NOT_FOUND");
  t.regex(error?.message ?? "", /"shop-wbe-1".*did you mean "shop-web-1"\?/);
  t.regex(t.throws(() => trace([], facts, "web", "zzzzzzzzzzz:80", known))?.message ?? "", /hawser endpoint list/);
});
