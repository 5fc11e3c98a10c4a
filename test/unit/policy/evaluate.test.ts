// Each clause of what policy means, as the contract and the reference say it.
import test from "ava";
import { identityKey } from "../../../src/policy/identity.ts";
import { policyOfLabels } from "../../../src/policy/own-labels.ts";
import { evaluate } from "../../../src/policy/evaluate.ts";
import { api, container, db, end, facts, job, judge, policies, question, shop, web } from "./shop.ts";

test("without policy Docker's way holds: the same network talks, the world is open, published ports are open", (t) => {
  t.is(judge([], web, db, "5432"), "allow in default:in");
  t.is(judge([], web, "9.9.9.9", "443"), "allow out default:out");
  t.is(judge([], "9.9.9.9", web, "443", { published: true }), "allow in default:in");
  t.is(judge([], "192.0.2.1", web, "443"), "allow in default:in");
  t.is(judge([], "192.0.2.1", "9.9.9.9"), "allow in default:in");
});

test("one sentence permits both ends: it lets A out to B and lets B accept A", (t) => {
  const closed = shop({ default: "{ in: deny, out: deny }", allow: ["web -> api:8080"] });
  t.is(judge(closed, web, api, "8080"), "allow out web -> api:8080");
  t.is(judge(closed, web, api, "8081"), "deny out default:out");
  t.is(judge(closed, web, db, "8080"), "deny out default:out");
  t.is(judge(closed, job, api, "8080"), "deny in default:in");
});

test("R57 a sentence opens no way back: the other direction is a flow of its own", (t) => {
  const oneWay = shop({ default: "{ in: deny }", allow: ["web -> api:8080"] });
  t.is(judge(oneWay, web, api, "8080"), "allow out web -> api:8080");
  t.is(judge(oneWay, api, web, "8080"), "deny in default:in");
});

test("R53 deny always wins, however narrow or wide", (t) => {
  const narrowAllow = shop({ allow: ["203.0.113.9 -> web:443"], deny: ["203.0.113.0/24 -> web"] });
  t.is(judge(narrowAllow, "203.0.113.9", web, "443", { published: true }), "deny in 203.0.113.0/24 -> web");
  const narrowDeny = shop({ allow: ["any -> web"], deny: ["203.0.113.9 -> web:443"] });
  t.is(judge(narrowDeny, "203.0.113.9", web, "443", { published: true }), "deny in 203.0.113.9 -> web:443");
  t.is(judge(narrowDeny, "203.0.113.9", web, "444", { published: true }), "allow in any -> web");
  const ranges = shop({ allow: ["web -> api:8080"], deny: ["web -> api:8000-8100"], audit: ["web -> api:8080"] });
  t.is(judge(ranges, web, api, "8080"), "deny out web -> api:8000-8100");
});

test("R53 a deny rule of one policy wins over an allow rule of another", (t) => {
  const both = policies("policy: a\nfor: all\nallow: ['any -> any']", "policy: b\nfor: { network: shop }\ndeny: ['web -> db']");
  t.is(judge(both, web, db, "1"), "deny out web -> db");
  t.is(judge(both, api, db, "1"), "allow out any -> any");
});

test("order means nothing, and of equals the one written first is named", (t) => {
  const same = shop({ allow: ["web -> api", "any -> api:8080"], deny: ["any -> db", "web -> db"] });
  t.is(judge(same, web, api, "8080"), "allow out web -> api");
  t.is(judge(same, web, db, "8080"), "deny out any -> db");
});

test("R64 audit is reported as if enforced and never dropped: no default stops it, only a deny rule", (t) => {
  const audited = shop({ default: "{ in: deny, out: deny }", audit: ["web -> internet:443"], allow: ["web -> 9.9.9.9"], deny: ["web -> 8.8.8.8"] });
  t.is(judge(audited, web, "1.1.1.1", "443"), "audit out web -> internet:443");
  t.is(judge(audited, web, "9.9.9.9", "443"), "audit out web -> internet:443");
  t.is(judge(audited, web, "9.9.9.9", "80"), "allow out web -> 9.9.9.9");
  t.is(judge(audited, web, "8.8.8.8", "443"), "deny out web -> 8.8.8.8");
});

