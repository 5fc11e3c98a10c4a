// The tunnel's headers byte by byte, as our programs write and read them; what is not exactly so is left to the kernel's device.
//
//   a: 10.44.0.2, fd44::2 on this node (192.0.2.1)      10.44.9.2, fd44:9::2 on another (192.0.2.9)
import { availableParallelism } from "node:os";
import anyTest from "ava";
import type { TestFn } from "ava";
import { a, hostMac, openBench } from "./bench.ts";
import type { Bench } from "./bench.ts";
import { frame, ip, ipv4, ipv6, tcp, udp } from "./packets.ts";
import type { Ipv4Options, Packet } from "./packets.ts";

const test = anyTest as TestFn<Record<"vxlan" | "geneve", Bench>>;
const kinds = { vxlan: 0x0800_0000, geneve: 0x0000_6558 } as const;
const { identity } = a;
const key = `${identity.toString(16).padStart(6, "0")}00`;
const first = (kind: keyof typeof kinds): string => kinds[kind].toString(16).padStart(8, "0");

test.serial.before(async (t) => {
  for (const kind of ["vxlan", "geneve"] as const) {
    // Loopback stands for the device: a verdict is all that is seen of what goes there.
    t.context[kind] = await openBench({ tunnelIfindex: 1, tunnelPort: 8472, tunnelHeader: kinds[kind] });
    await t.context[kind].otherNode({ address: "192.0.2.9", containers: ["10.44.9.2", "fd44:9::2"], identity, network: a.network });
  }
});
test.serial.after.always(async (t) => { for (const kind of ["vxlan", "geneve"] as const) await t.context[kind]?.[Symbol.asyncDispose](); });
test.serial.beforeEach(async (t) => { for (const kind of ["vxlan", "geneve"] as const) await t.context[kind].forget(); });

const hex = (bytes: Uint8Array, from: number, to: number): string => Buffer.from(bytes.subarray(from, to)).toString("hex");
const from4 = ip("10.44.0.2", "10.44.9.2", tcp(5000, 80, "S"));
const from6 = ip("fd44::2", "fd44:9::2", tcp(5000, 80, "S"));

/** What the other node sends, with the first word, the key and the inner frame after the outer UDP header. */
function tunnelled(kind: string, vni: string, inner: Packet, options: Ipv4Options & { readonly checksum?: "none"; readonly from?: string } = { checksum: "none" }): Packet {
  const bytes = Buffer.concat([Buffer.from(kind + vni, "hex"), frame("02:00:00:00:00:07", "02:00:00:00:00:08", inner)]);
  return ipv4(options.from ?? "192.0.2.9", "192.0.2.1", udp(50_000, 8472, bytes, options.checksum === undefined ? {} : { checksum: options.checksum }), options);
}

