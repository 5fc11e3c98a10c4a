// Every mistake in a policy is refused with its place, and with what was most likely meant.
import test from "ava";
import { readPolicies } from "../../../src/policy/read.ts";
import { policyWith, problemsIn, problemsOf } from "./language.ts";

/** Columns count from the sentence's first letter. */
const sentences: readonly (readonly [sentence: string, column: number, message: string])[] = [
  ["web", 1, '"web" is no sentence; one is written FROM -> TO, such as web -> api:8080'],
  ["web => api", 5, '"=>" is no arrow; a sentence is written FROM -> TO'],
  ["a -> b -> c", 11, 'a sentence has one "->"; write two sentences'],
  ["-> api", 1, "a peer is missing here"],
  ["web ->", 7, "a peer is missing here"],
  ["web, -> api", 5, "a peer is missing beside this comma"],
  ["web -> api, , db", 13, "a peer is missing beside this comma"],
  ["a b -> c", 3, '"b" after "a": several peers are separated by commas'],
  ["web -> api 80", 12, '"80" after "api": several peers are separated by commas'],
  ["web -> api:", 12, 'a port is missing after the ":" of "api:"'],
  ["web:80 -> api", 5, '"80": ports belong to the right side of the "->": those are the ports that are opened'],
  ["web icmp -> api", 5, '"icmp" belongs to the end of the sentence'],
  ["web -> 80", 8, '"80" is a port without a peer; ports follow a peer and a ":"'],
  ["web -> api, 80", 13, '"80" is a port without a peer; ports follow a peer and a ":"'],
  ["80 -> api", 1, "80 is a number and no peer: ports follow a peer and a \":\""],
  ["web -> api:8080, db", 18, 'it is not clear which ports of "db" are meant, because others here have some; write them, or two sentences'],
  ["web -> db, api:8080", 8, 'it is not clear which ports of "db" are meant, because others here have some; write them, or two sentences'],
  ["web -> db icmp(echo), api:8080", 11, '"icmp(echo)" stands at the end of a sentence and is for all its peers; write two sentences'],
  ["web -> api:0", 12, "0 is no port; ports are 1 to 65535"],
  ["web -> api:1-70000", 14, "70000 is no port; ports are 1 to 65535"],
  ["web -> api:90-80", 12, "the range 90-80 ends before it begins"],
  ["web -> api:80-", 12, '"80-" is no port: ports are written 80, 8000-8100, 53/udp, icmp or icmp(echo)'],
  ["web -> api:http", 12, '"http" is no port: ports are written 80, 8000-8100, 53/udp, icmp or icmp(echo)'],
  ["web -> api:udp", 12, "every port of a protocol is written 1-65535/udp"],
  ["web -> api:80/upd", 15, '"upd" is no protocol with ports; did you mean udp? There are tcp, udp and sctp'],
  ["web -> api:80/icmp", 15, "icmp has no ports; it is written alone: icmp, or icmp(TYPE/CODE)"],
  ["web -> api:80/quic", 15, '"quic" is no protocol with ports; there are tcp, udp and sctp'],
  ["web -> api icmp(eccho)", 17, '"eccho" is neither a name nor a number of an ICMP message; did you mean echo?'],
  ["web -> api icmp(300)", 17, "300 is no ICMP type and code; both are 0 to 255"],
  ["web -> api icmpv6(timestamp)", 19, "timestamp is no message of ICMPv6"],
  ["web -> api icmp(echo) x", 23, '"x" is not understood behind "icmp(…)"'],
  ["10.0.0.1/8 -> web", 1, '"10.0.0.1/8" has bits set behind its prefix length; the network is 10.0.0.0/8'],
  ["2001:db8::1/32 -> web", 1, '"2001:db8::1/32" has bits set behind its prefix length; the network is 2001:db8::/32'],
  ["10.0.0.0/33 -> web", 1, '"10.0.0.0/33" has a prefix longer than its address'],
  ["10.0.0 -> web", 1, '"10.0.0" is not an IPv4 or IPv6 address'],
  ["10.0.0.256 -> web", 1, '"10.0.0.256" is not an IPv4 or IPv6 address'],
  ["::ffff:10.0.0.1 -> web", 1, '"::ffff:10.0.0.1" is not an IPv4 or IPv6 address'],
  ["web -> 2001:db8::/32:443", 8, "an IPv6 prefix with a port is written in brackets: [2001:db8::/48]:443"],
  ["10.0.0.0/8 but 10.9.0.0/16 -> web", 12, '"but" after "10.0.0.0/8": several peers are separated by commas'],
  ["10.0.0.0/8 except -> web", 12, "an address is missing here: A except B and C"],
  ["10.0.0.0/8 except 10.9.0.0/16 and -> web", 31, "an address is missing here: A except B and C"],
  ["10.0.0.0/8 except 10.9.0.0/16 10.10.0.0/16 -> web", 31, '"10.10.0.0/16" where "and" or the end was expected: A except B and C'],
  ["10.9.0.0/16 except 10.0.0.0/8 -> web", 20, "10.0.0.0/8 leaves nothing of 10.9.0.0/16"],
  ["10.0.0.0/8 except 2001:db8::/32 -> web", 19, "2001:db8::/32 is not of the family of 10.0.0.0/8, so that it excepts nothing"],
  ["10.0.0.0/8 except web -> api", 19, '"web" is not an IPv4 or IPv6 address'],
  ["net(shop) except web -> api", 11, '"except" follows an address, and "net(shop)" is none; write what is not meant as a deny rule'],
  ["@ofice -> web", 1, 'there is no set "ofice"; did you mean @office?'],
  ["@office except 10.0.0.0/8 -> web", 9, '"except" follows an address, and "@office" is none; write what is not meant as a deny rule'],
  ["label() -> web", 7, '"" is no label; labels are written key=value, or key alone for any value'],
  ["label(a=1, a=2) -> web", 12, 'the label "a" is here twice'],
  ["label(a=1 -> web", 6, '"(" has no ")"'],
  ["label(a=1)) -> web", 11, '")" closes nothing'],
  ['label(a="x) -> web', 9, "this quote is not closed"],
  ['label(a=x"y") -> web', 9, 'quotes stand around the whole value: "xy"'],
  ["labels(a=1) -> web", 1, '"labels(a=1)" is no peer; with parentheses there are label(k=v) and net(NAME)'],
  ["net(a b) -> web", 5, '"a b" is no network\'s name'],
  ["shop/web/x -> api", 1, '"shop/web/x" is no peer: a container on another network is written NETWORK/NAME'],
  ["web! -> api", 1, '"web!" is no peer: write a name, NETWORK/NAME, label(k=v), net(NAME), an address, @SET or an entity such as any or world'],
  ["web -> api.example.com:443", 8, '"api.example.com" is a domain name, and this build has no rules for those; name addresses, or a container as NETWORK/NAME'],
  ["web -> *.example.com", 8, '"*.example.com" is a domain name, and this build has no rules for those; name addresses, or a container as NETWORK/NAME'],
  ["wrold -> web", 1, '"wrold": did you mean the entity "world"? A container of that name is written NETWORK/NAME'],
  ["World -> web", 1, '"World": did you mean the entity "world"? A container of that name is written NETWORK/NAME'],
  ["web -> interet", 8, '"interet": did you mean the entity "internet"? A container of that name is written NETWORK/NAME'],
  ["hots -> web", 1, '"hots": did you mean the entity "host"? A container of that name is written NETWORK/NAME'],
  ["all -> web", 1, '"all": did you mean the entity "any"? A container of that name is written NETWORK/NAME'],
  ["web -> api:80 http(GET /v1/**)", 15, "this build has no application rules such as http(…) yet; it would not be enforced, so it is refused"],
  ["web -> api:80 grpc(pkg.Service/Method)", 15, "this build has no application rules such as grpc(…) yet; it would not be enforced, so it is refused"],
  ["web -> api:80 kafka(produce TOPIC)", 15, "this build has no application rules such as kafka(…) yet; it would not be enforced, so it is refused"],
  ["web -> api:80 tls", 15, "this build has no application rules such as tls yet; it would not be enforced, so it is refused"],
  ["web -> api:80 limit(50mbit)", 15, "this build has no limit(…) yet; it would not be enforced, so it is refused"],
];

