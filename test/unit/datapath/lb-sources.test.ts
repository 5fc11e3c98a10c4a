// Where services' ranges of clients lie: a line to which packets of a service are still sent keeps what that service asks.
import test from "ava";
import { openServiceSources } from "../../../src/datapath/lb-sources.ts";
import { LbSourceLayout } from "../../../src/abi/generated.ts";
import type { AskingPlan, SourcePlace } from "../../../src/datapath/lb-sources.ts";
import type { KernelMap } from "../../../src/kernel/types.ts";
import type { Sources } from "../../../src/lb/types.ts";
import { parseCidr } from "../../../src/std/ip.ts";

const denying = (...deny: readonly string[]): Sources => ({ allow: null, deny: deny.map((prefix) => parseCidr(prefix)) });
const plan = (number: number, sources: Sources): AskingPlan => ({ number, family: 4, sources });
const open: Sources = { allow: null, deny: [] };
const [one, two] = [denying("192.0.2.0/24"), denying("198.51.100.0/24")];

/** So many lines in memory, and how many were written. */
function memory(lines = 64) {
  const bytes = new Uint8Array(64 * (lines + LbSourceLayout.BEYOND));
  let written = 0;
  const map = {
    info: { valueSize: bytes.length }, get: () => bytes.slice(),
    store: (first: number, values: Uint8Array) => {
      bytes.set(values, 8 * first);
      written += values.length / 64;
    },
  } as unknown as KernelMap;
  return { map, words: ({ first }: SourcePlace) => new Uint32Array(bytes.buffer, 64 * first), written: () => written };
}

function opened(map: KernelMap, inherited: ReadonlyMap<number, SourcePlace> = new Map()) {
  const sources = openServiceSources(map, new Map(Array.from(inherited, ([service, place]) => [service, { ...place, family: 4 }])));
  const take = (number: number, asked: Sources): SourcePlace => {
    const asking = plan(number, asked);
    sources.reserve(asking);
    return sources.take(asking);
  };
  return { ...sources, take };
}

test("a service that asks nothing has no lines", (t) => {
  const { map, written } = memory();
  t.is(opened(map).take(1, open).depth, 0);
  t.is(written(), 0);
});

test("services of the same sources share lines, which stay until nobody looks there", (t) => {
  const { map, words, written } = memory();
  const sources = opened(map);
  const place = sources.take(1, one);
  t.is(sources.take(2, one), place);
  t.is(written(), 2);
  const other = sources.take(1, two);
  t.not(other.first, place.first);
  sources.done();
  sources.release();
  t.is(sources.take(3, one), place, "the second has it still");
  sources.leave(2);
  sources.leave(3);
  const third = sources.take(4, denying("203.0.113.0/24"));
  t.false([place.first, other.first].includes(third.first), "packets may look there");
  t.is(words(place)[16], 0xc00001ff);
  sources.done();
  sources.release();
  t.is(sources.take(5, denying("10.0.0.0/8")).first, place.first, "the lowest that is free");
});

test("an agent takes over the lines that are as it wants them, and writes elsewhere what is not", (t) => {
  const { map, written } = memory();
  const before = opened(map);
  const many = denying(...Array.from({ length: 40 }, (_, i) => `10.0.${2 * i}.0/24`));
  const inherited = new Map([[1, before.take(1, one)], [2, before.take(2, many)], [3, before.take(3, one)]]);
  const had = written();
  const sources = opened(map, inherited);
  t.deepEqual([1, 2, 3].map((number) => sources.take(number, number === 2 ? many : one).first), [1, 2, 3].map((number) => inherited.get(number)?.first));
  t.is(written(), had);
  const after = opened(map, inherited);
  t.is(after.take(4, denying("203.0.113.0/24")).first, had, "right behind what there is");
  const moved = after.take(1, two);
  t.false([...inherited.values()].some(({ first }) => first === moved.first));
  t.is(after.take(3, one).first, inherited.get(3)?.first ?? 0, "the third looks there still");
});

test("ranges for which there is no room are not reserved, and others stay", (t) => {
  const { map, written } = memory(3);
  const sources = opened(map);
  const place = sources.take(1, one);
  const many = denying(...Array.from({ length: 20 }, (_, i) => `10.0.${2 * i}.0/24`));
  t.false(sources.reserve(plan(2, many)));
  t.throws(() => sources.take(2, many), { instanceOf: RangeError });
  t.is(sources.take(1, one), place);
  t.is(written(), 2);
});

test("what is reserved is nobody else's, shared by services of the same sources, and free again if nobody took it", (t) => {
  const { map, written } = memory(4);
  const sources = opened(map);
  const place = sources.take(1, one);
  t.true(sources.reserve(plan(2, two)));
  t.false(sources.reserve(plan(3, denying("203.0.113.0/24"))));
  t.true(sources.reserve(plan(4, two)));
  t.true(sources.reserve(plan(5, one)));
  t.true(sources.reserve(plan(6, open)));
  t.is(written(), 2);
  sources.done();
  sources.release();
  t.is(sources.take(3, denying("203.0.113.0/24")).first, 2);
  t.is(sources.take(1, one), place);
});
