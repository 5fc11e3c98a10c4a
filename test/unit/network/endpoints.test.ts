// Endpoints: made, joined, left and deleted, in full and half-way.
import test from "ava";
import { createEndpoint } from "../../../src/network/create-endpoint.ts";
import { deleteEndpoint } from "../../../src/network/delete-endpoint.ts";
import { join } from "../../../src/network/join.ts";
import { leave } from "../../../src/network/leave.ts";
import { desired } from "../../../src/network/plan.ts";
import { after, context, db, dual, endpoint, endpointId, joined, joining, made, network, networkId, plugged, printSteps, published, refusal, shop, web } from "./world.ts";

const base = after(made(network()));
const refused = (change: Parameters<typeof endpoint>[0], state = base) => refusal(() => createEndpoint(state, endpoint(change), context));

test("creating makes and attaches the cable, and publishes nothing yet (R1, R5)", (t) => {
  const { next, steps, reply } = createEndpoint(base, endpoint(), context);
  t.deepEqual(printSteps(steps), ["cable hwdb010000000 hwdb010000000c 02:42:0a:32:00:02 1500", "attach hwdb010000000"]);
  t.deepEqual(reply, { mac: "02:42:0a:32:00:02" as never });
  t.like(next.endpoints.get(db), { state: "init", joined: false, mtu: 1500, container: null });
});

test("a MAC that was asked for is taken and not answered, because Docker refuses an answer that repeats it", (t) => {
  const { next, reply } = createEndpoint(base, endpoint({ mac: "02:11:22:33:44:55" }), context);
  t.is(reply.mac, null);
  t.is(next.endpoints.get(db)?.mac as string, "02:11:22:33:44:55");
});

test("without IPv4 the MAC is random and local; a derived one that is taken makes way", (t) => {
  const six = after(made(network({ ...dual, enableIpv4: false, ipv4: [] })));
  t.is(createEndpoint(six, endpoint({ ipv4: null, ipv6: "fd50::2/64" }), context).reply.mac, "02:68:40:00:00:00");
  const squatted = after(made(network()), plugged(endpoint({ id: web, ipv4: "10.50.0.9/24", mac: "02:42:0a:32:00:02" })));
  t.is(createEndpoint(squatted, endpoint(), context).reply.mac, "02:68:40:00:00:00");
});

test("the network's MTU, else the uplink's, is on the cable", (t) => {
  const small = after(made(network({ options: { "hawser.mtu": "1400" } })));
  t.is(createEndpoint(small, endpoint(), context).next.endpoints.get(db)?.mtu, 1400);
  t.is(createEndpoint(base, endpoint(), { ...context, uplinkMtu: 1450 }).next.endpoints.get(db)?.mtu, 1450);
});

test("what cannot be is refused with a sentence", (t) => {
  const taken = after(made(network()), plugged(endpoint({ id: web, mac: "02:11:22:33:44:55" })), joined(joining({ id: web })));
  t.deepEqual([
    refused({ network: networkId("dead") }),
    refused({ ipv4: "10.51.0.2/24" }),
    refused({ ipv4: "10.50.0.0/24" }),
    refused({ ipv4: "10.50.0.1/24" }),
    refused({ ipv4: "10.50.0.2" }),
    refused({ ipv4: null }),
    refused({ ipv6: "fd50::2/64" }),
    refused({ mac: "01:00:5e:00:00:01" }),
    refused({ id: "not-hex" as never }),
    refused({ options: { "hawser.rate": "10mbit" } }),
    refused({ options: { "com.docker.network.endpoint.ifname": "a/b" } }),
    refused({ options: { mine: "x", "com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.log_martians=1" } }),
    refused({}, taken),
    refused({ ipv4: "10.50.0.3/24", mac: "02:11:22:33:44:55" }, taken),
    refused({ id: endpointId("3eb100000001"), ipv4: "10.50.0.3/24" }, taken),
  ], [
    "NOT_FOUND: network dead00000000 is not known to Hawser; it is taken over from Docker within 30 seconds, see hawser network list",
    "BAD_REQUEST: Interface.Address: 10.51.0.2 is no host's address in the subnet 10.50.0.0/24",
    "BAD_REQUEST: Interface.Address: 10.50.0.0 is no host's address in the subnet 10.50.0.0/24",
    "ALREADY_EXISTS: Interface.Address: 10.50.0.1 is the gateway of network 540900000000",
    'BAD_REQUEST: Interface.Address: "10.50.0.2" is not an address with a prefix length, such as 10.44.0.0/24',
    "BAD_REQUEST: Interface: Docker gave neither Address nor AddressIPv6",
    "BAD_REQUEST: Interface.AddressIPv6: network 540900000000 has no IPv6 subnet for fd50::2/64",
    'BAD_REQUEST: Interface.MacAddress: "01:00:5e:00:00:01" is not a unicast MAC address such as 02:42:0a:2c:00:02',
    'BAD_REQUEST: EndpointID: "not-hex" does not begin with 11 hex digits',
    "BAD_OPTION: option hawser.rate is not known; what is known here: com.docker.network.endpoint.sysctls, com.docker.network.endpoint.ifname",
    'BAD_OPTION: option com.docker.network.endpoint.ifname: "a/b" is not 1 to 15 letters, digits, dots, dashes or underscores, and not lo',
    "accepted",
    "ALREADY_EXISTS: address 10.50.0.2 is taken by endpoint 3eb100000000; choose another",
    "ALREADY_EXISTS: MAC address 02:11:22:33:44:55 is taken on network 540900000000 by endpoint 3eb100000000; choose another",
    "ALREADY_EXISTS: endpoint 3eb100000001 would share the device hw3eb10000000 with endpoint 3eb100000000; try again",
  ]);
});