for (const [sentence, column, message] of sentences) {
  test(`refused with its place: ${sentence}`, (t) => {
    // In single quotes, so that columns are the text's own.
    t.deepEqual(problemsOf(policyWith([`  - '${sentence}'`], "deny")), [`5:${5 + column}: ${message}`]);
  });
}

const names = ["node", "hosts", "lab", "intra", "words", "anyx", "modes", "web"];
test("a container may have a name that only resembles an entity", (t) => {
  for (const name of names) t.notThrows(() => readPolicies([{ file: "a.yaml", text: policyWith([`  - ${name} -> api`]) }]), name);
});

const documents: readonly (readonly [title: string, text: string, ...problems: string[]])[] = [
  ["an unknown key, with the nearest", "policy: a\nfor: all\nalow: [a -> b]\n", '3:1: "alow" is no key of a policy; did you mean "allow"? The keys are policy, for, default, sets, allow, deny, audit, tests'],
  ["a doubled key", "policy: a\nfor: all\nallow: [a -> b]\nallow: []\n", '4:1: the key "allow" is here twice'],
  ["no name", "for: all\nallow: [a -> b]\n", "1:1: a policy needs a name: policy: NAME. Is this a policy file?"],
  ["a name that is none", "policy: a b\nfor: all\nallow: [a -> b]\n", '1:9: "a b" is no name of a policy: 1 to 63 letters, digits, dots, dashes or underscores'],
  ["no scope", "policy: a\nallow: [a -> b]\n", '1:1: a policy needs "for": all, { network: NAME }, { project: NAME } or { label: "KEY=VALUE" }'],
  ["a wrong scope", "policy: a\nfor: shop\nallow: [a -> b]\n", '2:6: "for" is "shop", but must be all, { network: NAME }, { project: NAME } or { label: "KEY=VALUE" }'],
  ["a scope's wrong key", "policy: a\nfor: { netwrk: shop }\nallow: [a -> b]\n", '2:8: "netwrk" is no key of "for"; did you mean "network"? It must be all, { network: NAME }, { project: NAME } or { label: "KEY=VALUE" }'],
  ["two scopes", "policy: a\nfor: { network: shop, project: x }\nallow: [a -> b]\n", '2:6: "for" must have one key, and has 2'],
  ["a wrong default", "policy: a\nfor: all\ndefault: { in: drop, ou: deny }\n", '3:16: "in" is "drop", but must be allow or deny; left out: what Docker does', '3:22: "ou" is no key of "default"; did you mean "out"? The keys are in, out'],
  ["rules that are no list", "policy: a\nfor: all\nallow: a -> b\n", '3:8: "allow" must be a list, and is "a -> b"'],
  ["a rule that is missing", "policy: a\nfor: all\nallow:\n  -\n  - a -> b\n", "4:4: a rule is missing here; was the file cut off?"],
  ["a space before the port", "policy: a\nfor: all\nallow:\n  - a -> b: 80\n", '4:5: YAML takes this for a map, because a space follows the ":"; write the port right behind it, or the sentence in quotes'],
  ["a set without quotes", "policy: a\nfor: all\nallow:\n  - @office -> b\n", '4:5: a text that begins with @ needs quotes around it in YAML: "@…"'],
  ["a star without quotes", "policy: a\nfor: all\nallow:\n  - *a -> b\n", "4:8: a text that begins with * needs quotes around it in YAML: Unexpected scalar at node end"],
  ["an alias of nothing", "policy: a\nfor: all\nallow: *rules\n", "3:8: *rules names no anchor above it; a text that begins with * needs quotes around it"],
  ["a set's wrong entries", "policy: a\nfor: all\nsets:\n  x: [10.0.0.1/8, web]\n  y: '@x'\n  z:\nallow: ['@x -> b']\n",
    '4:7: "10.0.0.1/8" has bits set behind its prefix length; the network is 10.0.0.0/8', '4:19: "web" is not an IPv4 or IPv6 address', "5:7: a set holds addresses, not other sets",
    '6:3: the set "z" has no value; was the file cut off? An empty set is written []'],
  ["a long form's unknown key", "policy: a\nfor: all\nallow: [{ from: a, too: b }]\n", '3:20: "too" is no key of a rule; did you mean "to"? The keys are from, to, ports'],
  ["a long form without its other side", "policy: a\nfor: all\nallow: [{ from: a }]\n", '3:9: a rule in the long form needs "to"'],
  ["a long form's empty lists", "policy: a\nfor: all\nallow: [{ from: [], to: b, ports: [] }]\n", '3:17: "from" is empty: it would match nothing; for everything write any', '3:35: "ports" is empty; for every port leave it out'],
  ["a long form's peer of two kinds", "policy: a\nfor: all\nallow: [{ from: { name: a, set: b }, to: b }]\n", "3:17: a peer is one of label, cidr (with except), name (with network), network, set or entity; this has name and set"],
  ["a long form's unknown entity", "policy: a\nfor: all\nallow: [{ from: { entity: wold }, to: b }]\n", '3:27: "wold" is no entity; did you mean world? There are any, self, host, nodes, lan, world, internet'],
  ["a long form's ports in the wrong place", "policy: a\nfor: all\nallow: [{ from: a, to: 'b:80' }]\n", '3:27: "80": ports belong to the right side of the "->": those are the ports that are opened'],
  ["a long form's application rule", "policy: a\nfor: all\nallow: [{ from: a, to: b, http: GET }]\n", "3:27: this build has no application rules such as http(…) yet; it would not be enforced, so it is refused"],
  ["a wrong test", "policy: a\nfor: all\ntests: [{ from: a, to: b, expect: pass }, { from: a }]\n", '3:35: "expect" is "pass", but must be allow, deny or audit', '3:43: a test needs "to": { from: web, to: "db:5432", expect: allow }', '3:43: a test needs "expect": { from: web, to: "db:5432", expect: allow }'],
  ["a list where a policy belongs", "- a -> b\n", "1:1: a policy must be a map of keys, and is a list"],
  ["several problems, in their order", "policy: a\nfor: all\ndeny: [x]\nallow: [y]\n", '3:8: "x" is no sentence; one is written FROM -> TO, such as web -> api:8080', '4:9: "y" is no sentence; one is written FROM -> TO, such as web -> api:8080'],
];

