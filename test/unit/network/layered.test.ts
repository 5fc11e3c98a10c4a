// A map made of another and of what is different: whatever is changed, it says what a plain one says.
import test from "ava";
import fc from "fast-check";
import { Layered } from "../../../src/network/layered.ts";

test("after any changes it holds what a plain map holds, and those before it what they held", (t) => {
  const change = fc.tuple(fc.nat({ max: 300 }), fc.option(fc.nat({ max: 3 }), { nil: undefined, freq: 3 }));
  const property = fc.property(fc.array(fc.array(change, { maxLength: 60, size: "max" }), { maxLength: 12, size: "max" }), (script) => {
    let layered = new Layered<number, number>();
    const plain = new Map<number, number>();
    const past: (readonly [Layered<number, number>, string])[] = [];
    const sorted = (map: ReadonlyMap<number, number>): string => JSON.stringify([...map].toSorted(([a], [b]) => a - b));
    for (const changes of script) {
      layered = layered.with(new Map(changes));
      for (const [key, value] of new Map(changes)) {
        if (value === undefined) plain.delete(key);
        else plain.set(key, value);
      }
      if (layered.size !== plain.size || sorted(layered) !== sorted(plain)) return false;
      for (let key = 0; key <= 300; key++) if (layered.get(key) !== plain.get(key) || layered.has(key) !== plain.has(key)) return false;
      past.push([layered, sorted(plain)]);
    }
    const differing = (a: Layered<number, number>, b: Layered<number, number>): boolean => {
      const said = new Set(a.differing(b));
      return Array.from({ length: 301 }, (_, key) => key).every((key) => a.get(key) === b.get(key) || said.has(key));
    };
    if (!past.every(([one]) => differing(one, layered) && differing(layered, one))) return false;
    const seen: [number, number][] = [];
    layered.forEach((value, key) => seen.push([key, value]));
    return past.every(([one, was]) => sorted(one) === was) && sorted(new Map(seen)) === sorted(plain)
      && [...layered.keys()].toSorted().join() === [...plain.keys()].toSorted().join() && [...layered.values()].toSorted().join() === [...plain.values()].toSorted().join();
  });
  t.notThrows(() => fc.assert(property, { numRuns: 300 }));
});

test("changes that change nothing make no other map", (t) => {
  const one = new Layered(new Map([["a", 1]]));
  t.is(one.with(new Map([["a", 1], ["b", undefined]])), one);
  t.is(one.with(new Map()), one);
});
