// What dockerd 20.10 was seen to send, word for word, and what it gets.
import test from "ava";
import { encodeJoin } from "../../../src/libnetwork/codec.ts";
import { parseCidr, parseIp } from "../../../src/std/ip.ts";
import { serve } from "./dockerd.ts";

const net = "918f".padEnd(64, "0");
const eth = "2cad".padEnd(64, "0");
const both = {
  NetworkID: net,
  Options: { "com.docker.network.enable_ipv6": true, "com.docker.network.generic": { "com.docker.network.driver.mtu": "1400", foo: "bar" } },
  IPv4Data: [{ AddressSpace: "probelocal", AuxAddresses: { a: "10.50.0.5/24" }, Gateway: "10.50.0.1/24", Pool: "10.50.0.0/24" }],
  IPv6Data: [{ AddressSpace: "probelocal", Gateway: "fd00:50::1/64", Pool: "fd00:50::/64" }],
};
const ports = {
  "com.docker.network.endpoint.exposedports": [{ Proto: 17, Port: 9002 }, { Proto: 6, Port: 7777 }],
  "com.docker.network.portmap": [
    { Proto: 17, IP: "", Port: 9002, HostIP: "", HostPort: 9002, HostPortEnd: 9002 },
    { Proto: 6, IP: "", Port: 80, HostIP: "127.0.0.1", HostPort: 8080, HostPortEnd: 8080 },
    { Proto: 6, IP: "", Port: 443, HostIP: "", HostPort: 0, HostPortEnd: 0 },
  ],
};
const endpoint = (change: object = {}) => ({
  NetworkID: net, EndpointID: eth, Interface: { Address: "10.50.0.2/24", AddressIPv6: "", MacAddress: "" },
  Options: { "com.docker.network.endpoint.exposedports": [], "com.docker.network.portmap": [] }, ...change,
});
const ref = { NetworkID: net, EndpointID: eth };

test("activation and capabilities", async (t) => {
  const { call } = await serve(t);
  const answers = [];
  for (const name of ["Plugin.Activate", "NetworkDriver.GetCapabilities", "IpamDriver.GetCapabilities", "IpamDriver.GetDefaultAddressSpaces"]) {
    answers.push(await call(`/${name}`));
  }
  t.deepEqual(answers.map(({ status, json }) => ({ status, json })), [
    { status: 200, json: { Implements: ["NetworkDriver", "IpamDriver"] } },
    { status: 200, json: { Scope: "local", ConnectivityScope: "local" } },
    { status: 200, json: { RequiresMACAddress: false, RequiresRequestReplay: false } },
    { status: 200, json: { LocalDefaultAddressSpace: "hawserlocal", GlobalDefaultAddressSpace: "hawserglobal" } },
  ]);
});

test("a container's whole life, as `docker run -p` and `docker rm -f` bring it", async (t) => {
  const { call, steps, state } = await serve(t);
  const replies = [];
  for (const [name, body] of [
    ["CreateNetwork", both],
    ["CreateEndpoint", endpoint({ Options: ports })],
    ["Join", { ...ref, SandboxKey: "/run/docker/netns/dd820f0eaf68", Options: ports }],
    ["ProgramExternalConnectivity", { ...ref, Options: ports }],
    ["EndpointOperInfo", ref],
    ["RevokeExternalConnectivity", ref],
    ["Leave", ref],
    ["DeleteEndpoint", ref],
    ["DeleteNetwork", { NetworkID: net }],
  ] as const) {
    const { status, json } = await call(`/NetworkDriver.${name}`, body);
    replies.push(`${status} ${JSON.stringify(json)}`);
  }
  t.deepEqual(replies, [
    "200 {}",
    '200 {"Interface":{"MacAddress":"02:42:0a:32:00:02"}}',
    '200 {"InterfaceName":{"SrcName":"hw2cad0000000c","DstPrefix":"eth"},"Gateway":"10.50.0.1","StaticRoutes":[],"DisableGatewayService":false}',
    "200 {}",
    '200 {"Value":{"com.docker.network.endpoint.macaddress":"02:42:0a:32:00:02","com.docker.network.portmap":[' +
      '{"Proto":6,"IP":"10.50.0.2","Port":80,"HostIP":"127.0.0.1","HostPort":8080,"HostPortEnd":8080},' +
      '{"Proto":6,"IP":"10.50.0.2","Port":443,"HostIP":"0.0.0.0","HostPort":53248,"HostPortEnd":53248},' +
      '{"Proto":17,"IP":"10.50.0.2","Port":9002,"HostIP":"0.0.0.0","HostPort":9002,"HostPortEnd":9002}]}}',
    "200 {}", "200 {}", "200 {}", "200 {}",
  ]);
  t.deepEqual(steps, [
    "network 918f00 10.50.0.0/24 10.50.0.1 fd00:50::/64 fd00:50::1 masquerade",
    "cable hw2cad0000000 hw2cad0000000c 02:42:0a:32:00:02 1400",
    "attach hw2cad0000000",
    "endpoint hw2cad0000000 918f00 10.50.0.2 02:42:0a:32:00:02",
    "claimPort tcp 127.0.0.1 8080 -> 10.50.0.2 80",
    "claimPort tcp 0.0.0.0 53248 -> 10.50.0.2 443",
    "claimPort udp 0.0.0.0 9002 -> 10.50.0.2 9002",
    "port tcp 127.0.0.1 8080 -> 10.50.0.2 80",
    "port tcp 0.0.0.0 53248 -> 10.50.0.2 443",
    "port udp 0.0.0.0 9002 -> 10.50.0.2 9002",
    "removePort tcp 127.0.0.1 8080 -> 10.50.0.2 80",
    "removePort tcp 0.0.0.0 53248 -> 10.50.0.2 443",
    "removePort udp 0.0.0.0 9002 -> 10.50.0.2 9002",
    "removeEndpoint hw2cad0000000 918f00 10.50.0.2 02:42:0a:32:00:02",
    "detach hw2cad0000000",
    "removeCable hw2cad0000000 hw2cad0000000c 02:42:0a:32:00:02 1400",
    "removeNetwork 918f00 10.50.0.0/24 10.50.0.1 fd00:50::/64 fd00:50::1 masquerade",
  ]);
  t.is(state().networks.size + state().endpoints.size, 0);
});

