// What is told of a service that is in force and serves nobody, or lets nobody in.
import test from "ava";
import { warningsOf } from "../../../src/lb/warnings.ts";
import type { ServingContainer } from "../../../src/lb/types.ts";
import { parseCidr, parseIp } from "../../../src/std/ip.ts";
import { container, example, read, serviceWith } from "./given.ts";

const known = { containers: [container("a/web1", 2), container("b/db1", 3, { network: "back", labels: { app: "db", tier: "deep" }, service: "db" })], networks: ["shop", "back", "empty"], links: [parseCidr("192.0.2.7/24"), parseCidr("10.50.0.1/31"), parseCidr("2001:db8::7/64")], own: [parseIp("192.0.2.8"), parseIp("2001:db8::8")] };
const told = (...lines: readonly string[]): readonly string[] => warningsOf([read(serviceWith(...lines))], known);
const selecting = (select: string): readonly string[] => told(`backends: [{ select: ${select}, port: 80 }]`);

test("a selector that matches a container of any node is nothing to speak of", (t) => {
  for (const select of ["{ network: shop }", '{ network: shop, label: "app=web" }', "{ label: tier }", '{ label: "service=db, app=db" }']) t.deepEqual(selecting(select), []);
});

test("one that matches none now is told, with the nearest name", (t) => {
  t.deepEqual(selecting("{ network: shopp, label: app=web }"), ['web.yaml:3:12: no network is called "shopp"; did you mean "shop"?']);
  t.deepEqual(selecting("{ network: elsewhere }"), ['web.yaml:3:12: no network is called "elsewhere"; until one is, nobody serves by this']);
  t.deepEqual(selecting("{ network: empty, label: app=web }"), ['web.yaml:3:12: no container is on network "empty"; until one is, nobody serves by this']);
  t.deepEqual(selecting("{ network: shop, label: app=wbe }"), ['web.yaml:3:12: no container on network "shop" has the label app=wbe; did you mean "app=web"?']);
  t.deepEqual(selecting("{ network: back, label: teir=deep }"), ['web.yaml:3:12: no container on network "back" has the label teir=deep; did you mean "tier"?']);
  t.deepEqual(selecting("{ label: app=entirely }"), ["web.yaml:3:12: no container has the label app=entirely; until one has, nobody serves by this; labels of an image do not count"]);
  t.deepEqual(selecting('{ label: "app=web, tier=deep" }'), ["web.yaml:3:12: no container has app=web and tier=deep together; until one has, nobody serves by this"]);
});

test("a frontend of a family of which sources allow nobody is told", (t) => {
  t.deepEqual(told('sources: { allow: ["::/0"] }'), ['web.yaml:2:13: sources allow no IPv4 prefix, so that nobody may come to 203.0.113.10:80/tcp; to let everyone in, add 0.0.0.0/0 to "allow"']);
  t.deepEqual(warningsOf([read(example)], known), ['web.yaml:2:36: sources allow no IPv6 prefix, so that nobody may come to [2001:db8::10]:80/tcp; to let everyone in, add "::/0" to "allow"']);
  t.deepEqual(told('sources: { allow: [10.0.0.0/8], deny: ["::/0"] }'), []);
  const denied = 'web.yaml:2:13: sources deny every IPv4 prefix that they allow, so that nobody may come to 203.0.113.10:80/tcp; take one out of "deny"';
  t.deepEqual(told("sources: { deny: [0.0.0.0/0] }"), [denied]);
  t.deepEqual(told("sources: { allow: [10.1.0.0/16, 10.2.0.0/16], deny: [10.0.0.0/8] }"), [denied]);
  t.deepEqual(told("sources: { allow: [10.1.0.0/16, 10.2.0.0/16], deny: [10.1.0.0/16] }"), []);
});

test("a backend at an address that is no host's on a link of this host's is told", (t) => {
  const backend = (address: string): readonly string[] => told(`backends: [{ select: { network: shop }, port: 80 }, { address: "${address}:80" }]`);
  t.deepEqual(backend("192.0.2.255"), ["web.yaml:3:53: 192.0.2.255 is the broadcast address of 192.0.2.0/24, so that nobody serves there; give the server's own address"]);
  t.deepEqual(backend("192.0.2.8"), ["web.yaml:3:53: 192.0.2.8 is this host's own, where clients from outside who come by this host do not get, though probes do; select containers, or name another server"]);
  t.deepEqual(backend("192.0.2.0"), ["web.yaml:3:53: 192.0.2.0 is the address of 192.0.2.0/24 itself, so that nobody serves there; give the server's own address"]);
  for (const address of ["192.0.2.7", "10.50.0.0", "10.50.0.1", "198.51.100.255"]) t.deepEqual(backend(address), []);
});

test("containers on an internal network alone, where nobody from outside gets, are told of", (t) => {
  const on = (name: string, network: string, more: Partial<ServingContainer> = {}): ServingContainer => container(name, 3, { network, labels: { app: "db" }, ...more });
  const within = (select: string, ...more: readonly ServingContainer[]): readonly string[] =>
    warningsOf([read(serviceWith(`backends: [{ select: ${select}, port: 80 }]`))], { ...known, containers: [on("b/db1", "back", { internal: true }), ...more] });
  const told = ['web.yaml:3:12: network "back" is internal, so that nobody from outside gets to the containers on it'];
  t.deepEqual(within("{ label: app=db }"), told);
  t.deepEqual(within("{ network: back }"), told);
  t.deepEqual(within("{ label: app=db }", on("b/db1", "shop")), [], "it serves on the other");
  t.deepEqual(within("{ label: app=db }", on("a/db1", "shop")), told, "that is another container");
  t.deepEqual(within("{ network: back }", on("b/db1", "shop")), told);
});
