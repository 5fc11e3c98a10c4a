// Every form of a sentence, and what it means.
import test from "ava";
import { readPolicies } from "../../../src/policy/read.ts";
import { policyWith, printRule, understood } from "./language.ts";

const forms: readonly (readonly [title: string, sentence: string, ...rules: string[]])[] = [
  ["one sentence lets A out to B at a port", "web -> api:8080", "name */web -> name */api tcp:8080"],
  ["without ports every port of every protocol is meant", "web -> api", "name */web -> name */api"],
  ["an arrow needs no spaces", "web->api:80", "name */web -> name */api tcp:80"],
  ["names may hold dashes and underscores, and end in one", "web- -> a_b-c:80", "name */web- -> name */a_b-c tcp:80"],
  ["several peers are separated by commas", "web, api -> db, cache", "name */web | name */api -> name */db | name */cache"],
  ["several ports and ranges", "world -> web:80,443,8000-8100", "entity world -> name */web tcp:80,tcp:443,tcp:8000-8100"],
  ["a number after a comma goes on with the ports, with or without a space", "world -> web:80, 443, 8000-8100", "entity world -> name */web tcp:80,tcp:443,tcp:8000-8100"],
  [
    "a peer after a comma has ports of its own: a rule for each", "a, b -> web:80,8000-8100, api:8080",
    "name */a | name */b -> name */web tcp:80,tcp:8000-8100", "name */a | name */b -> name */api tcp:8080",
  ],
  ["targets with the same ports share a rule", "a -> web:80, api:80", "name */a -> name */web | name */api tcp:80"],
  ["each port says its protocol, and tcp when it says none", "a -> dns:53/udp,53,5060/sctp", "name */a -> name */dns udp:53,tcp:53,sctp:5060"],
  ["the protocol stays with its range", "a -> b:8000-8100/udp", "name */a -> name */b udp:8000-8100"],
  ["icmp is ICMP and ICMPv6 alike", "any -> web icmp", "entity any -> name */web icmp:0-65535,icmpv6:0-65535"],
  ["icmp(echo) is the echo request of both families", "any -> web icmp(echo)", "entity any -> name */web icmp:2048-2303,icmpv6:32768-33023"],
  ["numbers in icmp(…) are ICMPv4's type and code", "any -> web icmp(3/4)", "entity any -> name */web icmp:772"],
  ["a type alone is every code of it", "any -> web icmp(3)", "entity any -> name */web icmp:768-1023"],
  ["icmpv6(…) is ICMPv6 alone", "any -> web icmpv6(128/0, echo-reply)", "entity any -> name */web icmpv6:32768,icmpv6:33024-33279"],
  ["too-big is one code of ICMPv4's unreachable and a type of ICMPv6", "any -> web icmp(too-big)", "entity any -> name */web icmp:772,icmpv6:512-767"],
  ["icmp at the end of a sentence is for all its targets", "any -> web, api icmp(echo)", "entity any -> name */web | name */api icmp:2048-2303,icmpv6:32768-33023"],
  ["icmp comes beside ports", "any -> web:80,443 icmp(3/4)", "entity any -> name */web tcp:80,tcp:443,icmp:772"],
  ["icmp may stand among the ports", "any -> web:80,icmp(3/4)", "entity any -> name */web tcp:80,icmp:772"],
  ["icmp may stand behind the colon", "any -> web:icmp(3/4)", "entity any -> name */web icmp:772"],
  ["icmp behind the colon of every kind of peer", "any -> label(a=\"x:y\"):icmp(3/4), [::1]:icmp(3/4)", "entity any -> labels a=x:y | ::1/128 icmp:772"],
  ["NETWORK/NAME is a container elsewhere, and may hold dots", "shop/web -> my.net/db.1:5432", "name shop/web -> name my.net/db.1 tcp:5432"],
  ["label(…) with several labels, and one with any value", "label(tier=db, env) -> label(app=web):80", "labels tier=db&env -> labels app=web tcp:80"],
  ["a label's value in quotes may hold commas and parentheses", 'label(a="x, (y)") -> web:80', "labels a=x, (y) -> name */web tcp:80"],
  ["a label's value may be empty, or hold an equals sign", "label(a=, b=c=d) -> web", "labels a=&b=c=d -> name */web"],
  ["net(…) is a network's containers", "net(shop) -> net(data):5432", "network shop -> network data tcp:5432"],
  ["an address is the prefix of itself", "10.1.2.3 -> web:80", "10.1.2.3/32 -> name */web tcp:80"],
  ["addresses with exceptions", "10.0.0.0/8 except 10.9.0.0/16 and 10.10.0.0/16 -> web:80", "10.0.0.0/8 minus 10.9.0.0/16 minus 10.10.0.0/16 -> name */web tcp:80"],
  ["a port follows the last exception", "web -> 10.0.0.0/8 except 10.9.0.0/16:443", "name */web -> 10.0.0.0/8 minus 10.9.0.0/16 tcp:443"],
  ["IPv6 needs brackets only for a port", "2001:db8::1 -> [2001:db8::2]:443", "2001:db8::1/128 -> 2001:db8::2/128 tcp:443"],
  ["an IPv6 prefix with a port in brackets", "web -> [2001:db8::/32]:443", "name */web -> 2001:db8::/32 tcp:443"],
  ["brackets may hold the exceptions too", "web -> [2001:db8::/32 except 2001:db8:1::/48]:443/udp", "name */web -> 2001:db8::/32 minus 2001:db8:1::/48 udp:443"],
  ["IPv6 is written in its canonical form", "2001:DB8:0:0::0/32 -> web", "2001:db8::/32 -> name */web"],
  ["a set is written out", "@office -> web:80", "set office: 203.0.113.0/24 + 2001:db8::/48 minus 2001:db8:0:bad::/64 -> name */web tcp:80"],
  ["an empty set matches nothing, and is no error", "@none -> web:80", "set none:  -> name */web tcp:80"],
  ["an exception beside its prefix does no harm", "10.0.0.0/8 except 11.0.0.0/8 -> web", "10.0.0.0/8 minus 11.0.0.0/8 -> name */web"],
  ["every port there is", "a -> b:1,65535", "name */a -> name */b tcp:1,tcp:65535"],
  ...["any", "self", "host", "nodes", "lan", "world", "internet"].map((entity) => [`the entity ${entity}`, `${entity} -> ${entity}`, `entity ${entity} -> entity ${entity}`] as const),
];

