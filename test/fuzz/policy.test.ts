// Whatever a policy file or label holds: it is read, or refused with places that exist, and neither takes long.
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import test from "ava";
import fc from "fast-check";
import { policyOfLabels } from "../../src/policy/own-labels.ts";
import { PolicyProblems } from "../../src/policy/problems.ts";
import { readPolicies } from "../../src/policy/read.ts";
import type { Peer, Policy } from "../../src/policy/types.ts";
import { printPeer, printRule } from "../unit/policy/language.ts";
import { fuzzParameters, mutated, seedsOf } from "./mutate.ts";

const seeds = seedsOf("policy");
const tokens = [
  " -> ", "->", ",", ":", "@", "[", "]", "(", ")", "{", "}", "- ", "\n", "\n  ", "\t", "#", "&a ", "*a", "<<: *a", "!!map", "? ", "|\n", ">\n", "'", '"', "---\n", "...\n", "%YAML 1.2\n",
  "except", " and ", "label(", "net(", "icmp(", "icmp", "http(GET /)", "tls", "/udp", "0", "65536", "::", "::/0", "0.0.0.0/0", "any", "world", "policy: x\n", "for: all\n", "allow:\n",
  "services:\n", "x-hawser:\n", "__proto__", "constructor", "toString",
];

/** Reads, or finds problems at places that the text has. Everything else is thrown on. */
function readsOrRefuses(text: string): readonly Policy[] | null {
  const file = "dir/fuzz.yaml";
  const start = performance.now();
  const policies = outcome(() => readPolicies([{ file, text }]), (problems) => {
    const lines = text.split(/\n/);
    if (problems.problems.length === 0) throw new Error("refused without a problem");
    for (const { place, message } of problems.problems) {
      const line = lines[place.line - 1];
      if (place.file !== file || line === undefined || place.column < 1 || place.column > line.length + 1) throw new Error(`no such place: ${JSON.stringify(place)} of ${message}`);
      if (message === "" || message.length > 2000) throw new Error(`a message of ${message.length} characters`);
    }
  });
  const took = performance.now() - start;
  if (took > 10_000) throw new Error(`took ${took} ms`);
  return policies;
}

function outcome<T>(work: () => T, refused: (problems: PolicyProblems) => void): T | null {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof PolicyProblems)) throw error;
    refused(error);
    return null;
  }
}

test("every seed is read or refused, and the good ones are read", (t) => {
  t.deepEqual(seeds.map(({ file, text }) => [file, readsOrRefuses(text)?.length ?? null]), [
    ["broken.yaml", null], ["compose.yaml", null], ["forms.yaml", 1], ["several.yaml", 2], ["shop.yaml", 1],
  ]);
});

test("R90: damaged policy files are read or refused at places that exist", (t) => {
  const counts = { read: 0, refused: 0 };
  fc.assert(fc.property(mutated(seeds, tokens), (text) => {
    counts[readsOrRefuses(text) === null ? "refused" : "read"]++;
  }), fuzzParameters(2000));
  t.log(`${counts.read} read, ${counts.refused} refused`);
  t.true(counts.refused > 0);
});

test("random text is refused, never misread", (t) => {
  let refused = 0;
  fc.assert(fc.property(fc.oneof(fc.string({ unit: "binary", maxLength: 200 }), fc.array(fc.constantFrom(...tokens), { maxLength: 40 }).map((parts) => parts.join(""))), (text) => {
    if (readsOrRefuses(text) === null) refused++;
  }), fuzzParameters(2000));
  t.true(refused > 0);
});

test("R90: a container's labels make a policy or are refused, whatever they hold", (t) => {
  const sentences = seeds.flatMap(({ text }) => text.split("\n")).map((line) => ({ file: "", text: line.trim() }));
  const value = fc.oneof(mutated(sentences, tokens), fc.array(fc.constantFrom("web", "10.0.0.0/8", ":80", ", ", "443", "[::1]", " icmp(echo)", "@x", "deny"), { maxLength: 8 }).map((parts) => parts.join("")));
  const key = fc.constantFrom("hawser.default.in", "hawser.default.out", "hawser.allow.in", "hawser.allow.out", "hawser.deny.in", "hawser.audit.out", "hawser.x", "tier");
  const counts = { policy: 0, refused: 0 };
  fc.assert(fc.property(fc.dictionary(key, value, { maxKeys: 4 }), (own) => {
    const policy = outcome(() => policyOfLabels({ network: "n", project: null, service: null, name: null, own }, "key"), ({ problems }) => {
      for (const { place } of problems) if (!place.file.startsWith("label hawser.") || place.line !== 1) throw new Error(JSON.stringify(place));
      counts.refused++;
    });
    for (const { ends, from, to } of policy?.rules ?? []) {
      if (ends === "both" || ![...from, ...to].some((peer) => peer.kind === "entity" && peer.entity === "self")) throw new Error("a label speaks for others");
      counts.policy++;
    }
  }), fuzzParameters(2000));
  t.true(counts.policy > 0 && counts.refused > 0);
});

