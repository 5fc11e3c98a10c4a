// Every doer against the real kernel: done, done again, undone, undone again.
import assert from "node:assert/strict";
import { createServer } from "node:net";
import { parseIp } from "../../../src/std/ip.ts";
import type { HawserError } from "../../../src/std/errors.ts";
import { filters, sits, tcMode, tcx } from "./abilities.ts";
import { inOwnHost, nodeMac, sysctl } from "./namespace.ts";
import { doAll, undoAll } from "./perform.ts";
import { cableA, desired, endpointA, port, shop } from "./plans.ts";

await inOwnHost(import.meta.url, {
  "a network owns its gateways and its subnets' routes on hwhost": async ({ open, ip }) => {
    await using datapath = await open();
    const step = { kind: "network", network: shop } as const;
    await datapath.doers.network.do(step);
    await datapath.doers.network.do(step);
    assert.match(ip("route show 10.44.0.0/24"), /dev hwhost .*src 10\.44\.0\.1/);
    assert.match(ip("-6 route show fd44::/64"), /dev hwhost .*src fd44::1/);
    assert.match(ip("-6 address show dev hwhost"), /fd44::1\/128/);
    assert.deepEqual(datapath.dumpMap("hw_networks", 10), [
      { key: 1, value: { gateway4: "10.44.0.1", gateway6: "fd44::1", snat4: null, snat6: null, flags: 12, broadcast4: 0x0a2c00ff, key: 0 } },
    ]);
    assert.deepEqual(datapath.dumpMap("hw_host_addrs", 10).find((entry) => entry.key === "10.44.0.1")?.value, { flags: 2, network: 1 });

    await datapath.doers.network.undo(step);
    await datapath.doers.network.undo(step);
    assert.equal(ip("route show dev hwhost") + ip("-6 route show dev hwhost"), "");
    assert.doesNotMatch(ip("address show dev hwhost"), /10\.44|fd44/);
    assert.deepEqual(datapath.dumpMap("hw_networks", 10), []);
  },

  "a cable has the node's MAC at the host and the container's at the far end, and speaks no IPv6 of its own (R40)": async ({ open, netlink, ip }) => {
    await using datapath = await open();
    const step = { kind: "cable", cable: cableA } as const;
    await datapath.doers.cable.do(step);
    await datapath.doers.cable.do(step);
    const [host, container] = [await netlink.link(cableA.hostInterface), await netlink.link(cableA.containerInterface)];
    assert.deepEqual([host?.mac, host?.mtu, host?.up], [nodeMac, 1400, true]);
    assert.deepEqual([container?.mac, container?.mtu, container?.up], [cableA.mac, 1400, false]);
    assert.equal(sysctl(`ipv6/conf/${cableA.hostInterface}/disable_ipv6`), "1");
    ip(`link set ${cableA.containerInterface} up`);
    assert.equal(ip(`-6 address show dev ${cableA.hostInterface}`), "");

    await datapath.doers.cable.undo(step);
    await datapath.doers.cable.undo(step);
    assert.equal(await netlink.link(cableA.containerInterface), undefined);
  },

  "programs sit on both hooks of a cable, under pins or as filters, and go with undo": async ({ open, bpffs }) => {
    await using datapath = await open();
    const step = { kind: "attach", cable: cableA } as const;
    await assert.rejects(datapath.doers.attach.do(step), { code: "KERNEL" });
    await datapath.doers.cable.do({ kind: "cable", cable: cableA });
    await datapath.doers.attach.do(step);
    await datapath.doers.attach.do(step);
    const rows = datapath.inspect().programs.filter((row) => row.device === cableA.hostInterface);
    assert.deepEqual(rows.map((row) => `${row.name} ${row.hook} ${row.mode}`), [`from_container ingress ${tcMode}`, `to_container egress ${tcMode}`]);
    assert.ok(sits(bpffs, "from_container", cableA.hostInterface, "ingress") && sits(bpffs, "to_container", cableA.hostInterface, "egress"));

    await datapath.doers.attach.undo(step);
    await datapath.doers.attach.undo(step);
    assert.deepEqual(datapath.inspect().programs.filter((row) => row.device === cableA.hostInterface), []);
    assert.deepEqual([...filters(cableA.hostInterface, "ingress"), ...filters(cableA.hostInterface, "egress")], []);
  },

  "programs are attached anew when a device was made again under the name of a dead pin": async ({ open, kernel, bpffs }) => {
    await using datapath = await open();
    const { doers } = datapath;
    await doAll(doers, [{ kind: "cable", cable: cableA }, { kind: "attach", cable: cableA }]);
    const path = `${bpffs}/links/to_container@${cableA.hostInterface}`;
    const first = tcx ? linkId(kernel.openPinnedLink(path)) : undefined;
    await doers.cable.undo({ kind: "cable", cable: cableA });
    await doAll(doers, [{ kind: "cable", cable: cableA }, { kind: "attach", cable: cableA }]);
    if (tcx) assert.notEqual(linkId(kernel.openPinnedLink(path)), first);
    assert.ok(sits(bpffs, "from_container", cableA.hostInterface, "ingress") && sits(bpffs, "to_container", cableA.hostInterface, "egress"));
  },

  "an endpoint is known by device and by address, and undo finds it after its device is gone": async ({ open, netlink }) => {
    await using datapath = await open();
    const { doers } = datapath;
    const step = { kind: "endpoint", endpoint: endpointA } as const;
    await assert.rejects(doers.endpoint.do(step), { code: "KERNEL" });
    await doers.cable.do({ kind: "cable", cable: cableA });
    await doers.endpoint.do(step);
    await doers.endpoint.do(step);
    const index = (await netlink.link(cableA.hostInterface))?.index;
    const value = { ifindex: index, network: 1, identity: 0, mtu: 1400, ipv4: "10.44.0.2", ipv6: "fd44::2", mac: cableA.mac, flags: 12 };
    assert.deepEqual(datapath.dumpMap("hw_endpoints", 10), [{ key: index, value }]);
    assert.deepEqual(sorted(datapath.dumpMap("hw_addresses", 10)), [{ key: "10.44.0.2", value }, { key: "fd44::2", value }]);
    assert.deepEqual(datapath.dumpMap("hw_members", 10), [{ key: { network: 1, slot: 0 }, value: index }], "once, however often it is published");

    await doers.cable.undo({ kind: "cable", cable: cableA });
    await doers.endpoint.undo(step);
    await doers.endpoint.undo(step);
    assert.deepEqual(["hw_endpoints", "hw_addresses", "hw_members"].map((map) => datapath.dumpMap(map, 10)), [[], [], []]);
  },

  "a port is published and withdrawn; another's of the same name stays": async ({ open }) => {
    await using datapath = await open();
    const { doers } = datapath;
    await doers.port.do({ kind: "port", port });
    await doers.port.do({ kind: "port", port });
    const entry = { key: { addr: "0.0.0.0", port: 8080, proto: 6 }, value: { addr: "10.44.0.2", port: 80, network: 1 } };
    assert.deepEqual(datapath.dumpMap("hw_frontends", 10), [entry]);
    await doers.port.undo({ kind: "port", port: { ...port, address: parseIp("10.44.0.3") } });
    assert.deepEqual(datapath.dumpMap("hw_frontends", 10), [entry]);
    await doers.port.undo({ kind: "port", port });
    await doers.port.undo({ kind: "port", port });
    assert.deepEqual(datapath.dumpMap("hw_frontends", 10), []);
  },

  "a port that a program of the host holds is refused by name, a free one is not": async ({ open }) => {
    await using datapath = await open();
    const claim = (changes: object): Promise<void> => datapath.doers.claimPort.do({ kind: "claimPort", port: { ...port, ...changes } });
    await claim({});
    await claim({ protocol: "udp" });
    await claim({ hostIp: parseIp("::") });
    await claim({ protocol: "sctp" });
    const server = createServer().listen(8080, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    await assert.rejects(claim({}), (error: HawserError) => error.code === "PORT_IN_USE" && /0\.0\.0\.0:8080\/tcp/.test(error.message));
    await claim({ protocol: "udp" });
    server.close();
    await assert.rejects(claim({ hostIp: parseIp("198.51.100.7") }), { code: "BAD_REQUEST" });
  },

  "a published port is its own claim, and nobody else's": async ({ open }) => {
    await using datapath = await open();
    await datapath.doers.port.do({ kind: "port", port });
    await datapath.doers.claimPort.do({ kind: "claimPort", port });
    await assert.rejects(datapath.doers.claimPort.do({ kind: "claimPort", port: { ...port, containerPort: 81 } }), { code: "PORT_IN_USE" });
  },

  "everything done and undone leaves nothing behind": async ({ open, netlink }) => {
    await using datapath = await open();
    const before = (await netlink.links()).map((link) => link.name);
    await doAll(datapath.doers, desired);
    await undoAll(datapath.doers, desired);
    assert.deepEqual((await netlink.links()).map((link) => link.name), before);
    for (const map of ["hw_endpoints", "hw_addresses", "hw_members", "hw_networks", "hw_frontends"]) assert.deepEqual(datapath.dumpMap(map, 10), []);
    assert.deepEqual(datapath.inspect().programs.map((row) => row.device).filter((device) => device.startsWith("hwa")), []);
  },
});

function linkId(link: { readonly id: number; close(): void }): number {
  link.close();
  return link.id;
}

function sorted(entries: readonly { readonly key: unknown; readonly value: unknown }[]): unknown[] {
  return entries.toSorted((a, b) => (String(a.key) < String(b.key) ? -1 : 1));
}