test("default: a deny by any policy wins over an allow by another, and its policy is named", (t) => {
  const both = policies(
    "policy: open\nfor: all\ndefault: { in: allow, out: allow }",
    "policy: closed\nfor: { label: tier=db }\ndefault: { in: deny }",
  );
  t.is(judge(both, web, db, "5432"), "deny in default:in");
  t.is(judge(both, db, web, "5432"), "allow in default:in");
  const { decidedBy } = evaluate(both, facts, question(web, db, "5432"));
  t.like(decidedBy, { kind: "default", policy: "closed", place: { file: "more1.yaml", line: 1 } });
});

test("default in: deny also holds for the host", (t) => {
  const closed = shop({ default: "{ in: deny }", allow: ["host -> web:22"] });
  t.is(judge(closed, "192.0.2.1", web, "443"), "deny in default:in");
  t.is(judge(closed, "192.0.2.1", web, "22"), "allow in host -> web:22");
});

test("a default of one end does not close the other", (t) => {
  const labelled = policies("policy: out\nfor: { label: tier=front }\ndefault: { out: deny }");
  t.is(judge(labelled, web, api, "1"), "deny out default:out");
  t.is(judge(labelled, api, web, "1"), "allow in default:in");
});

test("containers of different networks meet only by a rule, at both ends", (t) => {
  t.is(judge([], job, web, "80"), "deny out between-networks");
  t.is(judge([], job, web, "80", { facts: { betweenNetworks: "allow" } }), "allow in default:in");
  t.is(judge(shop({ allow: ["back/job -> web:80"] }), job, web, "80"), "allow out back/job -> web:80");
  t.is(judge(shop({ allow: ["back/job -> web:80"] }), job, web, "81"), "deny out between-networks");
  t.is(judge(shop({ audit: ["back/job -> web:80"] }), job, web, "80"), "audit out back/job -> web:80");
  t.is(judge(shop({ default: "{ in: allow }" }), job, web, "80"), "deny out between-networks");
});

test("a container's own label opens its own end only", (t) => {
  const mine = container("shop", "web", { "hawser.allow.in": "back/job", "hawser.default.out": "deny" });
  const own = policyOfLabels(mine, identityKey(mine));
  if (own === null) return t.fail("the labels are a policy");
  t.is(judge(own, job, mine, "80"), "deny out between-networks");
  t.is(judge(own, job, mine, "80", { facts: { betweenNetworks: "allow" } }), "allow in hawser.allow.in=back/job");
  t.is(judge(own, mine, api, "80"), "deny out default:out");
  t.is(judge(own, web, api, "80"), "allow in default:in");
  const opened = [own, shop({ allow: ["back/job -> web"] })];
  return t.is(judge(opened, job, mine, "80"), "allow out back/job -> web");
});

test("a container's own audit keeps its own default from closing, never another's", (t) => {
  const mine = container("shop", "web", { "hawser.audit.out": "db, back/job", "hawser.default.out": "deny" });
  const own = policyOfLabels(mine, identityKey(mine));
  if (own === null) return t.fail("the labels are a policy");
  t.is(judge(own, mine, db, "5432"), "audit out hawser.audit.out=db");
  t.is(judge(own, mine, job, "80"), "deny in between-networks");
  const closed = policies("policy: db\nfor: { label: tier=db }\ndefault: { in: deny }");
  return t.is(judge([own, ...closed], mine, db, "5432"), "deny in default:in");
});

test("who comes by a published port meets no wall between networks, but the same rules", (t) => {
  t.is(judge([], job, web, "80", { published: true }), "allow in default:in");
  t.is(judge(shop({ default: "{ in: deny }" }), job, web, "80", { published: true }), "deny in default:in");
  t.is(judge([], job, web, "80", { published: true, facts: { published: "deny" } }), "allow in default:in");
});

