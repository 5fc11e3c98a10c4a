// Bytes and values are one another's reverse, keys are zero where nothing is said, and what does not fit is named.
import { isDeepStrictEqual } from "node:util";
import test from "ava";
import fc from "fast-check";
import { array, be32, be64, bytes, decodePerCpu, field, mac, struct, u16, u8 } from "../../../src/abi/codec.ts";
import type { Codec } from "../../../src/abi/codec.ts";
import * as abi from "../../../src/abi/generated.ts";
import { HawserError } from "../../../src/std/errors.ts";
import { formatIp, macFromBytes, parseIp, parseMac } from "../../../src/std/ip.ts";

const codecs = Object.entries(abi)
  .filter(([name]) => name.endsWith("Codec"))
  .map(([, codec]) => codec as unknown as Codec<Readonly<Record<string, unknown>>>);

/** Any value of a field, by the codec's C name. */
function valueOf(codec: Pick<Codec<unknown>, "name" | "layout">): fc.Arbitrary<unknown> {
  const numbers: Readonly<Record<string, number>> = { __u8: 8, __u16: 16, __be16: 16, __u32: 32, __be32: 32 };
  const bits = numbers[codec.name];
  if (bits !== undefined) return fc.nat({ max: 2 ** bits - 1 });
  if (codec.name === "__u64" || codec.name === "__be64") return fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
  if (codec.name === "__u8[6]") return fc.uint8Array({ minLength: 6, maxLength: 6 }).map((raw) => macFromBytes(raw));
  if (codec.name === "struct hw_ip") {
    const some4 = fc.bigInt({ min: 0n, max: (1n << 32n) - 1n }).map((value) => formatIp(value, 4));
    const some6 = fc.bigInt({ min: 1n, max: (1n << 128n) - 1n }).filter((value) => value >> 32n !== 0xffffn).map((value) => formatIp(value, 6));
    return fc.oneof(fc.constant(null), some4, some6);
  }
  const [, element, length] = /^(.*)\[(\d+)\]$/.exec(codec.name) ?? [];
  const count = { minLength: Number(length), maxLength: Number(length) };
  if (element === "__u8") return fc.uint8Array(count);
  if (element !== undefined) return fc.array(valueOf(codecs.find(({ name }) => name === element) ?? { name: element, layout: [] }), count);
  return fc.record(Object.fromEntries(codec.layout.map((one) => [camel(one.name), valueOf(one.codec)])), { noNullPrototype: true });
}

const camel = (name: string): string => name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());

test("every shape of the ABI reads back what it wrote", (t) => {
  t.true(codecs.length >= 15);
  for (const codec of codecs) {
    fc.assert(
      fc.property(valueOf(codec), (value) => {
        const raw = codec.encode(value as Readonly<Record<string, unknown>>);
        t.is(raw.length, codec.size, codec.name);
        const read = codec.decode(raw);
        // AVA's own comparison needs a second for the largest of them.
        if (isDeepStrictEqual(read, value)) t.pass();
        else t.deepEqual(read, value);
      }),
      // One value of the long tables has thousands of elements of the same shape.
      { numRuns: codec.size > 4096 ? 3 : 50 },
    );
  }
});

test("no two fields of a shape share a byte, and all lie inside it", (t) => {
  for (const codec of codecs) {
    let end = 0;
    for (const one of codec.layout) {
      t.true(one.offset >= end, `${codec.name}.${one.name}`);
      end = one.offset + one.codec.size;
    }
    t.true(end <= codec.size, codec.name);
  }
});

test("a frontend's key is written byte by byte as the programs look it up", (t) => {
  const raw = abi.frontendKeyCodec.encode({ addr: parseIp("127.0.0.1"), port: 8080, proto: 6 });
  t.is(Buffer.from(raw).toString("hex"), "00000000000000000000ffff7f000001" + "1f90" + "06" + "00");
  const everywhere6 = abi.frontendKeyCodec.encode({ addr: parseIp("::"), port: 53, proto: 17 });
  t.deepEqual(everywhere6, abi.frontendKeyCodec.encode({ addr: null, port: 53, proto: 17 }));
  const everywhere4 = abi.frontendKeyCodec.encode({ addr: parseIp("0.0.0.0"), port: 53, proto: 17 });
  t.is(Buffer.from(everywhere4).toString("hex"), "00000000000000000000ffff00000000" + "0035" + "11" + "00");
  t.is(abi.frontendKeyCodec.decode(everywhere4).addr, parseIp("0.0.0.0"));
});

test("network order is the most significant byte first", (t) => {
  t.deepEqual([...be32.encode(0x0a2c0002)], [10, 44, 0, 2]);
  t.deepEqual([...be64.encode(0x0102030405060708n)], [1, 2, 3, 4, 5, 6, 7, 8]);
});

test("a value that does not fit is refused with the field's name", (t) => {
  const good = { ifindex: 1, network: 1, identity: 0, mtu: 1500, ipv4: null, ipv6: null, mac: parseMac("02:42:0a:2c:00:02"), flags: 0 };
  for (const mtu of [-1, 1.5, 2 ** 32, Number.NaN]) {
    const error = t.throws(() => abi.endpointCodec.encode({ ...good, mtu }), { instanceOf: HawserError });
    t.true(error?.message.startsWith("hw_endpoint.mtu: "), error?.message);
  }
  const counter = t.throws(() => abi.counterCodec.encode({ packets: 1n << 64n, bytes: 0n }), { instanceOf: HawserError });
  t.regex(counter?.message ?? "", /^hw_counter\.packets: 18446744073709551616 is no unsigned 64-bit number$/);
});

test("bytes of another length are refused", (t) => {
  t.throws(() => abi.eventCodec.decode(new Uint8Array(63)), { message: "struct hw_event: 63 bytes instead of 104" });
  t.throws(() => bytes(4).encode(new Uint8Array(5)), { message: "5 bytes instead of 4" });
  t.throws(() => array(u16, 2).encode([1]), { message: "1 elements instead of 2" });
});

test("shapes hold arrays and shapes, at an odd place in a larger buffer too", (t) => {
  const inner = struct<{ a: number; m: ReturnType<typeof parseMac> }>("inner", 8, { a: field("a", 0, u8), m: field("m", 2, mac) });
  const outer = struct<{ rows: readonly { a: number; m: ReturnType<typeof parseMac> }[]; raw: Uint8Array }>("outer", 19, {
    rows: field("rows", 0, array(inner, 2)),
    raw: field("raw", 16, bytes(3)),
  });
  const value = {
    rows: [{ a: 1, m: parseMac("02:00:00:00:00:01") }, { a: 2, m: parseMac("02:00:00:00:00:02") }],
    raw: Uint8Array.of(7, 8, 9),
  };
  const large = new Uint8Array(40);
  large.set(outer.encode(value), 5);
  t.deepEqual(outer.decode(large.subarray(5, 24)), value);
});

test("per-CPU values come back one a CPU, each rounded up to eight bytes", (t) => {
  t.deepEqual(decodePerCpu(u8, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0)), [1, 2]);
  t.deepEqual(decodePerCpu(abi.counterCodec, new Uint8Array(32)), [{ packets: 0n, bytes: 0n }, { packets: 0n, bytes: 0n }]);
});
