// Published ports: which host addresses and ports a request becomes, and who may not have them.
import test from "ava";
import { publishPorts } from "../../../src/network/publish-ports.ts";
import { revokePorts } from "../../../src/network/revoke-ports.ts";
import type { State } from "../../../src/network/types.ts";
import { after, context, db, dual, endpoint, endpointId, ip, joined, joining, made, network, networkId, plugged, port, printPorts, printSteps, published, refusal, shop, web } from "./world.ts";

const four = after(made(network()), plugged(endpoint()), joined(joining()));
const both = after(made(network(dual)), plugged(endpoint({ ipv6: "fd50::2/64" })), joined(joining()));
const ref = { id: db, network: shop };
const ask = (state: State, ...ports: readonly string[]) => publishPorts(state, { ...ref, ports: ports.map(port) }, context);
const rows = (state: State, ...ports: readonly string[]) => printPorts(ask(state, ...ports).next, db);
const refused = (state: State, ...ports: readonly string[]) => refusal(() => ask(state, ...ports));
const withWeb = (state: State) =>
  joined(joining({ id: web, sandboxKey: "/run/docker/netns/bbbbbbbbbbbb" }))(plugged(endpoint({ id: web, ipv4: "10.50.0.3/24" }))(state).next).next;

test("every port is claimed before the first one opens", (t) => {
  t.deepEqual(printSteps(ask(both, "8080:80", "127.0.0.1:5353:53/udp").steps), [
    "claimPort udp 127.0.0.1 5353 -> 10.50.0.2 53",
    "claimPort tcp 0.0.0.0 8080 -> 10.50.0.2 80",
    "claimPort tcp :: 8080 -> fd50::2 80",
    "port udp 127.0.0.1 5353 -> 10.50.0.2 53",
    "port tcp 0.0.0.0 8080 -> 10.50.0.2 80",
    "port tcp :: 8080 -> fd50::2 80",
  ]);
});

test("a port without a host address is opened on the families that the container has", (t) => {
  t.deepEqual(rows(four, "8080:80"), ["tcp 0.0.0.0 8080 -> 80"]);
  t.deepEqual(rows(both, "8080:80"), ["tcp 0.0.0.0 8080 -> 80", "tcp :: 8080 -> 80"]);
  t.deepEqual(rows(both, "0.0.0.0:8080:80"), ["tcp 0.0.0.0 8080 -> 80"]);
  t.deepEqual(rows(both, "[::]:8080:80"), ["tcp :: 8080 -> 80"]);
});

test("the network's host binding stands in for a missing host address, and narrows", (t) => {
  const bound = (options: Record<string, string>) =>
    after(made(network({ ...dual, options })), plugged(endpoint({ ipv6: "fd50::2/64" })), joined(joining()));
  t.deepEqual(rows(bound({ "com.docker.network.bridge.host_binding_ipv4": "127.0.0.1" }), "8080:80", "0.0.0.0:81:81"), ["tcp 127.0.0.1 8080 -> 80", "tcp 0.0.0.0 81 -> 81"]);
  t.deepEqual(rows(bound({ "hawser.host_binding_ipv6": "2001:db8::10" }), "8080:80"), ["tcp 2001:db8::10 8080 -> 80"]);
  t.deepEqual(rows(bound({ "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0" }), "8080:80"), ["tcp 0.0.0.0 8080 -> 80", "tcp :: 8080 -> 80"]);
});

test("host addresses are the host's own, loopback, a gateway, or any", (t) => {
  t.deepEqual(rows(both, "192.0.2.10:80:80", "[2001:db8::10]:80:80", "127.9.9.9:80:80", "10.50.0.1:80:80"), [
    "tcp 192.0.2.10 80 -> 80", "tcp 127.9.9.9 80 -> 80", "tcp 10.50.0.1 80 -> 80", "tcp 2001:db8::10 80 -> 80",
  ]);
  t.is(refused(both, "192.0.2.99:80:80"), "BAD_OPTION: port 192.0.2.99:80:80/tcp: the host has no address 192.0.2.99; see ip address");
});

test("[::1] reaches a container that has IPv4 only; other IPv6 host addresses are refused for it", (t) => {
  t.deepEqual(printSteps(ask(four, "[::1]:8080:80").steps).slice(-1), ["port tcp ::1 8080 -> 10.50.0.2 80"]);
  t.is(refused(four, "[2001:db8::10]:8080:80"), "UNSUPPORTED: port [2001:db8::10]:8080:80/tcp: endpoint db0100000000 has no IPv6 address on this network; publish on an IPv4 host address");
  t.regex(refused(four, "[::]:8080:80"), /^UNSUPPORTED/);
});

