// Who asks on the uplink for an address of a service: this node answers while it holds the address, and for nothing else.
import { readFileSync } from "node:fs";
import anyTest from "ava";
import type { TestFn } from "ava";
import { openBench } from "./bench.ts";
import type { Bench, Row } from "./bench.ts";
import { arp, icmp, ipv6, neighbourDiscovery } from "./packets.ts";
import type { Packet } from "./packets.ts";
import { LbHeldState } from "../../src/abi/generated.ts";
import { ipToBytes, parseIp } from "../../src/std/ip.ts";

const test = anyTest as TestFn<{ bench: Bench }>;
const [uplink, router] = ["02:00:00:00:00:01", "02:00:00:00:00:fe"];
const everybody = "ff:ff:ff:ff:ff:ff";
const untouched = "pass untouched";

test.serial.before(async (t) => {
  const bench = await openBench();
  t.context.bench = bench;
  for (const address of ["192.0.2.10", "2001:db8::10"]) await bench.hold(address, uplink);
});
test.serial.after.always(async (t) => { await t.context.bench?.[Symbol.asyncDispose](); });

const asked = (target: string, sender = "192.0.2.254"): Packet => arp("request", { mac: router, ip: sender }, { ip: target });
const solicited = (target: string, sender = "2001:db8::fe", options = { ttl: 255 }): Packet =>
  ipv6(sender, `ff02::1:ff00:${target.split(":").at(-1)}`, neighbourDiscovery(135, target, sender === "::" ? undefined : router), options);
const group = "33:33:ff:00:00:10";

test.serial("ARP for an address that is held: the uplink's MAC, whether everybody was asked or this node", async (t) => {
  const { bench } = t.context;
  const answer: Row = { verdict: "redirect", packet: `${uplink} > ${router} arp 192.0.2.10 is at ${uplink} told 192.0.2.254 at ${router}` };
  t.deepEqual(await bench.fromUplink(asked("192.0.2.10"), { destination: everybody }), answer);
  t.deepEqual(await bench.fromUplink(asked("192.0.2.10"), { destination: uplink }), answer);
});

test.serial("a probe of who wants the address himself is answered (RFC 5227)", async (t) => {
  t.deepEqual(await t.context.bench.fromUplink(asked("192.0.2.10", "0.0.0.0"), { destination: everybody }), {
    verdict: "redirect", packet: `${uplink} > ${router} arp 192.0.2.10 is at ${uplink} told 0.0.0.0 at ${router}`,
  });
});

test.serial("other addresses, answers, announcements and what was for another machine are not answered", async (t) => {
  const { bench } = t.context;
  const { bytes } = asked("192.0.2.10");
  const wrong = (at: number, value: number): Packet => ({ ethertype: 0x0806, bytes: bytes.with(at, value) });
  for (const [packet, destination] of [
    [asked("192.0.2.1"), everybody], [asked("192.0.2.11"), everybody], [asked("192.0.2.10", "192.0.2.10"), everybody],
    [arp("reply", { mac: router, ip: "192.0.2.254" }, { mac: uplink, ip: "192.0.2.10" }), uplink],
    [asked("192.0.2.10"), "02:00:00:00:00:77"], [wrong(1, 6), everybody], [wrong(3, 1), everybody], [wrong(4, 8), everybody], [wrong(5, 16), everybody],
    [{ ethertype: 0x0806, bytes: bytes.subarray(0, 27) }, everybody], [{ ethertype: 0x8035, bytes }, everybody],
  ] as const) t.is((await bench.fromUplink(packet, { destination })).verdict, untouched);
});

test.serial("a neighbour solicitation: an advertisement, solicited, that overrides", async (t) => {
  const { bench } = t.context;
  const answer: Row = { verdict: "redirect", packet: `${uplink} > ${router} 2001:db8::10 > 2001:db8::fe nd 136 2001:db8::10 at ${uplink} flags 60 ttl 255` };
  t.deepEqual(await bench.fromUplink(solicited("2001:db8::10"), { destination: group }), answer);
  const once = ipv6("2001:db8::fe", "2001:db8::10", neighbourDiscovery(135, "2001:db8::10"), { ttl: 255 });
  t.deepEqual(await bench.fromUplink(once, { destination: uplink }), answer, "to this node alone, without its sender's MAC");
});

test.serial("duplicate address detection of the same address: everybody is told (RFC 4861, 7.2.4)", async (t) => {
  t.deepEqual(await t.context.bench.fromUplink(solicited("2001:db8::10", "::"), { destination: group }), {
    verdict: "redirect", packet: `${uplink} > 33:33:00:00:00:01 2001:db8::10 > ff02::1 nd 136 2001:db8::10 at ${uplink} flags 20 ttl 255`,
  });
});

test.serial("other addresses, forwarded, other messages, lies in the length and what was for another machine are not answered", async (t) => {
  const { bench } = t.context;
  const target = ipToBytes(parseIp("2001:db8::10"));
  const whole = solicited("2001:db8::10");
  const coded = icmp(135, 1, Uint8Array.of(0, 0, 0, 0, ...target), 6);
  for (const [packet, destination] of [
    [solicited("2001:db8::1"), group], [solicited("2001:db8::11"), group], [solicited("2001:db8::10", "2001:db8::fe", { ttl: 254 }), group],
    [solicited("2001:db8::10", "ff02::1"), group], [solicited("2001:db8::10"), "02:00:00:00:00:77"],
    [ipv6("2001:db8::fe", "ff02::1", neighbourDiscovery(136, "2001:db8::10", router), { ttl: 255 }), "33:33:00:00:00:01"],
    [ipv6("2001:db8::fe", "ff02::1:ff00:10", coded, { ttl: 255 }), group],
    [{ ...whole, bytes: whole.bytes.with(5, 20) }, group], [{ ...whole, bytes: whole.bytes.with(5, 200) }, group],
    [{ ...whole, bytes: whole.bytes.subarray(0, 60) }, group],
  ] as const) t.is((await bench.fromUplink(packet, { destination })).verdict, untouched);
});