for (const [title, text, ...problems] of documents) {
  test(`refused with its place: ${title}`, (t) => t.deepEqual(problemsOf(text), problems));
}

test("the message has one line for each problem, file:line:column: message", (t) => {
  const error = t.throws(() => readPolicies([
    { file: "a.yaml", text: "policy: a\nfor: all\nallow: [x]\n" },
    { file: "b.yaml", text: "policy: b\nfor: none\nallow: [a -> b]\n" },
  ]));
  t.like(error, { code: "BAD_POLICY", name: "PolicyProblems" });
  t.is(error.message, [
    'a.yaml:3:9: "x" is no sentence; one is written FROM -> TO, such as web -> api:8080',
    'b.yaml:2:6: "for" is "none", but must be all, { network: NAME }, { project: NAME } or { label: "KEY=VALUE" }',
  ].join("\n"));
});

test("a message with thousands of problems says fifty and how many more", (t) => {
  const text = `policy: a\nfor: all\nallow:\n${"  - x\n".repeat(5000)}`;
  const error = t.throws(() => readPolicies([{ file: "a.yaml", text }]));
  t.is(error.message.split("\n").length, 51);
  t.regex(error.message, /\nand 4950 more problems$/);
});

test("two policies of one name are refused with both places", (t) => {
  const text = "policy: a\nfor: all\nallow: [a -> b]\n";
  t.deepEqual(problemsIn(() => readPolicies([{ file: "1.yaml", text }, { file: "2.yaml", text }])), ["2.yaml:1:9: there is another policy a at 1.yaml:1:9; a policy's name is unique"]);
});

