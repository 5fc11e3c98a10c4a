// Networks: what is made of a request, and every wrong one is refused with a sentence.
import test from "ava";
import { createNetwork } from "../../../src/network/create-network.ts";
import { deleteNetwork } from "../../../src/network/delete-network.ts";
import { requestAddress } from "../../../src/network/request-address.ts";
import { requestPool } from "../../../src/network/request-pool.ts";
import type { Context } from "../../../src/network/types.ts";
import { emptyState } from "../../../src/network/types.ts";
import { after, cidr, context, db, dual, endpoint, ip, joined, joining, made, network, networkId, plugged, pool, poolId, printSteps, published, refusal, shop } from "./world.ts";

const refused = (change: Parameters<typeof network>[0]) => refusal(() => createNetwork(emptyState, network(change), context));

test("a network is one step on the host, with both families", (t) => {
  const { next, steps } = createNetwork(emptyState, network(dual), context);
  t.deepEqual(printSteps(steps), ["network 540900 10.50.0.0/24 10.50.0.1 fd50::/64 fd50::1 masquerade"]);
  t.like(next.networks.get(shop), { name: null, icc: true, masquerade: true, internal: false, mtu: null, interfacePrefix: "eth" });
});

test("Docker's options and our own names for them mean the same", (t) => {
  const options = {
    "com.docker.network.driver.mtu": "1400", "com.docker.network.bridge.enable_ip_masquerade": "F", "hawser.icc": "0",
    "com.docker.network.bridge.host_binding_ipv4": "127.0.0.1", "com.docker.network.host_ipv4": "192.0.2.10",
    "com.docker.network.container_iface_prefix": "lan", "com.docker.network.bridge.gateway_mode_ipv4": "nat", foo: "bar", flag: "",
  };
  const { next, steps } = createNetwork(emptyState, network({ options, internal: true }), context);
  t.deepEqual(printSteps(steps), ["network 540900 10.50.0.0/24 10.50.0.1 internal no-icc"]);
  t.like(next.networks.get(shop), {
    mtu: 1400, masquerade: false, icc: false, hostBinding4: "127.0.0.1", snat4: "192.0.2.10", interfacePrefix: "lan", options,
  });
});

const wrongOptions: readonly (readonly [string, string, string])[] = [
  ["com.docker.network.driver.mtu", "banana", 'BAD_OPTION: option com.docker.network.driver.mtu: "banana" is not a whole number from 576 to 65535'],
  ["hawser.mtu", "575", 'BAD_OPTION: option hawser.mtu: "575" is not a whole number from 576 to 65535'],
  ["hawser.mtu", "65536", 'BAD_OPTION: option hawser.mtu: "65536" is not a whole number from 576 to 65535'],
  ["hawser.mtu", "", 'BAD_OPTION: option hawser.mtu: "" is not a whole number from 576 to 65535'],
  ["com.docker.network.bridge.enable_icc", "yes", 'BAD_OPTION: option com.docker.network.bridge.enable_icc: "yes" is not true or false'],
  ["com.docker.network.bridge.enable_ip_masquerade", "", 'BAD_OPTION: option com.docker.network.bridge.enable_ip_masquerade: "" is not true or false'],
  ["com.docker.network.bridge.host_binding_ipv4", "::1", 'BAD_OPTION: option com.docker.network.bridge.host_binding_ipv4: "::1" is not an IPv4 address'],
  ["com.docker.network.bridge.host_binding_ipv4", "192.0.2.99", "BAD_OPTION: option com.docker.network.bridge.host_binding_ipv4: the host has no address 192.0.2.99; it has 192.0.2.10, 2001:db8::10"],
  ["com.docker.network.host_ipv6", "2001:db8::99", "BAD_OPTION: option com.docker.network.host_ipv6: the host has no address 2001:db8::99; it has 192.0.2.10, 2001:db8::10"],
  ["com.docker.network.container_iface_prefix", "e/h", 'BAD_OPTION: option com.docker.network.container_iface_prefix: "e/h" is not 1 to 12 letters, digits, dots, dashes or underscores'],
  ["com.docker.network.bridge.name", "br0", "UNSUPPORTED: option com.docker.network.bridge.name is not supported: Hawser has no bridge to name"],
  ["com.docker.network.bridge.inhibit_ipv4", "true", "UNSUPPORTED: option com.docker.network.bridge.inhibit_ipv4=true is not supported: the gateway's address is Hawser's own"],
  ["com.docker.network.bridge.gateway_mode_ipv4", "routed", "UNSUPPORTED: option com.docker.network.bridge.gateway_mode_ipv4=routed is not supported; Hawser does nat only"],
  ["com.docker.network.bridge.gateway_mode_ipv6", "Nat", 'BAD_OPTION: option com.docker.network.bridge.gateway_mode_ipv6: "Nat" is not nat'],
  ["com.docker.network.driver.mut", "1400", "BAD_OPTION: option com.docker.network.driver.mut is not known; the nearest known one is com.docker.network.driver.mtu"],
  ["com.docker.network.mtu", "1400", "BAD_OPTION: option com.docker.network.mtu is not known; the nearest known one is com.docker.network.driver.mtu"],
  ["hawser.bogus", "1", "BAD_OPTION: option hawser.bogus is not known; what is known here: hawser.mtu, hawser.masquerade, hawser.icc, hawser.host_binding_ipv4, hawser.host_binding_ipv6, hawser.host_ipv4, hawser.host_ipv6, hawser.container_iface_prefix"],
  ["hawser.masqerade", "true", "BAD_OPTION: option hawser.masqerade is not known; the nearest known one is hawser.masquerade"],
  ["com.docker.network.enable_ipv6", "true", "UNSUPPORTED: option com.docker.network.enable_ipv6 is not supported: use --ipv6 instead of -o"],
];

