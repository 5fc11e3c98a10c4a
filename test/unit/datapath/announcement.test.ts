// What a link is told when an address of a service has moved to this node.
import test from "ava";
import { announcementsOf, probesOf } from "../../../src/datapath/announcement.ts";
import { parseIp, parseMac } from "../../../src/std/ip.ts";
import { describe } from "../../packet/packets.ts";

const mac = parseMac("02:00:00:00:00:0a");
const told = (address: string): readonly string[] => announcementsOf(parseIp(address), mac).map(describe);

test("IPv4: a request and an answer, both to everybody and both saying where the address is", (t) => {
  t.deepEqual(told("192.0.2.10"), [
    "02:00:00:00:00:0a > ff:ff:ff:ff:ff:ff arp who has 192.0.2.10 tell 192.0.2.10",
    "02:00:00:00:00:0a > ff:ff:ff:ff:ff:ff arp 192.0.2.10 is at 02:00:00:00:00:0a told 192.0.2.10 at 02:00:00:00:00:0a",
  ]);
});

test("IPv6: an advertisement to every node, unsolicited, that overrides, with a right checksum", (t) => {
  t.deepEqual(told("2001:db8::10"), ["02:00:00:00:00:0a > 33:33:00:00:00:01 2001:db8::10 > ff02::1 nd 136 2001:db8::10 at 02:00:00:00:00:0a flags 20 ttl 255"]);
  t.deepEqual(told("fe80::ffff:ffff:ffff:ffff").map((line) => line.includes("!")), [false]);
});

test("a probe is from nobody, and goes to those who may have the address", (t) => {
  const asked = (address: string): string => probesOf(parseIp(address), mac).map(describe).join();
  t.is(asked("192.0.2.10"), "02:00:00:00:00:0a > ff:ff:ff:ff:ff:ff arp who has 192.0.2.10 tell 0.0.0.0");
  t.is(asked("2001:db8::10"), "02:00:00:00:00:0a > 33:33:ff:00:00:10 :: > ff02::1:ff00:10 nd 135 2001:db8::10 flags 0 ttl 255");
});