const another = "02:00:00:00:00:bb";
const boot = (): number => Number(readFileSync("/proc/uptime", "utf8").split(".")[0]);
const claims: readonly (readonly [address: string, asking: Packet, probe: Packet, to: string, announced: readonly (readonly [Packet, string])[]])[] = [
  ["192.0.2.20", asked("192.0.2.20"), asked("192.0.2.20", "0.0.0.0"), everybody, [
    [arp("request", { mac: another, ip: "192.0.2.20" }, { ip: "192.0.2.20" }), everybody],
    [arp("reply", { mac: another, ip: "192.0.2.20" }, { mac: another, ip: "192.0.2.20" }), everybody],
  ]],
  ["2001:db8::20", solicited("2001:db8::20"), solicited("2001:db8::20", "::"), "33:33:ff:00:00:20", [
    [ipv6("2001:db8::20", "ff02::1", neighbourDiscovery(136, "2001:db8::20", another), { ttl: 255 }), "33:33:00:00:00:01"],
  ]],
];

for (const [address, asking, probe, to, announced] of claims) {
  for (const [i, [announcement, all]] of announced.entries()) {
    test.serial(`${address}, announcement ${i}: who announces an address has it when it is not certain any more that it is this node's, and not before`, async (t) => {
      const { bench } = t.context;
      const answered = async (): Promise<string> => (await bench.fromUplink(asking, { destination: to })).verdict;
      for (const until of [undefined, boot() + 3600]) {
        await bench.hold(address, uplink, until);
        t.is((await bench.fromUplink(announcement, { destination: all })).verdict, untouched);
        t.is(await answered(), "redirect");
      }
      t.deepEqual((await bench.rivals()).filter((one) => one.startsWith(address)), [`${address} ${address.includes(":") ? router : another} ${2 * (i + 1)}`], "who says so is noted, of IPv6 whoever sent the frame");
      await bench.hold(address, uplink, boot());
      t.is(await answered(), "redirect", "nobody else answers yet");
      t.is((await bench.fromUplink(probe, { destination: to })).verdict, untouched, "but who asks first, because he wants it, finds it free");
      await bench.fromUplink(announcement, { destination: all });
      t.is(await answered(), untouched);
      await bench.hold(address, uplink, boot() + 3600);
      t.is(await answered(), "redirect", "it is this node's again");
      await bench.hold(address, uplink, null);
      t.is(await answered(), untouched);
    });
  }
}

test.serial("its own announcement, one of another address and somebody's question take nothing from this node", async (t) => {
  const { bench } = t.context;
  await bench.hold("192.0.2.20", another, boot());
  for (const packet of [
    arp("request", { mac: another, ip: "192.0.2.20" }, { ip: "192.0.2.20" }), arp("request", { mac: router, ip: "192.0.2.21" }, { ip: "192.0.2.21" }),
    asked("192.0.2.20"), asked("192.0.2.20", "0.0.0.0"),
  ]) await bench.fromUplink(packet, { destination: everybody });
  t.is((await bench.fromUplink(asked("192.0.2.20"), { destination: everybody })).verdict, "redirect");
  await bench.hold("192.0.2.20", another, null);
});

const sibling = "02:00:00:00:00:02";
const saying: readonly (readonly [address: string, says: (mac: string) => readonly [Packet, string]])[] = [
  ["192.0.2.30", (mac) => [arp("request", { mac, ip: "192.0.2.30" }, { ip: "192.0.2.30" }), everybody]],
  ["2001:db8::30", (mac) => [ipv6("2001:db8::30", "ff02::1", neighbourDiscovery(136, "2001:db8::30", mac), { ttl: 255 }), "33:33:00:00:00:01"]],
];

for (const [address, says] of saying) {
  test.serial(`${address}: what this node's other uplink says on the link takes nothing from it, and hides nobody else's word`, async (t) => {
    const { bench } = t.context;
    await bench.uplinkMac(sibling);
    const say = async (mac: string): Promise<void> => {
      const [packet, destination] = says(mac);
      await bench.fromUplink(packet, { source: mac, destination });
    };
    const noted = async (): Promise<readonly string[]> => (await bench.rivals()).filter((one) => one.startsWith(`${address} `));
    await bench.hold(address, uplink);
    await say(sibling);
    t.deepEqual(await noted(), []);
    for (const mac of [another, sibling]) await say(mac);
    t.deepEqual(await noted(), [`${address} ${another} 1`]);

    await bench.hold(address, uplink, boot());
    await say(sibling);
    t.is(await bench.held(address), `${uplink} ANSWERED`, "when nothing is certain");
    await say(another);
    t.is(await bench.held(address), `${uplink} YIELDED`);

    await bench.hold(address, uplink, boot() + 3600, LbHeldState.ASKED);
    await say(sibling);
    t.is(await bench.held(address), `${uplink} ASKED`, "nor is it an answer to who asks first");
    await say(another);
    t.is(await bench.held(address), `${another} TAKEN`);
    await bench.hold(address, uplink, null);
  });
}
