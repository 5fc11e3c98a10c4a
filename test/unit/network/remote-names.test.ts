// Names of containers elsewhere, kept once and told in both their forms: whatever changes, they say what a plain map of both forms says.
import test from "ava";
import fc from "fast-check";
import { RemoteNames } from "../../../src/network/remote-names.ts";
import type { Ip } from "../../../src/std/ip.ts";

const called = new Map([[1, "Shop"], [2, "a.b"]]);
const texts = ["db", "web", "db.shop", "web.shop.shop", "a", "x.a.b"];
const addresses = ["10.44.2.1", "10.44.2.2", "fd44::1"] as Ip[];

type Plain = ReadonlyMap<number, ReadonlyMap<string, readonly Ip[]>>;

/** Every name alone and with its network's behind it, with the addresses of all who are called so. */
function both(plain: Plain): ReadonlyMap<string, readonly Ip[]> {
  const found = new Map<string, Set<Ip>>();
  for (const [number, lists] of plain) {
    for (const [name, list] of lists) {
      for (const key of [`${number}/${name}`, `${number}/${name}.${called.get(number)?.toLowerCase()}`]) found.set(key, new Set([...(found.get(key) ?? []), ...list]));
    }
  }
  return new Map([...found].map(([key, list]) => [key, [...list].toSorted()]));
}

const sorted = (names: ReadonlyMap<string, readonly Ip[]>): string => JSON.stringify([...names].toSorted(([a], [b]) => (a < b ? -1 : 1)));

test("after any changes they say what a plain map of both forms says, those before what they said, and what differs is told", (t) => {
  const change = fc.tuple(fc.constantFrom(1, 2), fc.constantFrom(...texts), fc.option(fc.subarray(addresses, { minLength: 1 }), { nil: undefined, freq: 3 }));
  t.notThrows(() => fc.assert(fc.property(fc.array(fc.array(change, { maxLength: 5 }), { maxLength: 6 }), (script) => {
    let names = new RemoteNames();
    const plain = new Map<number, Map<string, readonly Ip[]>>([[1, new Map()], [2, new Map()]]);
    const past: (readonly [RemoteNames, string])[] = [];
    for (const changes of script) {
      const lists = new Map<number, Map<string, readonly Ip[] | undefined>>();
      for (const [number, name, list] of changes) {
        lists.set(number, (lists.get(number) ?? new Map<string, readonly Ip[] | undefined>()).set(name, list?.toSorted()));
        if (list === undefined) plain.get(number)?.delete(name);
        else plain.get(number)?.set(name, list.toSorted());
      }
      names = names.with(lists, called);
      const wanted = both(plain);
      if (sorted(names) !== sorted(wanted) || names.size !== wanted.size) return false;
      for (const [key, list] of wanted) if (names.get(key)?.join() !== list.join()) return false;
      past.push([names, sorted(wanted)]);
    }
    const differs = (a: RemoteNames, b: RemoteNames): boolean => {
      const said = new Set(a.differing(b));
      return [...a.keys(), ...b.keys()].every((key) => a.get(key)?.join() === b.get(key)?.join() || said.has(key));
    };
    return past.every(([one, was]) => sorted(one) === was && differs(one, names) && differs(names, one));
  })));
});

test("a network with another name has other names, and nothing new is the same object", (t) => {
  const names = new RemoteNames().with(new Map([[1, new Map([["db", [addresses[0] as Ip]]])]]), called);
  t.is(names.with(new Map([[1, new Map([["web", undefined]])]]), called), names);
  const renamed = names.with(new Map([[1, new Map([["db", names.listOf(1, "db")]])]]), new Map([[1, "store"]]));
  t.deepEqual([...renamed.keys()], ["1/db", "1/db.store"]);
  t.deepEqual(new Set(renamed.differing(names)), new Set(["1/db", "1/db.store", "1/db.shop"]));
  t.is(names.get("1/db.store"), undefined);
});
