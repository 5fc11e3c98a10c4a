// Overlapping rules become one function of protocol and port, in few rows.
import test from "ava";
import fc from "fast-check";
import { flatten, protocolNumbers } from "../../../src/policy/flatten.ts";
import type { FlatRule, FlatRow } from "../../../src/policy/flatten.ts";
import type { PortRange, Protocol, Verdict } from "../../../src/policy/types.ts";
import { ports } from "./compile-given.ts";

const rule = (number: number, verdict: Verdict, ...ranges: readonly (readonly PortRange[])[]): FlatRule => ({ number, verdict, ports: ranges.flat() });
const text = ({ protocol, port, bits, verdict, rule: number }: FlatRow): string => `${protocol ?? "*"} ${port}/${bits} ${verdict} ${number}`;

const cases: readonly (readonly [claim: string, rules: readonly FlatRule[], rows: readonly string[]])[] = [
  ["no rule makes no row", [], []],
  ["a rule without ports is one row for every protocol", [rule(1, "allow")], ["* 0/0 allow 1"]],
  ["one port is one row", [rule(1, "allow", ports("tcp", 443))], ["6 443/16 allow 1"]],
  ["every port of a protocol is one row", [rule(1, "deny", ports("udp", [0, 65535]))], ["17 0/0 deny 1"]],
  ["a range is as few prefixes as can be", [rule(1, "allow", ports("tcp", [8000, 8100]))], ["6 8000/10 allow 1", "6 8064/11 allow 1", "6 8096/14 allow 1", "6 8100/16 allow 1"]],
  ["a stronger rule within a weaker one is one row more", [rule(2, "deny", ports("tcp", 80)), rule(1, "allow", ports("tcp", [0, 65535]))], ["6 0/0 allow 1", "6 80/16 deny 2"]],
  ["a weaker rule shows only where no stronger one speaks", [rule(2, "deny", ports("tcp", [0, 32767])), rule(1, "allow", ports("tcp", 80, 40000))], ["6 0/1 deny 2", "6 40000/16 allow 1"]],
  ["a specific rule stands before one for everything", [rule(3, "deny", ports("tcp", 22)), rule(1, "allow")], ["* 0/0 allow 1", "6 22/16 deny 3"]],
  ["what is weaker than a rule for everything is gone", [rule(3, "deny"), rule(1, "allow", ports("tcp", 22))], ["* 0/0 deny 3"]],
  ["the first of two equal rules names the verdict", [rule(1, "allow", ports("tcp", 80)), rule(2, "allow", ports("tcp", 80))], ["6 80/16 allow 1"]],
  ["protocols do not touch one another", [rule(1, "allow", ports("icmp", [2048, 2303]), ports("icmpv6", [32768, 33023]))], ["1 2048/8 allow 1", "58 32768/8 allow 1"]],
];

for (const [claim, rules, rows] of cases) {
  test(claim, (t) => {
    t.deepEqual(flatten(rules).map(text).toSorted(), rows.toSorted());
  });
}

const protocols: readonly Protocol[] = ["tcp", "udp", "icmp"];
const port = fc.oneof(fc.integer({ min: 0, max: 65535 }), fc.constantFrom(0, 1, 2, 3, 255, 256, 32767, 32768, 65534, 65535));
const range = fc.tuple(fc.constantFrom(...protocols), port, port).map(([protocol, a, b]): PortRange => ({ protocol, first: Math.min(a, b), last: Math.max(a, b) }));
const anyRules = fc.array(fc.oneof({ weight: 6, arbitrary: fc.array(range, { minLength: 1, maxLength: 4 }) }, { weight: 1, arbitrary: fc.constant([]) }), { maxLength: 7 })
  .map((all) => all.map((ranges, i) => rule(i + 1, "allow", ranges)));

test("the longest prefix names the first rule that matches, on both sides of every bound", (t) => {
  fc.assert(
    fc.property(anyRules, fc.array(port), (rules, more) => {
      const rows = flatten(rules);
      const bounds = rules.flatMap(({ ports: ranges }) => ranges.flatMap(({ first, last }) => [first - 1, first, last, last + 1]));
      for (const protocol of [...protocols, "sctp"] as const) {
        for (const at of [...more, ...bounds].filter((one) => one >= 0 && one <= 65535)) {
          const first = rules.find(({ ports: ranges }) => ranges.length === 0 || ranges.some((one) => one.protocol === protocol && one.first <= at && at <= one.last));
          const longest = rows
            .filter((row) => (row.protocol === null || row.protocol === protocolNumbers[protocol]) && at >> (16 - row.bits) === row.port >> (16 - row.bits))
            .toSorted((a, b) => Number(b.protocol !== null) - Number(a.protocol !== null) || b.bits - a.bits)[0];
          t.is(longest?.rule, first?.number);
        }
      }
      t.is(new Set(rows.map(({ protocol, port: low, bits }) => `${protocol} ${low}/${bits}`)).size, rows.length, "no key twice");
      t.true(rows.every(({ port: low, bits }) => low % 2 ** (16 - bits) === 0), "no bits beyond the prefix");
    }),
    { numRuns: 300 },
  );
});