test("with icc off a network's containers meet only by a rule, and each still reaches itself", (t) => {
  const off = { facts: { networks: new Map([["shop", { internal: false, icc: false }]]) } };
  t.is(judge([], web, db, "5432", off), "deny out default:icc");
  t.is(judge(shop({ allow: ["web -> db:5432"] }), web, db, "5432", off), "allow out web -> db:5432");
  const itself = { ...end(web), address: end("10.44.0.2").address };
  t.is(judge([], itself, itself, "80", off), "allow in default:in");
  t.is(judge([], "192.0.2.1", web, "80", off), "allow in default:in");
});

test("an internal network is a wall that no rule opens", (t) => {
  const internal = { facts: { networks: new Map([["shop", { internal: true, icc: true }]]) } };
  const open = shop({ allow: ["any -> any"] });
  t.is(judge(open, web, "9.9.9.9", "443", internal), "deny out internal");
  t.is(judge(open, job, web, "443", internal), "deny in internal");
  t.is(judge(open, web, db, "443", internal), "allow out any -> any");
  t.is(judge(open, "10.44.0.1", web, "443", internal), "allow in any -> any");
});

test("published: deny closes the published ports of a container that no policy covers", (t) => {
  const closed = { facts: { published: "deny" as const }, published: true };
  t.is(judge([], "9.9.9.9", web, "443", closed), "deny in default:published");
  t.is(judge(shop({}), "9.9.9.9", web, "443", closed), "allow in default:in");
  t.is(judge(policies("policy: db\nfor: { label: tier=db }\nallow: ['world -> label(tier=front):443']"), "9.9.9.9", web, "443", closed), "allow in world -> label(tier=front):443");
  t.is(judge([], "192.0.2.1", web, "443", { facts: closed.facts }), "allow in default:in");
});

test("a published port's client is judged by its own address and the container's port", (t) => {
  const office = shop({ default: "{ in: deny }", allow: ["203.0.113.0/24 -> web:80"] });
  t.is(judge(office, "203.0.113.4", web, "80", { published: true }), "allow in 203.0.113.0/24 -> web:80");
  t.is(judge(office, "198.51.100.4", web, "80", { published: true }), "deny in default:in");
});

test("R3 a container whose labels are not known is closed, or as if no policy covered it", (t) => {
  const unknown = { ...end(container("shop", "?")), unidentified: true };
  const open = shop({ default: "{ in: deny, out: deny }", allow: ["any -> any"] });
  t.is(judge(open, unknown, web, "80"), "deny out not-identified");
  t.is(judge(open, "192.0.2.1", unknown, "80"), "deny in not-identified");
  const allowed = { facts: { untilIdentified: "allow" as const } };
  t.is(judge(shop({ default: "{ out: deny }" }), unknown, "9.9.9.9", "80", allowed), "allow out default:out");
  t.is(judge(open, unknown, web, "80", allowed), "allow out any -> any");
  t.is(judge(shop({ default: "{ in: deny }", allow: ["self -> web", "net(shop) -> web"] }), unknown, web, "80", allowed), "deny in default:in");
  t.is(judge(shop({ deny: ["any -> web"] }), unknown, web, "80", allowed), "deny out any -> web");
  t.is(judge([], unknown, "169.254.169.254", "80", allowed), "deny out default:metadata");
  t.is(judge([], unknown, job, "80", allowed), "deny out between-networks");
});