for (const [key, value, sentence] of wrongOptions) {
  test(`-o ${key}=${value} is refused with a sentence that names it`, (t) => t.is(refused({ options: { [key]: value } }), sentence));
}

test("IPv6 asks for a larger least MTU", (t) => {
  t.is(refused({ ...dual, options: { "hawser.mtu": "1279" } }), 'BAD_OPTION: option hawser.mtu: "1279" is not a whole number from 1280 to 65535 (1280 is the least that IPv6 allows)');
});

test("two keys that mean the same may agree, but not differ", (t) => {
  const options = (own: string): Record<string, string> => ({ "com.docker.network.driver.mtu": "1400", "hawser.mtu": own });
  t.is(refused({ options: options("1400") }), "accepted");
  t.is(refused({ options: options("1401") }), "BAD_OPTION: options com.docker.network.driver.mtu and hawser.mtu mean the same and differ; give one of them");
});

const wrongSubnets: readonly (readonly [string, string | null, string])[] = [
  ["10.50.0.0/33", null, 'BAD_REQUEST: IPv4Data.Pool: "10.50.0.0/33" has a prefix longer than its address'],
  ["10.50.0.0", null, 'BAD_REQUEST: IPv4Data.Pool: "10.50.0.0" is not an address with a prefix length, such as 10.44.0.0/24'],
  ["0.0.0.0/0", null, "UNSUPPORTED: IPv4Data.Pool: 0.0.0.0/0 is no subnet; Hawser needs an IPAM driver that hands out addresses"],
  ["10.50.0.7/32", null, "BAD_OPTION: IPv4Data.Pool: 10.50.0.7/32 has one address only; a network needs two or more (--subnet)"],
  ["127.8.0.0/16", null, "BAD_OPTION: IPv4Data.Pool: 127.8.0.0/16 overlaps 127.0.0.0/8 (loopback); choose another --subnet"],
  ["fd50::/64", null, "BAD_REQUEST: IPv4Data.Pool: fd50::/64 is not an IPv4 prefix"],
  ["192.0.2.0/25", "192.0.2.1", "OVERLAP: IPv4Data.Pool: 192.0.2.0/25 overlaps 192.0.2.10/24 of the host's own address 192.0.2.10; choose another --subnet"],
  ["10.50.0.0/24", "10.51.0.1", "BAD_OPTION: IPv4Data.Gateway: 10.51.0.1 is no host's address in the subnet 10.50.0.0/24 (--gateway)"],
  ["10.50.0.0/24", "10.50.0.255/24", "BAD_OPTION: IPv4Data.Gateway: 10.50.0.255 is no host's address in the subnet 10.50.0.0/24 (--gateway)"],
];

test("R79: a subnet in which a service's address lies is refused", (t) => {
  const held: Context = { ...context, frontends: () => [{ service: "web", address: ip("10.50.0.9"), port: 80, protocol: "tcp" }, { service: "far", address: ip("fd50::9"), port: 80, protocol: "tcp" }] };
  const refusedBeside = (change: Parameters<typeof network>[0]) => refusal(() => createNetwork(emptyState, network(change), held));
  t.is(refusedBeside({}), "OVERLAP: IPv4Data.Pool: 10.50.0.0/24 overlaps 10.50.0.9/32 of service web; choose another --subnet");
  t.is(refusedBeside({ enableIpv4: false, enableIpv6: true, ipv6: [{ pool: "fd50::/64", gateway: "fd50::1/64", aux: {} }] }), "OVERLAP: IPv6Data.Pool: fd50::/64 overlaps fd50::9/128 of service far; choose another --subnet");
  t.notThrows(() => createNetwork(emptyState, network({ ipv4: [{ pool: "10.51.0.0/24", gateway: "10.51.0.1/24", aux: {} }] }), held));
});