// Sentences made from their meaning: what was written is what is understood.
/** The ending keeps a name from being an entity, or nearly one. */
const name = fc.stringMatching(/^[a-z][a-z0-9_-]{0,8}$/).map((word) => `${word}_0x`);
const octet = fc.nat(255);
const v4 = fc.tuple(octet, octet, fc.integer({ min: 9, max: 16 })).map(([a, b, length]) => `${a}.${length === 16 ? b : length > 8 ? b & (0xff << (16 - length)) : 0}.0.0/${length}`);
const inside = (cidr: string, n: number): string => `${cidr.split(".").slice(0, 2).join(".")}.${n}.0/24`;
const place = { file: "", line: 0, column: 0 };

type Written = readonly [text: string, bracketed: string, peer: Peer];
const same = (text: string, peer: Peer): Written => [text, text, peer];
const peer: fc.Arbitrary<Written> = fc.oneof(
  name.map((word) => same(word, { kind: "name", network: null, name: word, place })),
  fc.tuple(name, name).map(([network, word]) => same(`${network}/${word}`, { kind: "name", network, name: word, place })),
  name.map((word) => same(`net(${word})`, { kind: "network", name: word, place })),
  fc.constantFrom("any" as const, "self" as const, "host" as const, "nodes" as const, "lan" as const, "world" as const, "internet" as const).map((entity) => same(entity, { kind: "entity", entity, place })),
  fc.uniqueArray(fc.tuple(name, fc.option(name)), { minLength: 1, maxLength: 3, selector: ([key]) => key }).map((labels) => same(
    `label(${labels.map(([key, value]) => (value === null ? key : `${key}=${value}`)).join(", ")})`, { kind: "labels", labels: Object.fromEntries(labels), place },
  )),
  fc.tuple(v4, fc.array(octet, { maxLength: 3 })).map(([cidr, parts]) => same(
    [cidr, ...parts.map((n, i) => `${i === 0 ? "except" : "and"} ${inside(cidr, n)}`)].join(" "),
    { kind: "addresses", ranges: [{ include: cidr, except: parts.map((n) => inside(cidr, n)) }] as unknown as Extract<Peer, { kind: "addresses" }>["ranges"], set: null, place },
  )),
  fc.integer({ min: 1, max: 0xffff }).map((n): Written => {
    const address = `2001:db8:${n.toString(16)}::/48`;
    return [address, `[${address}]`, { kind: "addresses", ranges: [{ include: address, except: [] }] as unknown as Extract<Peer, { kind: "addresses" }>["ranges"], set: null, place }];
  }),
);
const range = fc.tuple(fc.integer({ min: 1, max: 65535 }), fc.nat(500), fc.constantFrom("", "/tcp", "/udp", "/sctp")).map(([first, more, protocol]) => {
  const last = Math.min(65535, first + more);
  return { text: `${first}${last === first ? "" : `-${last}`}${protocol}`, port: { protocol: (protocol.slice(1) || "tcp") as "tcp", first, last } };
});
const sides = fc.tuple(fc.array(peer, { minLength: 1, maxLength: 3 }), fc.array(fc.tuple(peer, fc.array(range, { minLength: 1, maxLength: 3 })), { minLength: 1, maxLength: 3 }), fc.constantFrom(",", ", ", " , "));

test("what is written is what is understood, for sentences made of every kind of peer", (t) => {
  fc.assert(fc.property(sides, ([from, to, comma]) => {
    const sentence = `${from.map(([text]) => text).join(comma)} -> ${to.map(([[, text], ports]) => `${text}:${ports.map((one) => one.text).join(comma)}`).join(comma)}`;
    const rules = readPolicies([{ file: "a.yaml", text: `policy: a\nfor: all\nallow: [${JSON.stringify(sentence)}]\n` }])[0]?.rules ?? [];
    const understood = rules.flatMap((rule) => rule.to.map((one) => printRule({ ...rule, to: [one] }))).sort();
    const meant = to.map(([[, , target], ports]) => `${from.map(([, , one]) => printPeer(one)).join(" | ")} -> ${printPeer(target)} ${ports.map(({ port }) => `${port.protocol}:${port.first}${port.first === port.last ? "" : `-${port.last}`}`).join(",")}`).sort();
    t.deepEqual(understood, meant, sentence);
  }), fuzzParameters(300));
});

test("R90: nothing of what was read stays in memory", (t) => {
  setFlagsFromString("--expose_gc");
  const collect = runInNewContext("gc") as () => void;
  const heap = (): number => {
    collect();
    return process.memoryUsage().heapUsed / 1024 / 1024;
  };
  const arbitrary = mutated(seeds, tokens);
  const read = (): void => fc.sample(arbitrary, 100).forEach((text) => void readsOrRefuses(text));
  for (let i = 0; i < 5; i++) read();
  const before = heap();
  for (let i = 0; i < 15; i++) read();
  const grown = heap() - before;
  t.true(grown < 8, `${grown} MiB more after 1500 files`);
});