const damaged: readonly (readonly [title: string, text: string, problem: RegExp])[] = [
  ["an empty file", "", /^1:1: the file holds no policy: it is empty, or has comments alone$/],
  ["a file of comments", "# shop\n---\n# more\n", /^1:1: the file holds no policy: it is empty/],
  ["a file of zeros", "policy: a\n\0\0\0", /^1:1: the file holds zero bytes: it is no text, or was cut off when the disk was full$/],
  ["a file cut off in a map", "policy: a\nfor: {netw", /^2:11: the file ends too early; it may have been cut off: /],
  ["a file cut off in a quote", "policy: a\nfor: all\nallow:\n  - \"a -> b", /^4:12: the file ends too early; it may have been cut off: /],
  ["a file cut off behind a key", "policy: a\nfor: all\nallow:", /^3:1: "allow" has no value; was the file cut off\? Write one, or leave the key out$/],
  ["a file cut off in a key", "policy: a\nfor: all\nallow", /^3:1: /],
  ["a file cut off before its rules", "policy: a\nfor: all\n", /^1:1: the policy says nothing: .* was the file cut off\?$/],
  ["a file cut off in a sentence", "policy: a\nfor: all\nallow:\n  - a -> b\n  - a -", /^5:5: "a -" is no sentence/],
  ["a file cut off behind a colon", "policy: a\nfor: all\nallow: ['a -> b:']", /^3:17: a port is missing after the ":" of "b:"$/],
];

for (const [title, text, expected] of damaged) {
  test(`R7: ${title} is an error, and never a policy that allows nothing or everything`, (t) => t.regex(problemsOf(text)[0] ?? "", expected));
}