test("R52 metadata and host services are refused unless a rule allows them", (t) => {
  t.is(judge([], web, "169.254.169.254", "80"), "deny out default:metadata");
  t.is(judge([], web, "fd00:ec2::254"), "deny out default:metadata");
  t.is(judge([], web, "192.0.2.1", "2375"), "deny out default:host-services");
  t.is(judge([], web, "10.44.0.1", "2376"), "deny out default:host-services");
  t.is(judge([], web, "10.44.0.1", "2375/udp"), "allow out default:out");
  t.is(judge([], web, "9.9.9.9", "2375"), "allow out default:out");
  t.is(judge(shop({ default: "{ out: allow }" }), web, "169.254.169.254", "80"), "deny out default:metadata");
  const opened = shop({ allow: ["web -> 169.254.169.254:80", "web -> host:2375"], audit: ["api -> host"] });
  t.is(judge(opened, web, "169.254.169.254", "80"), "allow out web -> 169.254.169.254:80");
  t.is(judge(opened, web, "192.0.2.1", "2375"), "allow out web -> host:2375");
  t.is(judge(opened, api, "192.0.2.1", "2375"), "audit out api -> host");
});

test("R49 DHCP, mDNS, LLMNR and HSRP between containers are refused unless a rule allows them", (t) => {
  for (const port of [67, 68, 546, 547, 1985, 5353, 5355]) t.is(judge([], web, db, `${port}/udp`), "deny out default:local-services");
  t.is(judge([], web, db, "5353"), "allow in default:in");
  t.is(judge([], web, "9.9.9.9", "5353/udp"), "allow out default:out");
  t.is(judge(shop({ allow: ["web -> db:5353/udp"] }), web, db, "5353/udp"), "allow out web -> db:5353/udp");
});

test("entities: host, nodes, lan, world, internet, any and self each mean what the contract says", (t) => {
  const who = { host: "192.0.2.1", node: "192.0.2.7", lan: "192.0.2.9", private: "10.1.2.3", public: "9.9.9.9", container: db };
  const matching = (entity: string): readonly string[] => {
    const policy = shop({ allow: [`${entity} -> web`] });
    return Object.entries(who).filter(([, from]) => judge(policy, from, web, "80") === `allow ${from === db ? "out" : "in"} ${entity} -> web`).map(([name]) => name);
  };
  t.deepEqual(matching("any"), ["host", "node", "lan", "private", "public", "container"]);
  t.deepEqual(matching("host"), ["host"]);
  t.deepEqual(matching("nodes"), ["node"]);
  t.deepEqual(matching("lan"), ["lan"]);
  t.deepEqual(matching("world"), ["lan", "private", "public"]);
  t.deepEqual(matching("internet"), ["public"]);
  t.deepEqual(matching("self"), ["container"]);
  t.deepEqual(matching("0.0.0.0/0"), ["host", "node", "lan", "private", "public"]);
});

test("self is whom the policy is for, and nobody else", (t) => {
  const own = policies("policy: db\nfor: { label: tier=db }\ndefault: { in: deny }\nallow: ['self -> self']");
  t.is(judge(own, db, container("shop", "db2", { tier: "db" }), "1"), "allow out self -> self");
  t.is(judge(own, web, db, "1"), "deny in default:in");
});

test("an address is in a range when it is in its include and in none of its own excepts", (t) => {
  const policy = shop({ allow: ["10.0.0.0/8 except 10.9.0.0/16 and 10.10.0.0/16, 10.9.1.0/24 -> web", "2a00::/16 except 2a00:1::/32 -> web"] });
  const from = (address: string): boolean => judge(policy, address, web, "80", { published: true }).startsWith("allow in 10.") || judge(policy, address, web, "80").startsWith("allow in 2a00");
  t.deepEqual(["10.1.0.1", "10.9.0.1", "10.10.255.255", "10.9.1.7", "11.0.0.1", "2a00:2::1", "2a00:1::1"].filter(from), ["10.1.0.1", "10.9.1.7", "2a00:2::1"]);
});