test("a static MAC comes as text and again as base64, and is not answered", async (t) => {
  const { call, state } = await serve(t);
  await call("/NetworkDriver.CreateNetwork", both);
  const options = {
    "com.docker.network.endpoint.exposedports": [], "com.docker.network.endpoint.macaddress": "AhEiM0RV", "com.docker.network.portmap": [], "example.rate": "10mbit",
    "com.docker.network.endpoint.dnsservers": ["1.1.1.1"],
  };
  const named = await call("/NetworkDriver.CreateEndpoint", endpoint({ Interface: { Address: "10.50.0.2/24", AddressIPv6: "fd00:50::2/64", MacAddress: "02:11:22:33:44:55" }, Options: options }));
  t.deepEqual(named.json, { Interface: {} });
  const second = "dead".padEnd(64, "0");
  const encoded = await call("/NetworkDriver.CreateEndpoint", endpoint({ EndpointID: second, Interface: { Address: "10.50.0.3/24" }, Options: { ...options, "com.docker.network.endpoint.macaddress": "AhEiM0RW" } }));
  t.deepEqual(encoded.json, { Interface: {} });
  t.deepEqual([...state().endpoints.values()].map((one) => `${one.mac} ${one.ipv6}`), ["02:11:22:33:44:55 fd00:50::2/64", "02:11:22:33:44:56 null"]);
});

test("an internal network has no gateway to give, and its endpoints come without options", async (t) => {
  const { call } = await serve(t);
  const internal = { ...both, IPv6Data: [], Options: { "com.docker.network.enable_ipv6": false, "com.docker.network.generic": {}, "com.docker.network.internal": true } };
  await call("/NetworkDriver.CreateNetwork", internal);
  await call("/NetworkDriver.CreateEndpoint", endpoint({ Options: {} }));
  const joined = await call("/NetworkDriver.Join", { ...ref, SandboxKey: "/run/docker/netns/dd820f0eaf68", Options: ports });
  t.deepEqual(joined.json, { InterfaceName: { SrcName: "hw2cad0000000c", DstPrefix: "eth" }, StaticRoutes: [], DisableGatewayService: true });
});

test("routes are told as libnetwork's next hops", (t) => {
  const reply = { sourceName: "hw2cad0000000c", destinationPrefix: "eth", destinationName: null, gateway4: null, gateway6: null, disableGatewayService: true };
  t.deepEqual(encodeJoin({ ...reply, routes: [{ destination: parseCidr("10.44.2.0/26"), gateway: parseIp("10.44.1.1") }, { destination: parseCidr("fd44:0:0:2::/80"), gateway: parseIp("fd44::1") }] }), {
    InterfaceName: { SrcName: "hw2cad0000000c", DstPrefix: "eth" }, DisableGatewayService: true,
    StaticRoutes: [{ Destination: "10.44.2.0/26", RouteType: 0, NextHop: "10.44.1.1" }, { Destination: "fd44:0:0:2::/80", RouteType: 0, NextHop: "fd44::1" }],
  });
});

