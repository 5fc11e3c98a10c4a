// Classes of addresses: the longest prefix says what an address is.
import test from "ava";
import fc from "fast-check";
import { addressTable } from "../../../src/policy/address-classes.ts";
import { createClasses } from "../../../src/policy/classes.ts";
import { compile } from "../../../src/policy/compile.ts";
import { comparePrefixes, encloses, readPrefix, textOf } from "../../../src/policy/prefix.ts";
import { createProgram } from "../../../src/policy/program.ts";
import { wellKnown } from "../../../src/policy/selectors.ts";
import type { Peer, PolicyFacts } from "../../../src/policy/types.ts";
import { bitsOf, cidrOf, contains, familyOf, firstOf, formatIp, lengthOf, networkOf } from "../../../src/std/ip.ts";
import type { Cidr, Family } from "../../../src/std/ip.ts";
import { addresses, entity, facts, policy, rule } from "./compile-given.ts";

/** Rows `prefix: what rules see of it`. Peers are numbered from `A`, without the built-in metadata addresses' own. */
function table(peers: readonly Peer[], about: Partial<PolicyFacts> = {}): readonly string[] {
  const program = createProgram([policy({ kind: "all" }, peers.map((peer) => rule("allow", entity("any"), peer)))], []);
  const classes = createClasses();
  const rows = addressTable(program, { ...facts([]), ...about }, classes.ofAddresses);
  const ranges = [...program.addresses.keys()];
  const entities = Object.entries(wellKnown);
  const name = (selector: number): string => entities.find(([, number]) => number === selector)?.[0] ?? String.fromCharCode(65 + ranges.indexOf(selector));
  return [...rows].flatMap(([cidr, number]) => {
    const selectors = classes.all[number - 1]?.selectors ?? [];
    return selectors.includes(wellKnown.metadata) ? [] : [`${cidr}: ${selectors.map(name).join(" ")}`.trim()];
  });
}

test("a group speaks of what it includes, without what it excepts", (t) => {
  t.deepEqual(table([addresses("10.0.0.0/8 except 10.9.0.0/16 and 10.10.0.0/16", "2001:db8::/48 except 2001:db8:0:bad::/64")]), [
    "0.0.0.0/0:", "10.0.0.0/8: A", "10.9.0.0/16:", "10.10.0.0/16:", "::/0:", "2001:db8::/48: A", "2001:db8:0:bad::/64:",
  ]);
});

test("an exception holds for its own range only", (t) => {
  t.deepEqual(table([addresses("10.0.0.0/8 except 10.9.0.0/16", "10.9.1.0/24")]), ["0.0.0.0/0:", "10.0.0.0/8: A", "10.9.0.0/16:", "10.9.1.0/24: A", "::/0:"]);
});

test("an exception as wide as its range leaves nothing", (t) => {
  t.deepEqual(table([addresses("10.0.0.0/8 except 0.0.0.0/0", "192.0.2.0/24 except 192.0.2.0/24")]), ["0.0.0.0/0:", "::/0:"]);
});

test("prefixes that change nothing are left out", (t) => {
  t.deepEqual(table([addresses("10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24"), addresses("10.1.2.0/24")]), ["0.0.0.0/0:", "10.0.0.0/8: A", "10.1.2.0/24: A B", "::/0:"]);
});

test("prefixes with host bits mean their network", (t) => {
  t.deepEqual(table([addresses("10.1.2.3/16", "2001:db8::1/32")]), ["0.0.0.0/0:", "10.1.0.0/16: A", "::/0:", "2001:db8::/32: A"]);
});

test("the host and other nodes are no world, the uplinks' subnets are a part of it", (t) => {
  const about = facts([], { host: ["192.0.2.1", "fd44::1"], nodes: ["192.0.2.7/32"], lan: ["192.0.2.0/24"] });
  t.deepEqual(table([entity("host"), entity("nodes"), entity("world"), entity("lan")], about), [
    "0.0.0.0/0: world", "192.0.2.0/24: lan world", "192.0.2.1/32: host", "192.0.2.7/32: nodes", "::/0: world", "fd44::1/128: host",
  ]);
});

test("a prefix speaks of the host's addresses as of others", (t) => {
  t.deepEqual(table([addresses("192.0.2.0/24"), entity("host")], facts([], { host: ["192.0.2.1"] })), [
    "0.0.0.0/0:", "192.0.2.0/24: A", "192.0.2.1/32: host A", "::/0:",
  ]);
});