for (const kind of ["vxlan", "geneve"] as const) {
  for (const [family, packet] of [["IPv4", from4], ["IPv6", from6]] as const) {
    test.serial(`${kind}: a container's ${family} packet leaves with all headers around it, and is itself unchanged`, async (t) => {
      const sent = frame(a.mac, hostMac, packet);
      const [ran] = await t.context[kind].each(a, [packet]);
      t.is(ran?.verdict, 7);
      const data = ran?.data ?? new Uint8Array();
      t.is(data.length, 14 + 50 + packet.bytes.length);
      t.is(hex(data, 14, 18), `4500${(50 + packet.bytes.length).toString(16).padStart(4, "0")}`, "no DSCP, length");
      t.is(hex(data, 20, 24), "00004011", "may be cut up, 64 hops, UDP");
      t.is(hex(data, 26, 34), "c0000201c0000209", "in the uplink's name");
      t.true(Number.parseInt(hex(data, 34, 36), 16) >= 49152);
      t.is(hex(data, 36, 42), `2118${(30 + packet.bytes.length).toString(16).padStart(4, "0")}0000`, "to the tunnel's port, without a checksum");
      t.is(hex(data, 42, 50), first(kind) + key);
      t.is(hex(data, 50, data.length), Buffer.from(sent).toString("hex"));
    });
  }

  test.serial(`${kind}: what another node wraps arrives, over IPv4 and IPv6`, async (t) => {
    const mine = `${hostMac} > ${a.mac}`;
    const [four, six] = [ip("10.44.9.2", "10.44.0.2", udp(4000, 53, "hi")), ip("fd44:9::2", "fd44::2", udp(4000, 53, "hi"))];
    t.deepEqual(await t.context[kind].fromUplink(tunnelled(first(kind), key, four)), { verdict: "redirect", packet: `${mine} 10.44.9.2:4000 > 10.44.0.2:53 udp ttl 64` });
    t.deepEqual(await t.context[kind].fromUplink(tunnelled(first(kind), key, six)), { verdict: "redirect", packet: `${mine} [fd44:9::2]:4000 > [fd44::2]:53 udp ttl 64` });
  });

  test.serial(`${kind}: what is said of congestion is carried outside as it is inside, and what was met outside is the device's to say inside`, async (t) => {
    for (const [inside, outside] of [[0, 0], [1, 1], [2, 2], [3, 2]] as const) {
      const ran = await t.context[kind].each(a, [ipv4("10.44.0.2", "10.44.9.2", tcp(5001, 80, "S"), { ecn: inside }), ipv6("fd44::2", "fd44:9::2", tcp(5001, 80, "S"), { ecn: inside })]);
      t.deepEqual(ran.map(({ data }) => hex(data, 14, 16)), [`450${outside}`, `450${outside}`], `${inside} inside`);
    }
    const inner = ip("10.44.9.2", "10.44.0.2", udp(4000, 53, "hi"));
    for (const ecn of [0, 1, 2]) t.is((await t.context[kind].fromUplink(tunnelled(first(kind), key, inner, { checksum: "none", ecn }))).verdict, "redirect");
    t.is((await t.context[kind].fromUplink(tunnelled(first(kind), key, inner, { checksum: "none", ecn: 3 }))).verdict, "pass untouched");
  });

  test.serial(`${kind}: outer packets are numbered in turn, so that receivers merge them`, async (t) => {
    const ran = await t.context[kind].each(a, Array.from({ length: 64 }, () => from4));
    const seen = new Set<number>();
    const jumps = ran.map(({ data }) => Number.parseInt(hex(data, 18, 20), 16)).filter((number) => {
      seen.add(number);
      return !seen.has((number - 1) & 0xffff);
    });
    t.true(jumps.length <= availableParallelism(), `each CPU counts for itself: ${jumps.join(", ")}`);
  });

  test.serial(`${kind}: what is not exactly a tunnel's is passed on as it is`, async (t) => {
    const inner = ip("10.44.9.2", "10.44.0.2", udp(4000, 53, "hi"));
    const other = first(kind === "vxlan" ? "geneve" : "vxlan");
    const odd: Readonly<Record<string, Packet>> = {
      "another header": tunnelled(other, key, inner), "a reserved byte": tunnelled(first(kind), `${key.slice(0, 6)}01`, inner), "a checksum outside": tunnelled(first(kind), key, inner, {}),
      "options outside": tunnelled(first(kind), key, inner, { checksum: "none", options: [1, 1, 1, 0] }), "a first fragment": tunnelled(first(kind), key, inner, { checksum: "none", more: true }),
      "no IP inside": tunnelled(first(kind), key, { ethertype: 0x88cc, bytes: new Uint8Array(60) }), "nothing inside": ipv4("192.0.2.9", "192.0.2.1", udp(50_000, 8472, Buffer.from(first(kind) + key, "hex"), { checksum: "none" })),
      "a stranger": ipv4("192.0.2.77", "192.0.2.1", udp(50_000, 8472, Buffer.concat([Buffer.from(first(kind) + key, "hex"), frame("02:00:00:00:00:07", "02:00:00:00:00:08", inner)]), { checksum: "none" })),
      "to another machine": ipv4("192.0.2.9", "192.0.2.2", udp(50_000, 8472, Buffer.concat([Buffer.from(first(kind) + key, "hex"), frame("02:00:00:00:00:07", "02:00:00:00:00:08", inner)]), { checksum: "none" })),
    };
    for (const [what, packet] of Object.entries(odd)) t.is((await t.context[kind].fromUplink(packet)).verdict, "pass untouched", what);
  });

  test.serial(`${kind}: a node's claims are looked at in packets whose headers are taken off here as well (R43)`, async (t) => {
    const send = async (vni: string, inner: Packet): Promise<string> => (await t.context[kind].fromUplink(tunnelled(first(kind), vni, inner))).verdict;
    t.is(await send("00123400", ip("10.44.9.2", "10.44.0.2", udp(4000, 53))), "drop PEER_IDENTITY");
    t.is(await send(key, ip("10.44.9.3", "10.44.0.2", udp(4000, 53))), "drop PEER_ADDRESS");
    t.is(await send(key, ip("10.44.9.2", "10.44.0.99", udp(4000, 53))), "drop NO_SUCH_ADDRESS");
    t.is(await send(key, ip("10.44.9.2", "224.0.0.5", udp(4000, 53))), "drop MULTICAST");
  });

  test.serial(`${kind}: a node speaks for itself, for its containers and, as a static peer, for its slice, and for nobody else (R43)`, async (t) => {
    const bench = t.context[kind];
    const [host, identified, named, reserved] = ["000001", identity.toString(16).padStart(6, "0"), "000100", "0000ff"];
    await bench.otherNode({ address: "192.0.2.9", containers: ["10.44.9.2", "10.44.0.3"], identity, network: a.network, slice: "10.44.9.0/24" });
    await bench.otherNode({ number: 2, address: "192.0.2.20", containers: ["10.55.9.9"], identity, network: a.network, slice: "10.55.2.0/24", isStatic: true });
    await bench.otherNode({ number: 3, address: "192.0.2.30", containers: [], identity, network: a.network, slice: "10.55.3.0/24", isStatic: true });
    const claims: readonly (readonly [from: string, vni: string, source: string, verdict: string])[] = [
      ["192.0.2.9", host, "192.0.2.9", "redirect"],
      ["192.0.2.9", identified, "192.0.2.9", "drop PEER_IDENTITY"],
      ["192.0.2.9", host, "192.0.2.20", "drop PEER_ADDRESS"],
      ["192.0.2.9", host, "10.44.9.2", "drop PEER_IDENTITY"],
      ["192.0.2.9", identified, "10.55.9.9", "drop PEER_ADDRESS"],
      ["192.0.2.9", named, "10.55.2.7", "drop PEER_ADDRESS"],
      ["192.0.2.9", named, "10.44.9.3", "drop PEER_ADDRESS"],
      // What is this node's own is nobody's else, whatever was told of it.
      ["192.0.2.9", identified, "10.44.0.3", "drop PEER_ADDRESS"],
      // Believed, and then another network's by its key.
      ["192.0.2.20", named, "10.55.2.7", "drop NETWORK_ISOLATED"],
      ["192.0.2.20", reserved, "10.55.2.7", "drop PEER_IDENTITY"],
      ["192.0.2.20", host, "10.55.2.7", "drop PEER_IDENTITY"],
      ["192.0.2.20", named, "10.55.3.7", "drop PEER_ADDRESS"],
      ["192.0.2.20", named, "10.66.0.1", "drop PEER_ADDRESS"],
    ];
    for (const [i, [from, vni, source, verdict]] of claims.entries()) {
      const packet = tunnelled(first(kind), `${vni}00`, ip(source, "10.44.0.2", udp(4100 + i, 53, "hi")), { checksum: "none", from });
      t.is((await bench.fromUplink(packet)).verdict, verdict, `${from} as ${source} with key ${vni}`);
    }
  });
}
