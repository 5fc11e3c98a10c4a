// The life of backends: containers come, stop, are killed and come back, servers are written and struck out, probes take out and bring back.
import test from "ava";
import { keepsFlows, nextChange, probed, reconcile as reconcileIn, stateOf, takers } from "../../../src/lb/backends.ts";
import { createContainers } from "../../../src/lb/containers.ts";
import type { Backend, Service, ServingContainer } from "../../../src/lb/types.ts";
import { container, place, read, serviceWith } from "./given.ts";

const reconcile = (backends: readonly Backend[], of: Service, containers: readonly ServingContainer[], now: number): readonly Backend[] => reconcileIn(backends, of, createContainers(containers), now);
const seconds = 1000;
const start = 1_750_000_000_000;
const service = read(serviceWith(
  "backends: [{ select: { network: shop, label: app=web }, port: 8080 }, { address: 192.0.2.7:8080, weight: 2 }]", "health: { kind: http }",
));

/** `identity state @seconds until it is gone`, sorted. */
function printed(backends: readonly Backend[], of = service): readonly string[] {
  return backends
    .map((backend) => `${backend.identity} ${stateOf(backend, of.health)}${backend.drainsUntil === null ? "" : ` @${(backend.drainsUntil - start) / seconds}`}`)
    .toSorted();
}

const up = (backends: readonly Backend[]): readonly Backend[] => backends.map((backend) => probed(backend, true, service.health, start));
const [a, b] = [container("n1/web-1", 1), container("n2/web-2", 2)];
const both: readonly ServingContainer[] = [a, b];
const standing = up(reconcile([], service, both, start));

test("backends are the containers that a rule selects, on every node, and the servers that it names", (t) => {
  const others = [container("n1/db", 3, { labels: { app: "db" } }), container("n1/web-3", 4, { network: "other" }), container("n1/web-4", 5, { stopping: true })];
  t.deepEqual(reconcile([], service, [...both, ...others], start).map(({ identity, kind, node, port, weight }) => [identity, kind, node, port, weight]), [
    ["n1/shop/web-1:8080", "container", "n1", 8080, 1], ["n2/shop/web-2:8080", "container", "n2", 8080, 1], ["192.0.2.7:8080", "server", null, 8080, 2],
  ]);
});

test("a container on an internal network and on another serves there alone, unless the rule names the network", (t) => {
  const inner = { network: "back", internal: true } as const;
  const some = [container("n1/a", 1), container("n1/a", 2, inner), container("n2/a", 3, inner), container("n1/b", 4, inner)];
  const selected = (select: string): readonly string[] => reconcile([], read(serviceWith(`backends: [{ select: ${select}, port: 80 }]`)), some, start).map(({ identity }) => identity);
  t.deepEqual(selected("{ label: app=web }"), ["n1/shop/a:80", "n2/back/a:80", "n1/back/b:80"]);
  t.deepEqual(selected("{ network: back }"), ["n1/back/a:80", "n2/back/a:80", "n1/back/b:80"]);
});

test("labels select by any value, and by a container's name, project and service", (t) => {
  const some = [container("n1/a", 1, { labels: { tier: "x" }, project: "shop", service: "web" }), container("n1/b", 2, { labels: { service: "web" } })];
  const selected = (select: string): readonly string[] => reconcile([], read(serviceWith(`backends: [{ select: ${select}, port: 80 }]`)), some, start).map(({ identity }) => identity);
  t.deepEqual(selected("{ label: tier }"), ["n1/shop/a:80"]);
  t.deepEqual(selected("{ label: tier=y }"), []);
  t.deepEqual(selected("{ label: 'project=shop, service=web' }"), ["n1/shop/a:80"]);
  t.deepEqual(selected("{ label: service=web }"), ["n1/shop/a:80"]);
  t.deepEqual(selected("{ label: name=b }"), ["n1/shop/b:80"]);
  t.deepEqual(selected("{ network: shop }"), ["n1/shop/a:80", "n1/shop/b:80"]);
});