for (const [title, sentence, ...rules] of forms) {
  test(`${title}: ${sentence}`, (t) => t.deepEqual(understood(sentence), rules));
}

test("the same sentence may stand below allow, deny and audit, with its text and place", (t) => {
  const text = ["policy: shop", "for: all", "allow: [a -> b:1]", "deny:", "  -  a -> b:2  ", "audit:", "  - 'a -> b:3, c:4'", ""].join("\n");
  const rules = readPolicies([{ file: "d/shop.yaml", text }])[0]?.rules.map(({ policy, action, text, place, ends, to }) => [
    policy, action, text, `${place.file}:${place.line}:${place.column}`, ends, to.map((peer) => `${peer.place.line}:${peer.place.column}`).join(),
  ]);
  t.deepEqual(rules, [
    ["shop", "allow", "a -> b:1", "d/shop.yaml:3:9", "both", "3:14"],
    ["shop", "deny", "a -> b:2", "d/shop.yaml:5:6", "both", "5:11"],
    ["shop", "audit", "a -> b:3, c:4", "d/shop.yaml:7:6", "both", "7:11"],
    ["shop", "audit", "a -> b:3, c:4", "d/shop.yaml:7:6", "both", "7:16"],
  ]);
});

const longForms: readonly (readonly [title: string, yaml: string, rule: string, text?: string])[] = [
  [
    "label and cidr with except", '{ from: [{ label: "backup=yes" }], to: [{ cidr: 10.20.0.0/16, except: [10.20.9.0/24] }], ports: [873/tcp] }',
    "labels backup=yes -> 10.20.0.0/16 minus 10.20.9.0/24 tcp:873",
  ],
  ["texts as in a sentence, alone or in a list", '{ from: "web, 10.0.0.0/8 except 10.9.0.0/16", to: [api, shop/db] }', "name */web | 10.0.0.0/8 minus 10.9.0.0/16 -> name */api | name shop/db"],
  ["names, networks, sets and entities", "{ from: [{ name: web }, { name: db.1, network: shop }, { network: data }], to: [{ set: office }, { entity: world }] }",
    "name */web | name shop/db.1 | network data -> set office: 203.0.113.0/24 + 2001:db8::/48 minus 2001:db8:0:bad::/64 | entity world"],
  ["labels as a map", "{ from: { label: { tier: db, env: 5 } }, to: world }", "labels tier=db&env=5 -> entity world"],
  ["ports alone or in a list, icmp among them", "{ from: a, to: b, ports: [80, 53/udp, icmp(3/4)] }", "name */a -> name */b tcp:80,udp:53,icmp:772"],
  ["one text with several ports", '{ from: a, to: b, ports: "80,443" }', "name */a -> name */b tcp:80,tcp:443"],
  ["over several lines, shown on one", "from:\n      - a\n    to: [b]\n    ports:\n      - 80", "name */a -> name */b tcp:80", "{ from: [a], to: [b], ports: [80] }"],
];

for (const [title, yaml, rule, shown] of longForms) {
  test(`the long form: ${title}`, (t) => {
    const rules = readPolicies([{ file: "shop.yaml", text: policyWith([`  - ${yaml}`]) }])[0]?.rules ?? [];
    t.deepEqual(rules.map(printRule), [rule]);
    t.deepEqual(rules.map(({ text }) => text), [shown ?? yaml]);
    t.like(rules[0], { action: "allow", ends: "both", place: { file: "shop.yaml", line: 5, column: 5 } });
  });
}