test("a port that another container has published is refused, naming it", (t) => {
  const state = published(db, "8080:80", "127.0.0.1:9090:90")(withWeb(four)).next;
  const other = (...ports: readonly string[]) => refusal(() => published(web, ...ports)(state));
  t.deepEqual([other("8080:81"), other("192.0.2.10:8080:81"), other("0.0.0.0:9090:81"), other("192.0.2.10:9090:81"), other("8080:81/udp"), other("8081:81")], [
    "PORT_IN_USE: host port 8080:81/tcp is held by endpoint db0100000000; choose another host port or stop it",
    "PORT_IN_USE: host port 192.0.2.10:8080:81/tcp is held by endpoint db0100000000; choose another host port or stop it",
    "PORT_IN_USE: host port 0.0.0.0:9090:81/tcp is held by endpoint db0100000000; choose another host port or stop it",
    "accepted", "accepted", "accepted",
  ]);
});

test("one container cannot have a host port twice", (t) => {
  t.regex(refused(four, "8080:80", "8080:81"), /^PORT_IN_USE: host port 8080:81\/tcp is held by endpoint db01/);
});

test("a range gives the first free port, and says when there is none", (t) => {
  const state = published(db, "9000:80", "9001:81")(withWeb(four)).next;
  t.deepEqual(printPorts(published(web, "9000-9005:80")(state).next, web), ["tcp 0.0.0.0 9002 -> 80"]);
  t.is(refusal(() => published(web, "9000-9001:80")(state)), "PORT_IN_USE: port 9000-9001:80/tcp: every host port of 9000-9001 is taken; choose another range");
});

test("any port is one of the dynamic ones, the same in both families, and not one that a program holds", (t) => {
  t.deepEqual(rows(both, ":80"), ["tcp 0.0.0.0 53248 -> 80", "tcp :: 53248 -> 80"]);
  const taken = { ...context, takenPorts: new Set(["tcp 0.0.0.0 53248", "tcp :: 53249"]) };
  const { next } = publishPorts(both, { ...ref, ports: [port(":80")] }, taken);
  t.deepEqual(printPorts(next, db), ["tcp 0.0.0.0 53250 -> 80", "tcp :: 53250 -> 80"]);
  const full = { ...context, takenPorts: new Set(Array.from({ length: 65536 }, (_, i) => `tcp 0.0.0.0 ${i}`)) };
  t.is(refusal(() => publishPorts(four, { ...ref, ports: [port(":80")] }, full)), "NO_FREE_PORT: port 80/tcp: no ephemeral host port is free");
});

test("R79: a port that a service has at one of the host's addresses is refused, and none of those is given", (t) => {
  const held = { ...context, frontends: () => [["192.0.2.10", 8080], ["192.0.2.10", 53248], ["203.0.113.10", 9090]].map(([address, at]) => ({ service: "web", address: ip(String(address)), port: Number(at), protocol: "tcp" as const })) };
  const among = (...ports: string[]) => publishPorts(four, { ...ref, ports: ports.map(port) }, held);
  t.is(refusal(() => among("8080:80")), "PORT_IN_USE: host port 8080:80/tcp is held by service web; choose another host port or stop it");
  t.is(refusal(() => among("192.0.2.10:8080:80")), "PORT_IN_USE: host port 192.0.2.10:8080:80/tcp is held by service web; choose another host port or stop it");
  t.deepEqual(printPorts(among("127.0.0.1:8080:80", "8080:80/udp", "9090:80", ":81").next, db), ["tcp 127.0.0.1 8080 -> 80", "tcp 0.0.0.0 9090 -> 80", "udp 0.0.0.0 8080 -> 80", "tcp 0.0.0.0 53249 -> 81"]);
});

test("named ports are given before any ports", (t) => {
  t.deepEqual(rows(four, ":80", "53248:81"), ["tcp 0.0.0.0 53249 -> 80", "tcp 0.0.0.0 53248 -> 81"]);
});