test("IPAM as `docker network create` and `docker run` use it", async (t) => {
  const { call, state } = await serve(t);
  const named = { AddressSpace: "probelocal", Pool: "10.50.0.0/24", SubPool: "10.50.0.128/25", Options: { k: "v" }, V6: false };
  const gateway = { RequestAddressType: "com.docker.network.gateway" };
  const replies = [];
  for (const [name, body] of [
    ["RequestPool", named],
    ["RequestAddress", { PoolID: "10.50.0.0/24", Address: "10.50.0.1", Options: gateway }],
    ["RequestAddress", { PoolID: "10.50.0.0/24", Address: "10.50.0.5", Options: null }],
    ["RequestAddress", { PoolID: "10.50.0.0/24", Address: "", Options: { "com.docker.network.endpoint.macaddress": "02:42:c1:dd:9f:06" } }],
    ["RequestPool", { AddressSpace: "hawserlocal", Pool: "", SubPool: "", Options: {}, V6: false }],
    ["RequestAddress", { PoolID: "10.44.0.0/26", Address: "", Options: gateway }],
    ["RequestPool", { AddressSpace: "hawserlocal", Pool: "", SubPool: "", Options: null, V6: true }],
    ["ReleaseAddress", { PoolID: "10.50.0.0/24", Address: "10.50.0.128" }],
    ["ReleasePool", { PoolID: "10.44.0.0/26" }],
    ["ReleasePool", { PoolID: "10.44.0.0/26" }],
  ] as const) {
    replies.push((await call(`/IpamDriver.${name}`, body)).text);
  }
  t.deepEqual(replies, [
    '{"PoolID":"10.50.0.0/24","Pool":"10.50.0.0/24","Data":{}}',
    '{"Address":"10.50.0.1/24","Data":{}}',
    '{"Address":"10.50.0.5/24","Data":{}}',
    '{"Address":"10.50.0.128/24","Data":{}}',
    '{"PoolID":"10.44.0.0/26","Pool":"10.44.0.0/26","Data":{}}',
    '{"Address":"10.44.0.1/26","Data":{}}',
    '{"PoolID":"fd44::/80","Pool":"fd44::/80","Data":{}}',
    "{}", "{}", "{}",
  ]);
  t.deepEqual(Object.keys(state().pools.get("10.50.0.0/24" as never)?.allocated ?? {}), ["10.50.0.1", "10.50.0.5"]);
});

test("calls that mean nothing here are answered", async (t) => {
  const { call } = await serve(t);
  const discovered = { DiscoveryType: 1, DiscoveryData: { Address: "127.0.0.1", BindAddress: "127.0.0.1", Self: true } };
  t.deepEqual((await call("/NetworkDriver.DiscoverNew", discovered)).json, {});
  t.deepEqual((await call("/NetworkDriver.DiscoverDelete", discovered)).json, {});
  t.deepEqual((await call("/NetworkDriver.AllocateNetwork", { ...both, Options: {} })).json, { Options: {} });
  t.deepEqual((await call("/NetworkDriver.FreeNetwork", { NetworkID: net })).json, {});
  t.deepEqual((await call("/NetworkDriver.GwAllocCheck", { Options: both.Options })).json, { SkipIPv4: false, SkipIPv6: false });
});

test("what Docker takes for gone is gone: unknown ids are fine where it only logs, and have nothing to tell (R95)", async (t) => {
  const { call } = await serve(t);
  for (const name of ["RevokeExternalConnectivity", "Leave", "DeleteEndpoint"]) t.deepEqual((await call(`/NetworkDriver.${name}`, ref)).json, {});
  t.deepEqual((await call("/NetworkDriver.DeleteNetwork", { NetworkID: net })).json, {});
  t.deepEqual((await call("/NetworkDriver.EndpointOperInfo", ref)).json, { Value: {} });
});

test("an engine from 28 on may leave out IPv4, and names the interface", async (t) => {
  const { call } = await serve(t);
  const six = { ...both, IPv4Data: [], Options: { ...both.Options, "com.docker.network.enable_ipv4": false } };
  t.deepEqual((await call("/NetworkDriver.CreateNetwork", six)).json, {});
  await call("/NetworkDriver.CreateEndpoint", endpoint({ Interface: { Address: "", AddressIPv6: "fd00:50::2/64", MacAddress: "" }, Options: { "com.docker.network.endpoint.ifname": "lan0" } }));
  t.deepEqual((await call("/NetworkDriver.Join", { ...ref, SandboxKey: "/var/run/docker/netns/dd820f0eaf68" })).json, {
    InterfaceName: { SrcName: "hw2cad0000000c", DstPrefix: "eth", DstName: "lan0" }, GatewayIPv6: "fd00:50::1", StaticRoutes: [], DisableGatewayService: false,
  });
});
