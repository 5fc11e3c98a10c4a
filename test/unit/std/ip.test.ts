// Addresses, prefixes and MACs: canonical text, bytes and numbers agree with one another.
import { isIPv6 } from "node:net";
import test from "ava";
import fc from "fast-check";
import {
  addressOf, bitsOf, cidrOf, contains, familyOf, firstOf, formatIp, ip4FromNumber, ip4ToNumber, ipFromBytes, ipFromBytes16,
  ipToBigInt, ipToBytes, ipToBytes16, lastOf, lengthOf, macFromBytes, macToBytes, networkOf, overlaps, parseCidr, parseIp, parseMac,
} from "../../../src/std/ip.ts";
import type { Cidr, Ip } from "../../../src/std/ip.ts";
import { HawserError } from "../../../src/std/errors.ts";

const any4 = fc.bigInt({ min: 0n, max: (1n << 32n) - 1n }).map((value) => formatIp(value, 4));
/** IPv6 groups with many zeros, because that is where the text form goes wrong; never IPv4-mapped, which is IPv4 to us. */
const any6 = fc
  .array(fc.oneof(fc.constant(0n), fc.bigInt({ min: 0n, max: 0xffffn })), { minLength: 8, maxLength: 8 })
  .map((groups) => groups.reduce((value, group) => (value << 16n) | group, 0n))
  .filter((value) => value >> 32n !== 0xffffn)
  .map((value) => formatIp(value, 6));
const anyIp: fc.Arbitrary<Ip> = fc.oneof(any4, any6);
const anyCidr: fc.Arbitrary<Cidr> = anyIp.chain((ip) => fc.integer({ min: 0, max: bitsOf(familyOf(ip)) }).map((length) => cidrOf(ip, length)));

test("IPv6 text takes its canonical form (RFC 5952)", (t) => {
  const canonical: readonly (readonly [given: string, expected: string])[] = [
    ["2001:DB8::1", "2001:db8::1"],
    ["2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["1:0:0:2:0:0:0:3", "1:0:0:2::3"],
    ["0:0:0:0:0:0:0:0", "::"],
    ["::1", "::1"],
    ["fe80::", "fe80::"],
    ["1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"],
    ["64:ff9b::192.0.2.33", "64:ff9b::c000:221"],
  ];
  for (const [given, expected] of canonical) t.is(parseIp(given), expected as Ip, given);
});

test("what is no address is refused with its name", (t) => {
  for (const text of ["", "10.0.0", "10.0.0.256", "10.0.0.01", "fe80::1%eth0", "1::2::3", "web", "10.0.0.1/24", "::ffff:10.0.0.1", "::ffff:a00:1"]) {
    const error = t.throws(() => parseIp(text, "--ip"), { instanceOf: HawserError }, text);
    t.is(error?.code, "BAD_REQUEST");
    t.true(error?.message.startsWith("--ip: "), error?.message);
  }
});

test("what is no prefix is refused", (t) => {
  for (const text of ["10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/08", "10.0.0.0/8/8", "::/129", "/8", "::ffff:10.0.0.0/104"]) {
    t.throws(() => parseCidr(text), { instanceOf: HawserError }, text);
  }
});

test("only unicast MACs are MACs", (t) => {
  t.is(parseMac("02:42:0A:2C:00:02"), "02:42:0a:2c:00:02" as ReturnType<typeof parseMac>);
  for (const text of ["", "02:42:0a:2c:00", "02-42-0a-2c-00-02", "01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "0g:00:00:00:00:01"]) {
    t.throws(() => parseMac(text), { instanceOf: HawserError }, text);
  }
});

test("text, number and bytes of an address are one another's reverse", (t) => {
  fc.assert(
    fc.property(anyIp, (ip) => {
      t.is(parseIp(ip), ip);
      t.is(formatIp(ipToBigInt(ip), familyOf(ip)), ip);
      t.is(ipFromBytes(ipToBytes(ip)), ip);
      t.is(ipFromBytes16(ipToBytes16(ip)), ip);
      t.is(ipToBytes16(ip).length, 16);
      t.is(ipToBytes(ip).length, bitsOf(familyOf(ip)) / 8);
    }),
  );
  t.pass();
});

test("formatted IPv6 is IPv6 to Node too, and never longer than what was given", (t) => {
  fc.assert(
    fc.property(any6, (ip) => {
      t.true(isIPv6(ip), ip);
      t.true(ip.length <= 39);
    }),
  );
});

test("IPv4 numbers keep their most significant byte first", (t) => {
  t.is(ip4ToNumber(parseIp("10.44.0.2")), 0x0a2c0002);
  t.is(ip4FromNumber(0xffffffff), parseIp("255.255.255.255"));
  fc.assert(fc.property(any4, (ip) => t.is(ip4FromNumber(ip4ToNumber(ip)), ip)));
});

test("IPv4 is kept as ::ffff:a.b.c.d in sixteen bytes", (t) => {
  t.deepEqual([...ipToBytes16(parseIp("10.44.0.2"))], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 44, 0, 2]);
  t.is(ipFromBytes16(new Uint8Array(16)), parseIp("::"));
});

test("MACs and their bytes are one another's reverse", (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 6, maxLength: 6 }), (bytes) => t.deepEqual(macToBytes(macFromBytes(bytes)), Uint8Array.from(bytes))),
  );
});

test("a prefix holds exactly the addresses from its first to its last", (t) => {
  fc.assert(
    fc.property(anyCidr, anyIp, (cidr, ip) => {
      const value = ipToBigInt(ip);
      const inside = familyOf(cidr) === familyOf(ip) && firstOf(cidr) <= value && value <= lastOf(cidr);
      t.is(contains(cidr, ip), inside);
      t.true(contains(cidr, addressOf(cidr)));
      t.true(contains(cidr, networkOf(cidr)));
      t.is(lastOf(cidr) - firstOf(cidr) + 1n, 1n << BigInt(bitsOf(familyOf(cidr)) - lengthOf(cidr)));
    }),
  );
});

test("two prefixes overlap exactly when one contains the other", (t) => {
  fc.assert(
    fc.property(anyCidr, anyCidr, (a, b) => {
      t.is(overlaps(a, b), contains(a, networkOf(b)) || contains(b, networkOf(a)));
      t.is(overlaps(a, b), overlaps(b, a));
    }),
  );
  t.true(overlaps(parseCidr("10.0.0.0/8"), parseCidr("10.44.0.0/16")));
  t.false(overlaps(parseCidr("10.44.0.0/24"), parseCidr("10.44.1.0/24")));
  t.false(overlaps(parseCidr("0.0.0.0/0"), parseCidr("::/0")));
});
