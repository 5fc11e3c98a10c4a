// From which of its addresses a host sends to other nodes, where the configuration names some.
import test from "ava";
import { hostAddressesOf, knownBy, uplinksOf } from "../../../src/datapath/uplinks.ts";
import type { HostReading } from "../../../src/datapath/uplinks.ts";
import type { LinkInfo } from "../../../src/kernel/types.ts";
import type { Ip } from "../../../src/std/ip.ts";

/** IFA_F_DADFAILED, IFA_F_DEPRECATED and IFA_F_TENTATIVE in linux/if_addr.h. */
const [failed, deprecated, tentative] = [0x08, 0x20, 0x40];
const link = (index: number): LinkInfo => ({ name: `eth${index}`, index, type: 1, mac: "02:00:00:00:00:01", carrier: true, mtu: 1500 }) as Partial<LinkInfo> as LinkInfo;

/** eth1 and on, each with these addresses. */
function host(...uplinks: readonly (readonly (string | readonly [prefix: string, flags: number])[])[]): HostReading {
  return {
    links: uplinks.map((_, i) => link(i + 1)), routes: [],
    addresses: uplinks.flatMap((own, i) => own.map((one) => {
      const [prefix, flags] = typeof one === "string" ? [one, 0] as const : one;
      return { index: i + 1, prefix, scope: "global" as const, flags };
    })),
  };
}

/** For any uplink, then for each by its index, of IPv4 alone where it says no more. */
function sources(reading: HostReading, ...named: readonly string[]): readonly unknown[] {
  const { any, by } = knownBy(reading, uplinksOf(reading, ["eth1", "eth2", "eth3"]), named.map((text) => text as Ip));
  return [any, ...by.values()].map(({ ipv4, ipv6 }) => (ipv6 === null ? ipv4 : [ipv4, ipv6]));
}

test("an uplink whose own address is named keeps it, any other has the first that is", (t) => {
  const three = host(["192.0.2.1/24"], ["198.51.100.1/24"], ["203.0.113.1/24", "10.0.0.1/8"]);
  t.deepEqual(sources(three, "192.0.2.1", "198.51.100.1"), ["192.0.2.1", "192.0.2.1", "198.51.100.1", "192.0.2.1"]);
  t.deepEqual(sources(three, "10.0.0.1", "198.51.100.1"), ["10.0.0.1", "10.0.0.1", "198.51.100.1", "10.0.0.1"]);
  t.deepEqual(sources(three, "203.0.113.1", "198.51.100.1", "192.0.2.1"), [null, "192.0.2.1", "198.51.100.1", "203.0.113.1"], "nothing is to be said of any");
  t.deepEqual(sources(three, "192.0.2.9", "198.51.100.1"), ["198.51.100.1", "198.51.100.1", "198.51.100.1", "198.51.100.1"], "the first that is there");
  t.deepEqual(sources(three, "192.0.2.9"), [null, null, null, null]);
  t.deepEqual(sources(three), [null, null, null, null]);
});

test("families have sources of their own, and an uplink without an address in one has the first that is named", (t) => {
  const two = host(["192.0.2.1/24", "2001:db8::1/64", "2001:db8::2/64"], ["198.51.100.1/24"]);
  t.deepEqual(sources(two, "2001:db8::2", "192.0.2.1", "198.51.100.1"), [[null, "2001:db8::2"], ["192.0.2.1", "2001:db8::2"], ["198.51.100.1", "2001:db8::2"]]);
  t.deepEqual(sources(host(["192.0.2.1/24", "2001:db8::1/64"]), "2001:db8::1"), [null, [null, "2001:db8::1"]]);
});

test("an address that another machine has, or may have, is none of the host's; one that nothing begins from any more still is", (t) => {
  const reading = host([["2001:db8::1/64", tentative], ["2001:db8::2/64", failed | tentative], ["2001:db8::3/64", deprecated], "2001:db8::4/64"]);
  t.deepEqual(hostAddressesOf(reading).map(String), ["2001:db8::3/64", "2001:db8::4/64"]);
  t.deepEqual(sources(reading, "2001:db8::1", "2001:db8::2"), [null, null]);
  t.deepEqual(sources(reading, "2001:db8::1", "2001:db8::3"), [[null, "2001:db8::3"], [null, "2001:db8::3"]]);
});
