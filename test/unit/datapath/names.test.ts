// How names and addresses are written for questions, and which networks are one container's.
import test from "ava";
import { numbersOf, scopesOf, severalOf } from "../../../src/datapath/name-scopes.ts";
import { nameFromWire, nameInWords, nameToWire, reverseName } from "../../../src/datapath/names.ts";
import type { LinkInfo } from "../../../src/kernel/types.ts";
import { parseIp } from "../../../src/std/ip.ts";

test("a name is written as a question has it, in small letters, and read back", (t) => {
  const wire = nameToWire("Db.Shop");
  t.deepEqual([...(wire ?? new Uint8Array()).subarray(0, 9)], [2, 100, 98, 4, 115, 104, 111, 112, 0]);
  t.true(wire?.subarray(9).every((byte) => byte === 0));
  t.is(nameFromWire(wire ?? new Uint8Array()), "db.shop");
  t.is(nameFromWire(new Uint8Array(128)), "");
});

test("names that no question can be about are none: empty parts, parts of more than 63 bytes, more than 128 in all", (t) => {
  for (const text of ["", ".", "db.", ".db", "a..b", "x".repeat(64), `a.${"é".repeat(32)}`, `${"n".repeat(63)}.${"m".repeat(63)}`]) t.is(nameToWire(text), undefined, text);
  for (const text of ["x", "x".repeat(63), `a.${"é".repeat(31)}`, `${"n".repeat(63)}.${"m".repeat(62)}`]) t.is(nameFromWire(nameToWire(text) ?? new Uint8Array()), text);
});

test("an address in reverse is its bytes or hex digits, last first", (t) => {
  t.is(reverseName(parseIp("10.44.0.9")), "9.0.44.10.in-addr.arpa");
  t.is(reverseName(parseIp("fd44::1f")), "f.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.4.4.d.f.ip6.arpa");
});

test("for people an entry has text and no empty places", (t) => {
  t.deepEqual(nameInWords({ network: 3, name: nameToWire("db.shop") }), { network: 3, name: "db.shop" });
  t.deepEqual(nameInWords({ ipv4: ["10.44.0.9", null, null], ipv6: [null] }), { ipv4: ["10.44.0.9"], ipv6: [] });
});

test("cables that lead into one namespace are one container's, and each may ask in the others' networks", (t) => {
  const link = (index: number, name: string, peerNamespace: number | null): LinkInfo => ({ index, name, mac: "", mtu: 1500, up: true, carrier: true, noArp: false, kind: "veth", type: 1, tunnelPort: null, peerNamespace, xdp: null });
  const links = [
    link(1, "hw00000000001", 7), link(2, "hw00000000002", 7), link(3, "hw00000000003", 7), link(4, "hw00000000004", 8), link(5, "hw00000000005", 8),
    link(6, "hw00000000006", null), link(7, "hw00000000007", null), link(8, "veth8", 7), link(9, "hw00000000009", 9), link(10, "hw0000000000a", 7),
  ];
  const networks = new Map([[1, 20], [2, 10], [3, 30], [4, 10], [5, 10], [6, 10], [7, 20], [8, 40], [9, 10]]);
  const several = severalOf(links, networks);
  t.deepEqual([...numbersOf(several)], [[1, 1], [2, 1], [3, 1]]);
  const scopes = scopesOf(several, networks);
  t.deepEqual([...scopes].map(([index, others]) => [index, others.filter((network) => network !== 0)]), [[1, [10, 30]], [2, [20, 30]], [3, [10, 20]]]);
  t.true([...scopes.values()].every((others) => others.length === 16));
});
