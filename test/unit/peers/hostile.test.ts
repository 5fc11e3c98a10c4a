// What strangers write under the shared keys: refused with one line each, believed never, and no reason to fall over.
import test from "ava";
import { identityKey } from "../../../src/engine/shared.ts";
import { identityHashKey } from "../../../src/peers/keys.ts";
import { parseCidr, parseIp } from "../../../src/std/ip.ts";
import { Server } from "./server.ts";
import { freshPort, node, until } from "./world.ts";

const labels = { network: "shop", project: null, service: null, name: null, own: { app: "web" } };
const key = identityKey(labels);
const json = (fields: object): string => JSON.stringify({ v: 1, ...fields });
const machine = { version: "0.1.0", machine: "00", startedAt: 1, mtu: 1500, names: [] };
const bNode = { name: "b", addresses: ["127.0.3.2"], ipv4: "10.44.9.0/24", ipv6: null, ...machine };
const endpoint = { node: "b", id: "x", containerId: "x", name: "x", names: ["x"], network: "shop", ipv4: "10.44.9.5", ipv6: null, mac: "02:00:00:00:00:05", identity: 300, labels };

/** What a right node b has in the store. */
const right: Readonly<Record<string, string>> = {
  "slices/4/10.44.9.0": json({ slice: "10.44.9.0/24", node: "b" }), "nodes/b": json(bNode),
  "identities/300": json({ key }), [identityHashKey(key)]: json({ key, number: 300 }), "endpoints/b/x": json(endpoint),
};