test("of two rules that mean the same container the first counts", (t) => {
  const twice = read(serviceWith("backends: [{ select: { label: app=web }, port: 80, weight: 3 }, { select: { network: shop }, port: 80 }, { select: { network: shop }, port: 81 }]"));
  t.deepEqual(reconcile([], twice, [a], start).map(({ identity, weight }) => [identity, weight]), [["n1/shop/web-1:80", 3], ["n1/shop/web-1:81", 1]]);
});

const named = read(serviceWith('backends: [{ address: 10.44.0.1:80 }, { address: "[fd44::1]:80" }]', 'frontends: ["203.0.113.10:80", "[2001:db8::10]:80"]'));
const places = [place("10.44.0.1"), place("fd44::1")];

test("a container that is named by its addresses is one by each of them, whatever else it is", (t) => {
  const bare = { ...a, labels: {}, network: "other" };
  t.deepEqual(reconcile([], named, [...places, bare], start).map(({ identity, kind, id, node, ipv4, ipv6 }) => [identity, kind, id, node, ipv4, ipv6]), [
    ["10.44.0.1:80", "container", "n1/web-1#1@10.44.0.1", "n1", "10.44.0.1", null], ["[fd44::1]:80", "container", "n1/web-1#1@fd44::1", "n1", null, "fd44::1"],
  ]);
  t.deepEqual(reconcile([], named, places, start), [], "where nobody is nobody serves");
  t.deepEqual(reconcile([], named, [], start).map(({ kind, node }) => [kind, node]), [["server", null], ["server", null]], "addresses that no container can have are servers'");
});

test("R76: a container that is named by its address drains when it stops and is gone at once when it is killed; the next at its address is another", (t) => {
  const known = up(reconcile([], named, [...places, a], start));
  t.deepEqual(printed(known, named), ["10.44.0.1:80 active", "[fd44::1]:80 active"]);
  t.deepEqual(printed(reconcile(known, named, [...places, { ...a, stopping: true }], start), named), ["10.44.0.1:80 draining @30", "[fd44::1]:80 draining @30"]);
  t.deepEqual(reconcile(known, named, places, start), []);
  const struck = read(serviceWith("backends: [{ address: 10.44.0.1:80 }]"));
  t.deepEqual(printed(reconcile(known, struck, [...places, a], start), named), ["10.44.0.1:80 active", "[fd44::1]:80 draining @30"]);
  const next = reconcile(known, struck, [places[0] as ServingContainer, { ...a, id: "n1/web-9#1", ipv6: null }], start);
  t.deepEqual(next.map(({ id, health: { state } }) => [id, state]), [["n1/web-9#1@10.44.0.1", "unknown"]]);
});

test("who is on a node that tells nothing is known by probes alone, as a server, and drains as one", (t) => {
  const silent = [place("10.44.0.1", "n3"), place("fd44::1")];
  const [one, ...more] = up(reconcile([], named, silent, start));
  if (one === undefined) return t.fail();
  t.deepEqual([one.identity, one.kind, one.id, one.node, more.length], ["10.44.0.1:80", "server", "10.44.0.1:80", "n3", 0]);
  t.deepEqual(printed(reconcile([one], read(serviceWith()), [], start), named), ["10.44.0.1:80 draining @30"]);
});