test("the same creation again changes nothing and answers the same; another one is refused", (t) => {
  const first = createEndpoint(base, endpoint(), context);
  const again = createEndpoint(first.next, endpoint(), context);
  t.is(again.next, first.next);
  t.deepEqual([again.steps, again.reply], [[], first.reply]);
  t.regex(refused({ ipv4: "10.50.0.9/24" }, first.next), /^ALREADY_EXISTS: endpoint db0100000000 exists already/);
});

test("joining publishes last and tells Docker the device and the gateways", (t) => {
  const state = after(made(network(dual)), plugged(endpoint({ ipv6: "fd50::2/64", options: { "com.docker.network.endpoint.ifname": "lan0" } })));
  const { next, steps, reply } = join(state, joining(), context);
  t.deepEqual(printSteps(steps), ["endpoint hwdb010000000 540900 10.50.0.2 fd50::2 02:42:0a:32:00:02"]);
  t.deepEqual(reply, {
    sourceName: "hwdb010000000c", destinationPrefix: "eth", destinationName: "lan0",
    gateway4: "10.50.0.1" as never, gateway6: "fd50::1" as never, routes: [], disableGatewayService: false,
  });
  t.like(next.endpoints.get(db), { state: "init", joined: true, sandboxKey: "/run/docker/netns/aaaaaaaaaaaa" });
  t.is(join(next, joining(), context).next, next);
  t.regex(refusal(() => join(next, joining({ sandboxKey: "/other" }), context)), /^IN_USE: endpoint db0100000000 is joined to sandbox/);
});

test("an internal network gives no gateway, and tells Docker to add no other interface", (t) => {
  const state = after(made(network({ internal: true })), plugged(endpoint()));
  t.like(join(state, joining(), context).reply, { gateway4: null, gateway6: null, disableGatewayService: true });
});

test("joining what is not there, or is on another network, is refused", (t) => {
  t.regex(refusal(() => join(base, joining(), context)), /^NOT_FOUND: endpoint db0100000000 is not known on network 540900000000/);
  const state = after(made(network()), plugged(endpoint()));
  t.regex(refusal(() => join(state, joining({ network: networkId("dead") }), context)), /^NOT_FOUND/);
});

test("leaving unpublishes ports before the address; leaving half-joined or unknown endpoints is fine (R95)", (t) => {
  const full = after(made(network()), plugged(endpoint()), joined(joining()), published(db, "8080:80"));
  const left = leave(full, { id: db, network: shop });
  t.deepEqual(printSteps(left.steps), ["removePort tcp 0.0.0.0 8080 -> 10.50.0.2 80", "removeEndpoint hwdb010000000 540900 10.50.0.2 02:42:0a:32:00:02"]);
  t.like(left.next.endpoints.get(db), { state: "leaving", joined: false, sandboxKey: null, ports: [] });
  t.deepEqual(leave(after(made(network()), plugged(endpoint())), { id: db, network: shop }).steps, []);
  t.deepEqual(leave(base, { id: db, network: shop }), { next: base, steps: [], reply: undefined });
});

test("deleting takes away however far the endpoint got; what is not there is fine (R95)", (t) => {
  const half = after(made(network()), plugged(endpoint()));
  const gone = deleteEndpoint(half, { id: db, network: shop });
  t.deepEqual(printSteps(gone.steps), ["detach hwdb010000000", "removeCable hwdb010000000 hwdb010000000c 02:42:0a:32:00:02 1500"]);
  t.deepEqual(gone.next, base);
  t.is(deleteEndpoint(base, { id: db, network: shop }).next, base);
});

test("what a state means for the host is rebuilt in order, reachability last (R11, R17)", (t) => {
  const state = after(
    made(network()), plugged(endpoint()), plugged(endpoint({ id: web, ipv4: "10.50.0.3/24" })), joined(joining()), published(db, "8080:80"),
  );
  t.deepEqual(printSteps(desired(state)), [
    "network 540900 10.50.0.0/24 10.50.0.1 masquerade",
    "cable hwdb010000000 hwdb010000000c 02:42:0a:32:00:02 1500",
    "attach hwdb010000000",
    "cable hw3eb10000000 hw3eb10000000c 02:42:0a:32:00:03 1500",
    "attach hw3eb10000000",
    "endpoint hwdb010000000 540900 10.50.0.2 02:42:0a:32:00:02",
    "port tcp 0.0.0.0 8080 -> 10.50.0.2 80",
  ]);
});
