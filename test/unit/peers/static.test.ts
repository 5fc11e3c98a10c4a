// The door to peers from the configuration: what is told of them, and what configurations are refused with which sentence.
import test from "ava";
import type { ConfiguredPeer } from "../../../src/peers/door.ts";
import { parseCidr, parseIp } from "../../../src/std/ip.ts";
import { freshPort, node, until } from "./world.ts";

const peers: readonly ConfiguredPeer[] = [
  { name: "a", address: "127.0.2.1", ipv4: "10.44.1.0/24", ipv6: "fd44:0:0:1::/64" },
  { name: "b", address: "127.0.2.2", ipv4: "10.44.2.0/24", ipv6: null },
];

test("two boxes on a shelf know each other's slices and whether they answer", async (t) => {
  const port = freshPort();
  await using a = node({ name: "a", address: "127.0.2.1", port, kind: "static", peers });
  const b = node({ name: "b", address: "127.0.2.2", port, kind: "static", peers });
  await Promise.all([a.start(), b.start()]);
  t.like(a.last(), { kind: "static", ipv4: parseCidr("10.44.1.0/24"), ipv6: parseCidr("fd44:0:0:1::/64") });
  t.deepEqual([...a.last().nodes.values()], [{ name: "b", addresses: [parseIp("127.0.2.2")], ipv4: parseCidr("10.44.2.0/24"), ipv6: null, mtu: 1500, names: [] }]);
  t.is(a.last().endpoints.size + a.last().numbers.size, 0);
  await until(() => a.door.nodes()[1]?.rttMs !== null && b.door.nodes()[1]?.rttMs !== null);
  t.like(a.door.nodes()[0], { name: "a", state: "self", address: "127.0.2.1", ipv4: "10.44.1.0/24" });
  t.like(a.door.nodes()[1], { name: "b", state: "ready", address: "127.0.2.2", ipv4: "10.44.2.0/24", ipv6: "" });
  t.is(a.door.status().state, "ok");
  await b[Symbol.asyncDispose]();
  await until(() => a.door.nodes()[1]?.state === "unreachable");
  t.regex(a.door.status().detail, /1 other node; without an answer: b \(last 20/);
  t.is(a.door.status().state, "degraded");
  t.is(a.last().nodes.size, 1, "a peer that is off keeps what is its own");
});

test("a node alone tells the engine so and has nobody to ask", async (t) => {
  await using a = node({ name: "a", address: "127.0.2.1", port: freshPort(), kind: "alone" });
  await a.start();
  t.is(a.last().kind, "alone");
  t.deepEqual(a.door.nodes().map(({ name, state }) => [name, state]), [["a", "self"]]);
  t.is(a.door.status().state, "off");
});

const first: ConfiguredPeer = { name: "a", address: "127.0.2.1", ipv4: "10.44.1.0/24", ipv6: "fd44:0:0:1::/64" };
const refused: readonly (readonly [string, readonly ConfiguredPeer[], RegExp])[] = [
  ["without this node", [{ ...first, name: "c" }], /^peers: none is called "a", as this node is; name this node among them, with its own slice, or set node\.name .*\(c\)$/],
  ["without a slice of this node's", [{ ...first, ipv4: null }], /^peers\[0\]\.ipv4: this node has no slice; give it a part of pool\.ipv4 \(10\.44\.0\.0\/16\)/],
  ["without any slice", [first, { name: "b", address: "127.0.2.2", ipv4: null, ipv6: null }], /^peers\[1\]: "b" has no slice; give it ipv4/],
  ["with one name twice", [first, { ...first, address: "127.0.2.3", ipv4: "10.44.3.0/24", ipv6: null }], /^peers\[1\]\.name: "a" is the name of peers\[0\], too/],
  ["with one address twice", [first, { ...first, name: "b", ipv4: "10.44.3.0/24", ipv6: null }], /^peers\[1\]\.address: 127\.0\.2\.1 is the address of peers\[0\] \(a\), too/],
  ["with slices that overlap", [first, { name: "b", address: "127.0.2.2", ipv4: "10.44.0.0/22", ipv6: null }], /^peers\[1\]\.ipv4: the slice 10\.44\.0\.0\/22 of b overlaps 10\.44\.1\.0\/24 of peers\[0\] \(a\); give every node a part of pool\.ipv4/],
  ["with a slice outside of the pool", [first, { name: "b", address: "127.0.2.2", ipv4: "10.45.1.0/24", ipv6: null }], /^peers\[1\]\.ipv4: 10\.45\.1\.0\/24 is not within pool\.ipv4 \(10\.44\.0\.0\/16\)/],
  ["with a slice that names a host", [{ ...first, ipv4: "10.44.1.7/24" }], /^peers\[0\]\.ipv4: 10\.44\.1\.7\/24 names a host; write 10\.44\.1\.0\/24/],
  ["with a slice of the other family", [{ ...first, ipv4: "fd44::/64" }], /^peers\[0\]\.ipv4: fd44::\/64 is no IPv4 prefix/],
  ["with an address of the pool", [{ ...first, address: "10.44.1.1" }], /^peers\[0\]\.address: 10\.44\.1\.1 is of the pool/],
  ["with what is no prefix", [{ ...first, ipv4: "a lot" }], /^peers\[0\]\.ipv4: prefix: "a lot" is not an address with a prefix length/],
];

for (const [what, configured, sentence] of refused) {
  test(`peers ${what} are refused with the key and the mend`, (t) => {
    t.throws(() => node({ name: "a", address: "127.0.2.1", port: 1, kind: "static", peers: configured }), { code: "BAD_CONFIG", message: sentence });
  });
}