test("R76: a container that stops drains, one that is killed is gone at once", (t) => {
  const draining = reconcile(standing, service, [{ ...a, stopping: true }, b], start + seconds);
  t.deepEqual(printed(draining), ["192.0.2.7:8080 active", "n1/shop/web-1:8080 draining @31", "n2/shop/web-2:8080 active"]);
  t.is(nextChange(draining, service, start), start + 31 * seconds);
  t.deepEqual(printed(reconcile(draining, service, [{ ...a, stopping: true }, b], start + 20 * seconds)), printed(draining));
  t.deepEqual(printed(reconcile(draining, service, [{ ...a, stopping: true }, b], start + 31 * seconds)), ["192.0.2.7:8080 active", "n2/shop/web-2:8080 active"]);
  t.deepEqual(printed(reconcile(draining, service, [b], start + 2 * seconds)), ["192.0.2.7:8080 active", "n2/shop/web-2:8080 active"]);
  t.deepEqual(printed(reconcile(standing, service, [b], start + seconds)), ["192.0.2.7:8080 active", "n2/shop/web-2:8080 active"]);
});

test("a clock that is set back, and a shorter drain, make a drain end a drain's time from then on at the latest", (t) => {
  const stopping = [{ ...a, stopping: true }, b];
  const draining = reconcile(standing, service, stopping, start + 3600 * seconds);
  t.is(nextChange(reconcile(draining, service, stopping, start), service, start), start + 30 * seconds);
  t.is(nextChange(reconcile(draining, { ...service, drain: 5 * seconds }, stopping, start + 3601 * seconds), service, start), start + 3606 * seconds);
  const failed = [false, false, false].reduce((all, passed) => all.map((one) => probed(one, passed, service.health, start + 3600 * seconds)), standing);
  t.is(nextChange(reconcile(failed, service, both, start), service, start), start + 30 * seconds);
});

test("a drain of no time is none", (t) => {
  t.deepEqual(printed(reconcile(standing, { ...service, drain: 0 }, [{ ...a, stopping: true }, b], start)), ["192.0.2.7:8080 active", "n2/shop/web-2:8080 active"]);
});

test("a container that no rule selects any more drains, and so does a server that is struck out; back in time they never left", (t) => {
  const relabelled = reconcile(standing, service, [{ ...a, labels: {} }, b], start);
  t.deepEqual(printed(relabelled), ["192.0.2.7:8080 active", "n1/shop/web-1:8080 draining @30", "n2/shop/web-2:8080 active"]);
  t.deepEqual(reconcile(relabelled, service, both, start + 10 * seconds).toSorted((x, y) => (x.identity < y.identity ? -1 : 1)), standing.toSorted((x, y) => (x.identity < y.identity ? -1 : 1)));
  const alone = read(serviceWith("health: { kind: http }"));
  const struck = reconcile(standing, alone, both, start);
  t.deepEqual(printed(struck), ["192.0.2.7:8080 draining @30", "n1/shop/web-1:8080 active", "n2/shop/web-2:8080 active"]);
  t.deepEqual(printed(reconcile(struck, service, both, start + 29 * seconds)), printed(standing));
});

test("a container that was started anew is another backend with the same part of the table", (t) => {
  const again = reconcile(standing, service, [{ ...a, stopping: true }, { ...a, id: "n1/web-1#2" }, b], start);
  t.deepEqual(again.filter(({ node }) => node === "n1").map(({ identity, id, drainsUntil }) => [identity, id, drainsUntil === null]), [
    ["n1/shop/web-1:8080", "n1/web-1#1", false], ["n1/shop/web-1:8080", "n1/web-1#2", true],
  ]);
});

test("a container with another name is the backend that it was: in its place, well, and without a drain of its own", (t) => {
  const seen = (all: readonly Backend[]): readonly string[] => all.map((one) => `${one.identity} ${one.id} ${stateOf(one, service.health)}`);
  const renamed = reconcile(standing, service, [{ ...a, name: "blue" }, b], start + seconds);
  t.deepEqual(seen(renamed), ["n1/shop/blue:8080 n1/web-1#1 active", "n2/shop/web-2:8080 n2/web-2#1 active", "192.0.2.7:8080 192.0.2.7:8080 active"]);
  const followed = reconcile(standing, service, [{ ...a, name: "blue" }, { ...a, id: "n1/web-1#2" }, b], start + seconds);
  t.deepEqual(seen(followed).filter((one) => one.startsWith("n1")), ["n1/shop/blue:8080 n1/web-1#1 active", "n1/shop/web-1:8080 n1/web-1#2 down"]);
  const twins = [...standing.map((one) => (one.node === "n1" ? { ...one, drainsUntil: start + 30 * seconds } : one)), ...reconcile([], service, [{ ...a, name: "blue" }], start)];
  t.deepEqual(seen(reconcile(twins, service, [{ ...a, name: "blue" }, b], start + seconds)), seen(renamed));
});