const long = "n".repeat(1_000_000);
const bad: readonly (readonly [what: string, values: Readonly<Record<string, string>>, why: RegExp])[] = [
  ["no JSON", { "endpoints/b/y": "{" }, /JSON/],
  ["a number", { "endpoints/b/y": "1" }, /no object/],
  ["null", { "endpoints/b/y": "null" }, /no object/],
  ["a list", { "nodes/c": "[]" }, /no object/],
  ["nothing of a record", { "endpoints/b/y": json({}) }, /no whole number|no text|address/],
  ["a record of a newer Hawser's form", { "endpoints/b/y": JSON.stringify({ ...endpoint, id: "y", v: 2 }) }, /newer Hawser/],
  ["another node's endpoint", { "endpoints/b/y": json({ ...endpoint, node: "c", id: "y" }) }, /another node's/],
  ["an endpoint under another's key", { "endpoints/b/y": json(endpoint) }, /another endpoint/],
  ["an address of another slice", { "endpoints/b/y": json({ ...endpoint, id: "y", ipv4: "10.44.10.5" }) }, /not of its node's slice/],
  ["an address of a host", { "endpoints/b/y": json({ ...endpoint, id: "y", ipv4: "127.0.3.1" }) }, /no container's/],
  ["an address of nobody's", { "endpoints/b/y": json({ ...endpoint, id: "y", ipv4: "224.0.0.1" }) }, /no container's/],
  ["no address", { "endpoints/b/y": json({ ...endpoint, id: "y", ipv4: null }) }, /no address/],
  ["an address of the other family", { "endpoints/b/y": json({ ...endpoint, id: "y", ipv4: "fd00::1" }) }, /other family/],
  ["a MAC of many", { "endpoints/b/y": json({ ...endpoint, id: "y", mac: "ff:ff:ff:ff:ff:ff" }) }, /MAC/],
  ["a provisional identity", { "endpoints/b/y": json({ ...endpoint, id: "y", identity: 2 ** 23 }) }, /identity/],
  ["an identity below the first", { "endpoints/b/y": json({ ...endpoint, id: "y", identity: 255 }) }, /identity/],
  ["an identity that other labels have", { "endpoints/b/y": json({ ...endpoint, id: "y", labels: { ...labels, own: { app: "admin" } } }) }, /not those of identity 300/],
  ["doubts about doubts", { "endpoints/b/y": json({ ...endpoint, id: "y", labels: { ...labels, doubtful: { ...labels, doubtful: labels } } }) }, /doubts/],
  ["labels that are no text", { "endpoints/b/y": json({ ...endpoint, id: "y", labels: { ...labels, own: { app: 1 } } }) }, /labels\.own/],
  ["a name of a megabyte", { "endpoints/b/y": json({ ...endpoint, id: "y", name: long }) }, /characters/],
  ["a key of a megabyte", { [`endpoints/b/${long}`]: json({ ...endpoint, id: long }) }, /a key of/],
  ["a key written in another way", { "endpoints/b/%78": json(endpoint) }, /a key of that form/],
  ["a node's name that climbs", { "nodes/..": json({ ...bNode, name: ".." }) }, /a key of that form/],
  ["another node's record", { "nodes/c": json(bNode) }, /another node/],
  ["a node with an address of the pool", { "nodes/c": json({ ...bNode, name: "c", ipv4: null, addresses: ["10.44.1.1"] }) }, /of the pool/],
  ["a node with this one's address", { "nodes/c": json({ ...bNode, name: "c", ipv4: null, addresses: ["127.0.3.1"] }) }, /another node's, or this one's/],
  ["a node with another's slice", { "nodes/c": json({ ...bNode, name: "c", addresses: ["127.0.3.4"] }) }, /not its own: b claimed it/],
  ["a node with ten thousand addresses", { "nodes/c": json({ ...bNode, name: "c", addresses: Array.from({ length: 10_000 }, () => "192.0.2.1") }) }, /no list/],
  ["networks that are no list", { "nodes/c": json({ ...bNode, name: "c", networks: "shop" }) }, /networks: it is no list/],
  ["ten thousand networks", { "nodes/c": json({ ...bNode, name: "c", networks: Array.from({ length: 10_000 }, () => ({ name: "shop", ipv4: null, ipv6: null })) }) }, /networks: it is no list/],
  ["a network's subnet of the other family", { "nodes/c": json({ ...bNode, name: "c", networks: [{ name: "shop", ipv4: "fd44::/64", ipv6: null }] }) }, /no IPv4 prefix/],
  ["a network's subnet that names a host", { "nodes/c": json({ ...bNode, name: "c", networks: [{ name: "shop", ipv4: "10.44.9.1/26", ipv6: null }] }) }, /no IPv4 prefix/],
  ["a network's subnet of another node's slice", { "nodes/c": json({ ...bNode, name: "c", ipv4: null, addresses: [], networks: [{ name: "shop", ipv4: "10.44.9.64/26", ipv6: null }] }) }, /not within its node's slice/],
  ["a network's subnet of which its slice is a part", { "nodes/b": json({ ...bNode, networks: [{ name: "shop", ipv4: "10.44.8.0/23", ipv6: null }] }) }, /not within its node's slice/],
  ["a network's subnet that is the world", { "nodes/b": json({ ...bNode, networks: [{ name: "shop", ipv4: null, ipv6: "::/0" }] }) }, /of the pool/],
  ["a network's subnet that is a part of the world", { "nodes/b": json({ ...bNode, networks: [{ name: "shop", ipv4: null, ipv6: "2000::/3" }] }) }, /too large/],
  ["a network's subnet with a host's address", { "nodes/b": json({ ...bNode, networks: [{ name: "shop", ipv4: "127.0.3.0/24", ipv6: null }] }) }, /no subnet of containers/],
  ["one subnet of two networks", { "nodes/b": json({ ...bNode, networks: [{ name: "shop", ipv4: "10.44.9.0/26", ipv6: null }, { name: "yard", ipv4: "10.44.9.0/26", ipv6: null }] }) }, /another network's, too/],
  ["a slice outside of the pool", { "slices/4/192.0.2.0": json({ slice: "192.0.2.0/24", node: "c" }) }, /not of the pool/],
  ["a slice that overlaps", { "slices/4/10.44.8.0": json({ slice: "10.44.8.0/22", node: "c" }) }, /overlaps/],
  ["a slice under another key", { "slices/4/10.44.8.0": json({ slice: "10.44.9.0/24", node: "c" }) }, /not the one of that key/],
  ["a slice written in another way", { "slices/6/FD44::": json({ slice: "fd44::/64", node: "c" }) }, /a key of that form/],
  ["an identity out of range", { "identities/8388608": json({ key: "x" }) }, /whole number/],
  ["a key under another's hash", { [identityHashKey("other")]: json({ key: "more", number: 301 }) }, /not the one of that hash/],
  ["a number of another identity", { [identityHashKey("other")]: json({ key: "other", number: 300 }) }, /another identity's/],
];

for (const [what, values, why] of bad) {
  test(`${what} is refused with one line and changes nothing`, async (t) => {
    const [server, port] = [new Server(), freshPort()];
    server.put(right);
    await using a = node({ name: "a", address: "127.0.3.1", port, store: server.connect("a") });
    await a.start();
    t.deepEqual(a.seen(), ["x"]);
    server.put(values);
    // What comes after it is taken as ever, and so is everything anew.
    server.put({ "endpoints/b/z": json({ ...endpoint, id: "z", ipv4: "10.44.9.6" }) });
    await until(() => a.seen().join() === "x,z");
    const lines = (): readonly string[] => a.lines.filter((line) => line.includes("is refused"));
    t.is(lines().length, 1, lines().join("\n"));
    t.regex(lines()[0] ?? "", why);
    t.true((lines()[0] ?? "").length < 1000);
    t.is(a.last().endpoints.get("b/x")?.ipv4, parseIp("10.44.9.5"));
    t.is(a.last().numbers.get(key), 300);
    t.is(a.last().nodes.get("b")?.ipv4, parseCidr("10.44.9.0/24"));
    t.true([...a.last().nodes.values()].every(({ name, addresses, ipv4 }) => name === "b" || (addresses.length <= 1 && !addresses.includes(parseIp("127.0.3.1")) && ipv4 === null)));
    t.true([...a.last().networks].every(([name, all]) => name === "b" && all.map((one) => one.ipv4 ?? one.ipv6).join() === "10.44.9.0/26"));
  });
}

test("what is not known yet is waited for: an endpoint is believed when its node and its number are there", async (t) => {
  const [server, port] = [new Server(), freshPort()];
  await using a = node({ name: "a", address: "127.0.3.1", port, store: server.connect("a") });
  await a.start();
  for (const name of ["endpoints/b/x", "nodes/b", "slices/4/10.44.9.0", identityHashKey(key), "identities/300"]) {
    t.deepEqual(a.seen(), []);
    server.put({ [name]: right[name] });
  }
  await until(() => a.seen().join() === "x");
  t.is(a.last().endpoints.get("b/x")?.identity, 300);
});

test("keys that this build does not know are left alone", async (t) => {
  const [server, port] = [new Server(), freshPort()];
  server.put({ ...right, "routes/web/b": "whatever" });
  await using a = node({ name: "a", address: "127.0.3.1", port, store: server.connect("a") });
  await a.start();
  t.deepEqual(a.seen(), ["x"]);
  t.deepEqual(a.lines.filter((line) => line.includes("refused")), []);
  t.is(server.get("routes/web/b"), "whatever");
});