test("a name means a service or a container of the policy's own network, and with a network that network's", (t) => {
  const twin = container("back", "web");
  const named = { ...container("shop", "x"), service: null, name: "web" };
  const policy = shop({ deny: ["web -> any"] });
  t.is(judge(policy, web, db, "1"), "deny out web -> any");
  t.is(judge(policy, named, db, "1"), "deny out web -> any");
  t.is(judge(policy, twin, job, "1"), "allow in default:in");
  t.is(judge(shop({ deny: ["back/web -> any"] }), twin, job, "1"), "deny out back/web -> any");
  t.is(judge(policies("policy: p\nfor: { project: store }\ndeny: ['web -> any']"), container("x", "web", {}, "store"), db, "1"), "deny out web -> any");
  t.is(judge(policies("policy: p\nfor: { project: store }\ndeny: ['web -> any']"), web, db, "1"), "allow in default:in");
  t.is(judge(policies("policy: p\nfor: all\ndeny: ['web -> any']"), twin, job, "1"), "deny out web -> any");
});

test("R6 a name that nothing carries matches nothing, never everything", (t) => {
  const policy = shop({ default: "{ in: deny }", allow: ["ghost -> web", "net(ghosts) -> web", "label(ghost=yes) -> web"] });
  t.is(judge(policy, api, web, "80"), "deny in default:in");
  t.is(judge(policy, "9.9.9.9", web, "80", { published: true }), "deny in default:in");
});

test("labels match when every one is there with its value; net() means a whole network", (t) => {
  const policy = shop({ deny: ["label(tier=db, rack=1) -> any", "net(back) -> any"] });
  t.is(judge(policy, db, web, "1"), "allow in default:in");
  t.is(judge(policy, container("shop", "db", { tier: "db", rack: "1" }), web, "1"), "deny out label(tier=db, rack=1) -> any");
  t.is(judge(policy, job, "9.9.9.9", "1"), "deny out net(back) -> any");
});

test("a CIDR never means a container, whatever its address", (t) => {
  const policy = shop({ deny: ["0.0.0.0/0 -> db", "web -> ::/0", "web -> 0.0.0.0/0"] });
  t.is(judge(policy, { ...end(web), address: end("10.44.0.2").address }, { ...end(db), address: end("10.44.0.3").address }, "1"), "allow in default:in");
});

test("ports: a protocol of its own each, ranges with both ends, none means all; icmp means both families", (t) => {
  const policy = shop({ default: "{ in: deny }", allow: ["any -> web:53/udp", "any -> web:8000-8100", "any -> api icmp(echo)", "any -> db"] });
  const opened = (to: typeof web, ports: readonly string[]): readonly string[] => ports.filter((port) => judge(policy, job, to, port, { facts: { betweenNetworks: "allow" } }).startsWith("allow"));
  t.deepEqual(opened(web, ["53/udp", "53", "7999", "8000", "8100", "8101", "icmp 8/0", ""]), ["53/udp", "8000", "8100"]);
  t.deepEqual(opened(api, ["icmp 8/0", "icmpv6 128/0", "icmp 0/0", "icmp 3/4", "8"]), ["icmp 8/0", "icmpv6 128/0"]);
  t.deepEqual(opened(db, ["1", "1/udp", "1/sctp", "icmp 3/4", ""]), ["1", "1/udp", "1/sctp", "icmp 3/4", ""]);
});

test("guests have no networks of ours: neither between-networks nor icc is about them", (t) => {
  const guest = { ...end(job), guest: true };
  t.is(judge([], guest, web, "80"), "allow in default:in");
  t.is(judge(shop({ default: "{ in: deny }" }), guest, web, "80"), "deny in default:in");
  t.is(judge(shop({ deny: ["back/job -> web"] }), guest, web, "80"), "deny out back/job -> web");
});

test("R49 a group is closed until a rule speaks of it", (t) => {
  t.is(judge([], web, "224.0.0.251", "5353/udp"), "deny out default:multicast");
  t.is(judge([], web, "255.255.255.255", "67/udp"), "deny out default:multicast");
  const opened = shop({ allow: ["web -> 224.0.0.251:5353/udp"] });
  t.is(judge(opened, web, "224.0.0.251", "5353/udp"), "allow out web -> 224.0.0.251:5353/udp");
  t.is(judge(opened, api, "224.0.0.251", "5353/udp"), "deny out default:multicast");
});