test("a changed weight is the backend's from then on", (t) => {
  const heavier = read(serviceWith("backends: [{ select: { network: shop, label: app=web }, port: 8080, weight: 5 }]"));
  t.deepEqual(reconcile(standing, heavier, both, start).map(({ weight, drainsUntil }) => [weight, drainsUntil === null]), [[5, true], [5, true], [2, false]]);
});

test("the first probe is believed, later it takes fall failures and rise successes in a row", (t) => {
  const [fresh] = reconcile([], service, [a], start);
  if (fresh === undefined) return t.fail();
  t.is(stateOf(fresh, service.health), "down");
  t.is(stateOf(probed(fresh, false, service.health, start), service.health), "down");
  let backend = probed(fresh, true, service.health, start);
  const after = (passed: boolean): string => stateOf(backend = probed(backend, passed, service.health, start + 5 * seconds), service.health);
  t.deepEqual([false, false, true, false, false, false, true, false, true, true].map(after), [
    "active", "active", "active", "active", "active", "down", "down", "down", "down", "active",
  ]);
  t.is(probed(backend, true, service.health, start + 9 * seconds), backend);
  t.is(backend.health.since, start + 5 * seconds);
});

test("without probes a backend is active from the start", (t) => {
  const [fresh] = reconcile([], service, [a], start);
  t.is(fresh && stateOf(fresh, { kind: "none" }), "active");
});

const names = (backends: readonly Backend[]): readonly string[] => takers(backends, service.health).map(({ identity }) => identity);

test("new flows go to the active; when there is none, to all that do not leave", (t) => {
  const down = (which: string, backends = standing): readonly Backend[] =>
    backends.map((one) => (one.identity.includes(which) ? { ...one, health: { state: "down", against: 0, since: start } } : one));
  t.deepEqual(names(standing), ["n1/shop/web-1:8080", "n2/shop/web-2:8080", "192.0.2.7:8080"]);
  t.deepEqual(names(down("web-1")), ["n2/shop/web-2:8080", "192.0.2.7:8080"]);
  t.deepEqual(names(down("")), ["n1/shop/web-1:8080", "n2/shop/web-2:8080", "192.0.2.7:8080"]);
  t.deepEqual(names(reconcile(down(""), service, [{ ...a, stopping: true }, b], start)), ["n2/shop/web-2:8080", "192.0.2.7:8080"]);
  t.deepEqual(names(standing.map((one) => ({ ...one, drainsUntil: start + seconds }))), []);
  t.deepEqual(names(standing.map((one) => ({ ...one, weight: one.kind === "server" ? 0 : 1 }))), ["n1/shop/web-1:8080", "n2/shop/web-2:8080"]);
});

test("a container keeps its flows however its probes go, a server for as long as a drain", (t) => {
  const failed = standing.map((one): Backend => ({ ...one, health: { state: "down", against: 0, since: start } }));
  const kept = (now: number): readonly string[] => failed.filter((one) => keepsFlows(one, service, now)).map(({ kind }) => kind);
  t.deepEqual(kept(start + 29 * seconds), ["container", "container", "server"]);
  t.deepEqual(kept(start + 30 * seconds), ["container", "container"]);
  t.is(nextChange(failed, service, start), start + 30 * seconds);
  t.is(nextChange(failed, service, start + 30 * seconds), null);
  t.is(nextChange(standing, service, start), null);
});
