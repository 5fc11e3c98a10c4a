// The balancer on a device, before the driver and in generic mode: what a client sends comes back over the wire, wrapped for its server.
//
//   lan0 (client, gateway) ── wan0 (192.0.2.1, XDP)
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { u32 } from "../../../src/abi/codec.ts";
import { configCodec, uplinkCodec } from "../../../src/abi/generated.ts";
import { createKernel } from "../../../src/kernel/index.ts";
import type { KernelMap } from "../../../src/kernel/types.ts";
import { parseIp, parseMac } from "../../../src/std/ip.ts";
import { isolatedTests } from "../kernel/isolated.ts";
import { describe, frame, protocols } from "../packets.ts";
import { openLbTables } from "./tables.ts";
import { gateway, out, request, to4, uplink, web4 } from "./world.ts";

const test = isolatedTests(import.meta.url);

/** Sends a frame out of lan0, and prints the first that comes in there with the ethertype of IPv4. */
const probe = `
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind(("lan0", 0))
s.settimeout(5)
s.send(bytes.fromhex(sys.argv[1]))
while True:
    data, where = s.recvfrom(2048)
    if where[2] != socket.PACKET_OUTGOING and data[12:14] == bytes.fromhex("0800"):
        print(data.hex())
        break
`;

for (const mode of ["native", "generic"] as const) {
  test(`${mode}: a frame for a service goes back out of the device that it came by, for its server`, async () => {
    const ip = (words: string): string => execFileSync("ip", words.split(" "), { encoding: "utf8" });
    for (const words of [
      `link add wan0 address ${uplink} type veth peer name lan0 address ${gateway}`, "link set wan0 up", "link set lan0 up", "address add 192.0.2.1/24 dev wan0",
      "route add default via 192.0.2.254", `neighbour add 192.0.2.254 lladdr ${gateway} dev wan0 nud permanent`,
    ]) ip(words);
    writeFileSync("/proc/sys/net/ipv4/conf/wan0/forwarding", "1");
    const ifindex = (name: string): number => (JSON.parse(ip(`-j link show ${name}`)) as readonly { readonly ifindex: number }[])[0]?.ifindex ?? 0;
    const kernel = createKernel();
    const hw_config = configCodec.encode({
      hostIfindex: ifindex("wan0"), hz: 250, hostMac: parseMac(uplink), betweenNetworks: 0, ipv6: 1, ephemeralLow: 32768, ephemeralHigh: 60999, setRetval: 0, hostNetnsCookie: 0n, agentPid: 0,
      publishedDeny: 0, unidentifiedAllow: 0, mark: 0, tunnelIfindex: 0, tunnelPort: 6081, tunnelHeader: 0x6558, probePort: 0, native: 0, services: 1, lbIpv4: 0xc0000201, lbIpv6: null, nodeIpv4: 0xc0000201, nodeIpv6: null, snatFirst: 0, snatPorts: 0,
    });
    using object = await kernel.loadObject(join(import.meta.dirname, "../../../build/bpf/xdp-lb.bpf.o"), { rodata: { hw_config } });
    const mapOf = (name: string): KernelMap => object.maps.get(name) ?? assert.fail(name);
    const tables = openLbTables(kernel, mapOf, () => 0);
    mapOf("hw_uplinks").set(u32.encode(ifindex("wan0")), uplinkCodec.encode({ ipv4: null, ipv6: null, mtu: 1500, accelerated: 1, ownIpv4: 0, ownIpv6: 0 }));
    tables.setBackend(1, { address: parseIp("172.16.1.1"), port: 80, mode: "IPIP" });
    tables.setService({ number: 1, slots: [{ current: 1 }], flags: 0, affinity: 0 });
    tables.frontends.set({ address: parseIp(web4), port: 80, protocol: protocols.tcp, service: 1, number: 1, shared: false });
    const program = object.programs.get("xdp_lb") ?? assert.fail("xdp_lb");
    using _wan = kernel.attachXdp(program, ifindex("wan0"), mode);
    // A veth hands frames over before the driver only to one that takes them there.
    using _lan = kernel.attachXdp(program, ifindex("lan0"), mode);
    const sent = Buffer.from(frame(gateway, uplink, to4(request("A")))).toString("hex");
    const got = Buffer.from(execFileSync("python3", ["-c", probe, sent], { encoding: "utf8" }).trim(), "hex");
    assert.equal(describe(got), `${out} 192.0.2.1 > 172.16.1.1 ipip { 198.51.100.7:5000 > 203.0.113.10:80 tcp A ttl 64 } ttl 64`);
  });
}
