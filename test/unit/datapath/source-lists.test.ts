// Lists of clients as they lie in lines: read as bpf/abi/lb.h says, they say of every address what the prefixes do.
import test from "ava";
import { lineCount, listOf } from "../../../src/datapath/source-lists.ts";
import type { SourceList } from "../../../src/datapath/source-lists.ts";
import type { Sources } from "../../../src/lb/types.ts";
import { bitsOf, cidrOf, contains, firstOf, formatIp, lastOf, networkOf, parseCidr } from "../../../src/std/ip.ts";
import type { Cidr, Family } from "../../../src/std/ip.ts";
import { generator } from "../lb/random.ts";

const denying = (...deny: readonly string[]): Sources => ({ allow: null, deny: deny.map((prefix) => parseCidr(prefix)) });
const top = 0x7fff_ffff_ffff_ffffn;
const max = 0xffff_ffff;

/** In the slowest way: every start by itself. */
function may({ depth, bytes }: SourceList, address: bigint, family: Family): boolean {
  const bits = family === 4 ? 32n : 64n;
  const words = family === 4 ? Array.from(new Uint32Array(bytes.buffer), BigInt) : Array.from(new BigUint64Array(bytes.buffer));
  const key = family === 4 ? address : address >> 64n;
  const places = family === 4 ? 16 : 8;
  const count = depth === 1 ? 0 : 2 ** (depth - 1);
  const before = words.slice(1, count).filter((beginning) => beginning < (family === 4 ? key : key >> 1n)).length;
  const line = places * (count / places + (depth === 1 ? Number(key >> (bits - 1n)) : before));
  const rest = (1n << (bits - 1n)) - 1n;
  if (words.slice(line, line + places).filter((start) => start - rest <= (key & rest)).length % 2 === 0) return true;
  if (family === 4 || depth === 1) return false;
  const [lines, wide] = [Number((words[0] as bigint) & 0xffff_ffffn), Number((words[0] as bigint) >> 32n)];
  return Array.from({ length: wide }, (_, i) => ((words[8 * lines + 2 * i] as bigint) << 64n) | (words[8 * lines + 2 * i + 1] as bigint)).filter((start) => start <= address).length % 2 === 1;
}

test("short lists are two lines, of either first bit", (t) => {
  const four = listOf(denying("192.0.2.0/24", "10.0.0.0/8"), 4);
  t.is(four.depth, 1);
  const halves = new Uint32Array(four.bytes.buffer);
  t.deepEqual([...halves.subarray(0, 3), ...halves.subarray(16, 19)], [0x0a000000 + 0x7fffffff, 0x0b000000 + 0x7fffffff, max, 0xc00001ff, 0xc00002ff, max]);
  const across = new Uint32Array(listOf(denying("127.0.0.0/8", "128.0.0.0/8"), 4).bytes.buffer);
  t.deepEqual([across[0], across[1], across[16], across[17], across[18]], [0x7f000000 + 0x7fffffff, max, 0x7fffffff, 0x01000000 + 0x7fffffff, max], "the second line begins with those who may not");
  const six = listOf(denying(...[1, 3, 5, 7].map((i) => `2001:db8:0:${i}::/64`)), 6);
  t.is(six.depth, 1);
  t.deepEqual(new BigUint64Array(six.bytes.buffer)[7], 0x2001_0db8_0000_0008n + top);
});

test("longer prefixes than 64 bits lie behind the others", (t) => {
  const { depth, bytes } = listOf(denying("2001:db8::1/128"), 6);
  const words = new BigUint64Array(bytes.buffer);
  t.is(depth, 6);
  t.is(words[0], (4n << 32n) | 6n);
  t.deepEqual([...words.subarray(48, 56)], [0x20010db8_00000000n, 0n, 0x20010db8_00000000n, 1n, 0x20010db8_00000000n, 2n, 0x20010db8_00000001n, 0n]);
});

for (const family of [4, 6] as const) {
  test(`lists by chance, IPv${family}`, (t) => {
    const random = generator(10 + family);
    const bases = family === 4 ? [0n, 0x7fff_ff00n, 0x8000_0000n, 0xffff_ff00n] : [0n, 0x7fff_ffff_ffff_ff00n << 64n, 0x2001_0db8_0000_0000n << 64n, 0xffff_ffff_ffff_ff00n << 64n];
    const bits = bitsOf(family);
    const end = (1n << BigInt(bits)) - 1n;
    for (let round = 0; round < 400; round++) {
      const size = [0, 1, 3, 8, 40, 300][random(6)] ?? 0;
      const lengths = [[family === 4 ? 32 : 64], family === 4 ? [28, 30, 31, 32] : [60, 62, 63, 64], family === 4 ? [31, 32] : [64, 64, 64, 65, 96, 127, 128], [0, 1, 2, 8, bits]][random(4)] ?? [];
      const prefix = (): Cidr => {
        const value = (bases[random(bases.length)] as bigint) + (family === 4 ? BigInt(random(256)) : (BigInt(random(256)) << 64n) + BigInt(random(2) * random(5)));
        return networkOf(cidrOf(formatIp(value, family), lengths[random(lengths.length)] ?? 0));
      };
      const sources: Sources = { allow: random(2) === 0 ? null : Array.from({ length: size }, prefix), deny: Array.from({ length: random(size + 1) }, prefix) };
      const list = listOf(sources, family);
      t.is(64 * lineCount(list.depth, list.bytes, family), list.bytes.length);
      const edges = [...sources.allow ?? [], ...sources.deny].flatMap((one) => [firstOf(one) - 1n, firstOf(one), lastOf(one), lastOf(one) + 1n]).filter((edge) => edge >= 0n && edge <= end);
      for (const edge of [0n, end, (end + 1n) / 2n, ...Array.from({ length: 60 }, () => edges[random(edges.length)] ?? 1n)]) {
        const client = formatIp(edge, family);
        const said = (sources.allow === null || sources.allow.some((one) => contains(one, client))) && !sources.deny.some((one) => contains(one, client));
        if (may(list, edge, family) !== said) t.fail(`${client} of ${JSON.stringify(sources).slice(0, 2000)}`);
      }
    }
  });
}