test("SCTP is published as itself or not at all", (t) => {
  t.deepEqual(rows(four, "3868:3868/sctp"), ["sctp 0.0.0.0 3868 -> 3868"]);
  t.deepEqual(rows(four, "3800-3900:3868/sctp"), ["sctp 0.0.0.0 3868 -> 3868"]);
  t.is(refused(four, "3869:3868/sctp"), "UNSUPPORTED: port 3869:3868/sctp: an SCTP port can only be published as itself (-p 3868:3868/sctp)");
  t.regex(refused(four, ":3868/sctp"), /^UNSUPPORTED/);
});

test("publishing twice is harmless, and a change touches only what changed", (t) => {
  const first = ask(four, "8080:80", ":81");
  const again = publishPorts(first.next, { ...ref, ports: ["8080:80", ":81"].map(port) }, { ...context, random: () => 0.9 });
  t.deepEqual([again.steps, printPorts(again.next, db)], [[], printPorts(first.next, db)]);
  t.deepEqual(printSteps(ask(first.next, "8080:90", ":81").steps), ["removePort tcp 0.0.0.0 8080 -> 10.50.0.2 80", "port tcp 0.0.0.0 8080 -> 10.50.0.2 90"]);
});

test("revoking closes, keeps the request, and publishing without one opens it again", (t) => {
  const open = ask(four, "8080:80").next;
  const closed = revokePorts(open, ref);
  t.deepEqual(printSteps(closed.steps), ["removePort tcp 0.0.0.0 8080 -> 10.50.0.2 80"]);
  t.deepEqual(revokePorts(closed.next, ref).steps, []);
  const reopened = publishPorts(closed.next, { ...ref, ports: null }, context);
  t.deepEqual(printPorts(reopened.next, db), ["tcp 0.0.0.0 8080 -> 80"]);
  t.deepEqual(revokePorts(four, { id: endpointId("dead"), network: shop }).steps, []);
});

test("ports that came with the endpoint or with Join stand until Docker names others", (t) => {
  const early = after(made(network()), plugged(endpoint({ ports: [port("8080:80")] })), joined(joining()));
  t.deepEqual(printPorts(publishPorts(early, { ...ref, ports: null }, context).next, db), ["tcp 0.0.0.0 8080 -> 80"]);
  const late = after(made(network()), plugged(endpoint()), joined(joining({ ports: [port("8081:81")] })));
  t.deepEqual(printPorts(publishPorts(late, { ...ref, ports: null }, context).next, db), ["tcp 0.0.0.0 8081 -> 81"]);
});

test("nothing is published on an internal network, or after leaving, when Docker's tear-down asks once more", (t) => {
  const internal = after(made(network({ internal: true })), plugged(endpoint()), joined(joining()));
  t.deepEqual(ask(internal, "8080:80").steps, []);
  t.deepEqual(ask(after(made(network()), plugged(endpoint())), "8080:80").steps, []);
  t.regex(refusal(() => publishPorts(four, { id: web, network: shop, ports: [] }, context)), /^NOT_FOUND/);
});

test("a container's ports move to its next network before they are revoked on the last", (t) => {
  const back = networkId("bacc");
  const state = after(
    made(network()), plugged(endpoint()), joined(joining()), published(db, "8080:80", ":81"),
    made(network({ id: back, ipv4: [{ pool: "10.60.0.0/24", gateway: "10.60.0.1/24", aux: {} }] })),
    plugged(endpoint({ id: web, network: back, ipv4: "10.60.0.2/24" })), joined(joining({ id: web, network: back })),
  );
  const moved = publishPorts(state, { id: web, network: back, ports: ["8080:80", ":81"].map(port) }, { ...context, random: () => 0.9 });
  t.deepEqual(printSteps(moved.steps), [
    "removePort tcp 0.0.0.0 8080 -> 10.50.0.2 80",
    "removePort tcp 0.0.0.0 53248 -> 10.50.0.2 81",
    "port tcp 0.0.0.0 8080 -> 10.60.0.2 80",
    "port tcp 0.0.0.0 53248 -> 10.60.0.2 81",
  ]);
  t.deepEqual([printPorts(moved.next, db), revokePorts(moved.next, ref).steps], [[], []]);
  t.is(moved.next.endpoints.get(db)?.portRequests.length, 2);
});

test("ports outside 1 to 65535 are refused", (t) => {
  const request = { ...port("8080:80"), containerPort: 0, hostIp: ip("127.0.0.1") };
  t.regex(refusal(() => publishPorts(four, { ...ref, ports: [request] }, context)), /^BAD_REQUEST: .*1 to 65535/);
});
