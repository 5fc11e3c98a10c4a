// The host changes under a running datapath: devices, addresses and routes come and go.
import assert from "node:assert/strict";
import type { HostFacts } from "../../../src/datapath/types.ts";
import { parseIp } from "../../../src/std/ip.ts";
import { sits, tcx } from "./abilities.ts";
import { inOwnHost } from "./namespace.ts";
import { shop } from "./plans.ts";

await inOwnHost(import.meta.url, {
  "facts name the uplinks, their smallest MTU and the host's addresses": async ({ open, ip }) => {
    ip("link set wan0 mtu 1400");
    await using datapath = await open();
    assert.deepEqual(datapath.facts, { uplinkMtu: 1400, hostPrefixes: ["192.0.2.10/24", "2001:db8:1::10/64"], uplinks: ["wan0"], lan: ["192.0.2.0/24", "2001:db8:1::/64"], nodeAddresses: ["192.0.2.10", "2001:db8:1::10"], uplinkAddresses: ["192.0.2.10", "2001:db8:1::10"] });
    assert.deepEqual(datapath.dumpMap("hw_uplinks", 10).map((entry) => entry.value), [{ ipv4: "192.0.2.10", ipv6: "2001:db8:1::10", mtu: 1400, accelerated: 0, ownIpv4: 0, ownIpv6: 0 }]);
  },

  "what goes to other nodes comes from the address that the configuration names, and a name without an address is told": async ({ open, ip, until }) => {
    ip("address add 2001:db8:1::20/64 dev wan0 nodad");
    ip("address add 192.0.2.20/24 dev wan0");
    await using datapath = await open({ addresses: ["2001:db8:1::10", "192.0.2.20", "192.0.2.30"].map((text) => parseIp(text)) });
    assert.deepEqual(datapath.facts.nodeAddresses, ["192.0.2.20", "192.0.2.10", "2001:db8:1::10", "2001:db8:1::20"]);
    assert.deepEqual(datapath.facts.uplinkAddresses, ["192.0.2.10", "2001:db8:1::20"]);
    await datapath.doers.clients.do({ kind: "clients", clients: { known: true, namespaces: [] }, before: null });
    assert.deepEqual(datapath.dumpMap("hw_lb_homes", 10).map(({ value }) => value), [{ ipv4: "192.0.2.10", ipv6: "2001:db8:1::20" }], "by which the host's own programs are clients");
    const entry = (index: string): unknown => datapath.dumpMap("hw_uplinks", 10).find(({ key }) => String(key) === index)?.value;
    assert.deepEqual(entry("0"), { ipv4: "192.0.2.20", ipv6: "2001:db8:1::10", mtu: 0, accelerated: 0, ownIpv4: 0, ownIpv6: 0 });
    assert.match(datapath.inspect().problems.join(), /other nodes know this one by 192\.0\.2\.30, which no device of this host has, .* correct node\.address or this node's line in peers/);
    ip("address add 192.0.2.30/24 dev wan0");
    await until("it is there", () => datapath.inspect().problems.length === 0);
    ip("address delete 192.0.2.20/24 dev wan0");
    await until("the next one is taken", () => JSON.stringify(entry("0")).includes("192.0.2.30"));
  },

  "a device that gets a default route becomes an uplink without being asked for (R10)": async ({ open, ip, until }) => {
    await using datapath = await open();
    const seen: HostFacts[] = [];
    using _listening = datapath.onHostChange((facts) => seen.push(facts));
    ip("link add wan1 type veth peer name lan1");
    ip("link set wan1 mtu 1300 up");
    ip("link set lan1 up");
    ip("address add 198.51.100.10/24 dev wan1");
    ip("route add default via 198.51.100.1 metric 50");
    await until("wan1 is an uplink", () => seen.at(-1)?.uplinks.join() === "wan0,wan1" && seen.at(-1)?.uplinkMtu === 1300);
    assert.ok(datapath.inspect().programs.some((row) => row.name === "netdev" && row.device === "wan1"));
    assert.equal(datapath.dumpMap("hw_uplinks", 10).length, 2);
    const macs = (): readonly unknown[] => datapath.dumpMap("hw_uplink_macs", 10).map(({ key }) => (key as { readonly mac: string }).mac).toSorted();
    assert.equal(macs().length, 2);
    ip("link set wan1 address 02:00:00:00:00:77");
    await until("its new MAC is known, and the former forgotten", () => macs().length === 2 && macs().includes("02:00:00:00:00:77"));

    ip("link delete wan1");
    await until("wan1 is gone", () => datapath.facts.uplinks.join() === "wan0");
    assert.equal(datapath.dumpMap("hw_uplinks", 10).length, 1);
    assert.ok(macs().length === 1 && !macs().includes("02:00:00:00:00:77"));
    assert.ok(!datapath.inspect().programs.some((row) => row.device === "wan1"));
  },

  "a named uplink is taken up when it appears, and a VLAN's dot does not hurt": async ({ open, ip, until }) => {
    await using datapath = await open({ devices: ["uplink.7"] });
    assert.match(datapath.inspect().problems.join(), /uplink\.7 does not exist yet/);
    ip("link add uplink.7 type veth peer name other");
    await until("uplink.7 is taken up", () => datapath.facts.uplinks.join() === "uplink.7");
    assert.ok(datapath.inspect().programs.some((row) => row.name === "netdev" && row.device === "uplink.7"));
    assert.deepEqual(datapath.inspect().problems, []);
  },

  "a new device under an old uplink's name gets a program of its own (R10)": async ({ open, ip, kernel, bpffs, until }) => {
    await using datapath = await open();
    const idOf = (name: string): number => {
      using link = kernel.openPinnedLink(`${bpffs}/links/netdev@${name}`);
      return link.id;
    };
    const first = tcx ? idOf("wan0") : undefined;
    ip("link set wan0 down");
    ip("link set wan0 name old0");
    ip("link set old0 up");
    ip("link add wan0 type veth peer name lan1");
    ip("link set wan0 up");
    ip("link set lan1 up");
    ip("address add 198.51.100.10/24 dev wan0");
    ip("route add default via 198.51.100.1 metric 50");
    ip("route add default via 192.0.2.1 metric 70");
    await until("both are uplinks", () => datapath.facts.uplinks.join() === "old0,wan0");
    if (tcx) assert.notEqual(idOf("wan0"), first);
    assert.ok(sits(bpffs, "netdev", "wan0", "ingress") && sits(bpffs, "netdev", "old0", "ingress"));
  },

  "the host's addresses are told to the programs as they come and go (R102)": async ({ open, ip, until }) => {
    await using datapath = await open();
    const addresses = (): string => datapath.dumpMap("hw_host_addrs", 20).map((entry) => String(entry.key)).toSorted().join(" ");
    assert.equal(addresses(), "192.0.2.10 2001:db8:1::10");
    ip("address add 203.0.113.5/32 dev lo");
    await until("the new one is known", () => addresses() === "192.0.2.10 2001:db8:1::10 203.0.113.5");
    ip("address delete 203.0.113.5/32 dev lo");
    await until("it is forgotten", () => addresses() === "192.0.2.10 2001:db8:1::10");
  },

  "routes and gateways that a network manager takes away come back (R99)": async ({ open, ip, until }) => {
    await using datapath = await open();
    await datapath.doers.network.do({ kind: "network", network: shop });
    ip("route flush dev hwhost");
    await until("the route is back", () => ip("route show 10.44.0.0/24").includes("hwhost"));
    ip("address flush dev hwhost");
    await until("the gateways are back", () => {
      const shown = ip("address show dev hwhost");
      return shown.includes("10.44.0.1/32") && shown.includes("fd44::1/128") && ip("-6 route show fd44::/64").includes("src fd44::1");
    });
  },

  "without a way to the world the datapath opens and says so": async ({ open, ip }) => {
    ip("route delete default");
    await using datapath = await open();
    assert.match(datapath.inspect().problems.join(), /no uplink/);
    assert.deepEqual(datapath.facts.uplinks, []);
  },
});