test("nothing of the pool is of the world, but for the host's own addresses and a node's; a prefix means it where containers are known by address alone", (t) => {
  const about = facts([], { host: ["10.44.0.1"], nodes: ["10.44.9.9/32"], lan: ["10.0.0.0/8"], pool: ["10.44.0.0/16", "fd44::/48"] });
  const peers = [entity("world"), entity("host"), entity("nodes"), entity("lan"), addresses("10.44.0.0/15")];
  const others = ["0.0.0.0/0: world", "10.0.0.0/8: lan world", "10.44.0.0/15: lan world A"];
  t.deepEqual(table(peers, about), [...others, "10.44.0.0/16: A", "10.44.0.1/32: host A", "10.44.9.9/32: nodes A", "::/0: world", "fd44::/48:"]);
  t.deepEqual(table(peers, { ...about, poolByAddress: false }), [...others, "10.44.0.0/16:", "10.44.0.1/32: host A", "10.44.9.9/32: nodes", "::/0: world", "fd44::/48:"]);
});

test("metadata stays refused where somebody made it a part of the pool", (t) => {
  const about = facts([], { pool: ["169.254.0.0/16"], poolByAddress: false });
  const program = createProgram([], []);
  const classes = createClasses();
  const found = addressTable(program, about, classes.ofAddresses).get("169.254.169.254/32" as Cidr);
  t.deepEqual(classes.all[(found ?? 0) - 1]?.selectors, [wellKnown.metadata]);
});

test("the internet is the world without private and special blocks", (t) => {
  const rows = table([entity("internet")]);
  t.deepEqual(rows.filter((row) => row.endsWith("internet")), ["0.0.0.0/0: internet", "::/0: internet"]);
  for (const block of ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "224.0.0.0/4", "fc00::/7", "fe80::/10", "ff00::/8"]) {
    t.true(rows.includes(`${block}:`), block);
  }
});

test("what no rule names makes no row", (t) => {
  t.deepEqual(table([], facts([], { host: ["192.0.2.1"], nodes: ["192.0.2.7/32"], lan: ["192.0.2.0/24"] })), ["0.0.0.0/0:", "::/0:"]);
});

test("a set of 100000 prefixes has a row for each", (t) => {
  const prefixes = Array.from({ length: 100_000 }, (_, i) => `${1 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}.${(i * 37) & 255}/32`);
  const { prefixes: rows } = compile([policy({ kind: "all" }, [rule("deny", entity("any"), addresses(...prefixes))])], facts([]));
  t.is(rows.size, 100_000 + 4, "two of the metadata addresses, and the two for all");
});

const anyCidr = (family: Family): fc.Arbitrary<Cidr> => fc
  .tuple(fc.bigInt({ min: 0n, max: (1n << BigInt(bitsOf(family))) - 1n }), fc.integer({ min: 0, max: bitsOf(family) }), fc.bigInt({ min: 0n, max: BigInt(bitsOf(family)) }))
  // Shifted, so that there are many zeros in the text, and never IPv4-mapped.
  .map(([value, length, shift]) => cidrOf(formatIp((value >> shift) << shift, family), length));
const oneCidr = fc.oneof(anyCidr(4), anyCidr(6)).filter((cidr) => !cidr.startsWith("::ffff:"));

test("prefixes as numbers are the prefixes as text", (t) => {
  fc.assert(
    fc.property(oneCidr, (cidr) => {
      const { words, length, family } = readPrefix(cidr);
      const bits: readonly number[] = family === 4 ? words.slice(0, 1) : words;
      t.is(bits.reduce<bigint>((value, word) => (value << 32n) | BigInt(word), 0n), firstOf(cidr));
      t.is(length, lengthOf(cidr));
      t.is(textOf(readPrefix(cidr)), networkOf(cidr));
    }),
  );
});

test("prefixes as numbers nest and sort as they should", (t) => {
  const related = oneCidr.chain((cidr) => fc.tuple(fc.constant(cidr), fc.oneof(oneCidr, fc.integer({ min: 0, max: bitsOf(familyOf(cidr)) }).map((length) => networkOf(cidrOf(cidr.split("/")[0] as never, length))))));
  fc.assert(
    fc.property(related, ([a, b]) => {
      const [one, other] = [readPrefix(a), readPrefix(b)];
      t.is(encloses(one, other), contains(a, b));
      t.is(encloses(other, one), contains(b, a));
      if (encloses(one, other) && encloses(other, one)) t.is(comparePrefixes(one, other), 0);
      else if (encloses(one, other)) t.true(comparePrefixes(one, other) < 0);
    }),
  );
});