for (const [prefix, gateway, sentence] of wrongSubnets) {
  test(`subnet ${prefix} with gateway ${gateway} is refused`, (t) => t.is(refused({ ipv4: [{ pool: prefix, gateway, aux: {} }] }), sentence));
}

test("aux addresses must lie in the subnet and not be the gateway", (t) => {
  const aux = (address: string) => refused({ ipv4: [{ pool: "10.50.0.0/24", gateway: "10.50.0.1", aux: { router: address } }] });
  t.is(aux("10.50.0.5/24"), "accepted");
  t.is(aux("10.51.0.5/24"), "BAD_OPTION: AuxAddresses: router=10.51.0.5 does not lie in the subnet 10.50.0.0/24 (--aux-address)");
  t.is(aux("10.50.0.1"), "BAD_OPTION: AuxAddresses: router=10.50.0.1 is the gateway; choose another (--aux-address)");
});

test("one subnet per family, at least one family, and IPv6 only where the node speaks it", (t) => {
  const second = { pool: "10.51.0.0/24", gateway: null, aux: {} };
  t.regex(refused({ ipv4: [...network().ipv4, second] }), /^UNSUPPORTED: .*10\.50\.0\.0\/24 and 10\.51\.0\.0\/24/);
  t.regex(refused({ ipv4: [] }), /^BAD_REQUEST: IPv4Data/);
  t.regex(refused({ enableIpv4: false }), /^BAD_REQUEST: a network needs IPv4 or IPv6/);
  t.is(refused({ ...dual, enableIpv4: false, ipv4: [] }), "accepted");
  t.regex(refusal(() => createNetwork(emptyState, network(dual), { ...context, ipv6: false })), /^UNSUPPORTED: this node does not speak IPv6/);
});

test("where Docker names no gateway, the first address that nobody holds is it", (t) => {
  const reserved = requestPool(emptyState, pool({ pool: "10.50.0.0/24" }), context).next;
  const held = requestAddress(reserved, { pool: poolId("10.50.0.0/24"), address: "10.50.0.1", purpose: "endpoint" }, context).next;
  const { next } = createNetwork(held, network({ ipv4: [{ pool: "10.50.0.0/24", gateway: null, aux: { a: "10.50.0.2" } }] }), context);
  t.is(next.networks.get(shop)?.ipv4?.gateway as string, "10.50.0.3");
  t.is(next.pools.get(poolId("10.50.0.0/24"))?.allocated["10.50.0.2" as never]?.purpose, "aux");
});

test("networks may not overlap", (t) => {
  const state = after(made(network()));
  const other = network({ id: networkId("0ff1ce"), ipv4: [{ pool: "10.50.0.128/25", gateway: "10.50.0.129/25", aux: {} }] });
  t.is(refusal(() => createNetwork(state, other, context)), "OVERLAP: IPv4Data.Pool: 10.50.0.128/25 overlaps 10.50.0.0/24 of network 540900000000; choose another --subnet");
});

test("the same request again changes nothing, another one with the same id is refused", (t) => {
  const state = after(made(network(dual)));
  const again = createNetwork(state, network(dual), context);
  t.is(again.next, state);
  t.deepEqual(again.steps, []);
  t.regex(refusal(() => createNetwork(state, network(), context)), /^ALREADY_EXISTS/);
});

test("numbers come from the id, step aside when taken, and are never 0", (t) => {
  const at = (third: number, id: string) => network({ id: networkId(id), ipv4: [{ pool: `10.50.${third}.0/24`, gateway: null, aux: {} }] });
  const state = after(made(at(0, "ffffff1")), made(at(1, "ffffff2")), made(at(2, "000000")));
  t.deepEqual([...state.networks.values()].map((one) => one.number), [0xffffff, 1, 2]);
});

test("a host address that is our own gateway is no obstacle to its network's subnet", (t) => {
  const state = after(made(network()));
  const seen = { ...context, hostPrefixes: [...context.hostPrefixes, cidr("10.50.0.1/32")] };
  t.is(createNetwork(state, network(), seen).next, state);
});

test("deleting removes what Docker has forgotten on it, unpublishing first; deleting what is not there is fine", (t) => {
  const state = after(made(network()), plugged(endpoint()), joined(joining()), published(db, "8080:80"));
  const { next, steps } = deleteNetwork(state, shop);
  t.deepEqual(printSteps(steps), [
    "removePort tcp 0.0.0.0 8080 -> 10.50.0.2 80",
    "removeEndpoint hwdb010000000 540900 10.50.0.2 02:42:0a:32:00:02",
    "detach hwdb010000000",
    "removeCable hwdb010000000 hwdb010000000c 02:42:0a:32:00:02 1500",
    "removeNetwork 540900 10.50.0.0/24 10.50.0.1 masquerade",
  ]);
  t.deepEqual(next, emptyState);
  t.deepEqual(deleteNetwork(next, shop), { next, steps: [], reply: undefined });
});
