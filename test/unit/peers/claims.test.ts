// Claims: who gets which slice and which number when several ask at once, and when one dies half-way.
import test from "ava";
import fc from "fast-check";
import { createClaims } from "../../../src/peers/claims.ts";
import { identityHashKey } from "../../../src/peers/keys.ts";
import { openView } from "../../../src/peers/view.ts";
import type { PoolConfig } from "../../../src/network/types.ts";
import { createLog } from "../../../src/std/log.ts";
import { overlaps, parseCidr } from "../../../src/std/ip.ts";
import { Server } from "./server.ts";
import type { Client } from "./server.ts";
import { pool } from "./world.ts";

const { signal } = new AbortController();
const log = createLog(() => {}, () => 0);

function claimer(server: Server, self: string, ofPool: PoolConfig = pool) {
  const store: Client = server.connect(self);
  const view = openView({ self, pool: ofPool, addresses: () => [], answers: () => false, log });
  return { store, view, claims: createClaims({ self, pool: ofPool, store, view, learned: () => {} }) };
}

test("two nodes that ask for the same identity at once get the same number, and different ones never do", async (t) => {
  const server = new Server();
  const [a, b] = [claimer(server, "a"), claimer(server, "b")];
  const keys = Array.from({ length: 200 }, (_, i) => `identity ${i}`);
  const ask = (one: typeof a): Promise<readonly number[]> => Promise.all(keys.map((key) => one.claims.number(key, signal)));
  const [ofA, ofB] = await Promise.all([ask(a), ask(b)]);
  t.deepEqual(ofA, ofB);
  t.is(new Set(ofA).size, keys.length);
  t.true(ofA.every((number) => number >= 256 && number < 2 ** 23));
});

test("keys that lead to the same first number get different ones", async (t) => {
  const server = new Server();
  const a = claimer(server, "a");
  const number = await a.claims.number("one", signal);
  const b = claimer(server, "b");
  // As if the first number of another key were taken by a key that b has not heard of.
  server.put({ [`identities/${number}`]: JSON.stringify({ v: 1, key: "two" }), [identityHashKey("one")]: undefined });
  t.is(await b.claims.number("one", signal), number + 1);
});

test("whoever dies half-way leaves nothing that the next cannot go on from", async (t) => {
  await fc.assert(fc.asyncProperty(fc.integer({ min: 0, max: 4 }), fc.integer({ min: 0, max: 4 }), fc.constantFrom("one", "two"), async (first, second, other) => {
    const server = new Server();
    const [dying, alsoDying, living, last] = [claimer(server, "a"), claimer(server, "b"), claimer(server, "c"), claimer(server, "d")];
    dying.store.dieAfter(first);
    alsoDying.store.dieAfter(second);
    await Promise.allSettled([dying.claims.number("one", signal), alsoDying.claims.number(other, signal), dying.claims.slice(4, signal)]);
    const one = await living.claims.number("one", signal);
    t.is(await last.claims.number("one", signal), one);
    t.not(await last.claims.number("two", signal), one);
  }), { numRuns: 50 });
});

test("every node of a pool gets a slice of its own, also the last, and the next is told what to do", async (t) => {
  const server = new Server();
  const small: PoolConfig = { ipv4: parseCidr("10.44.0.0/20"), ipv4NodePrefix: 24, ipv6: null, ipv6NodePrefix: 64 };
  const nodes = Array.from({ length: 16 }, (_, i) => claimer(server, `n${i}`, small));
  await Promise.all(nodes.map(({ claims }) => claims.slice(4, signal)));
  const slices = nodes.map(({ view }, i) => view.registry.sliceOf(`n${i}`, 4));
  t.is(new Set(slices).size, 16);
  t.true(slices.every((slice) => slice !== null));
  await t.throwsAsync(claimer(server, "late", small).claims.slice(4, signal), { code: "NO_FREE_POOL", message: /every slice of 10\.44\.0\.0\/20 has a node; enlarge pool\.ipv4 on every node, or remove slices\/4/ });
});

test("a node claims one more slice when it asks for one, as long as there are any, and keeps them all though the server was emptied", async (t) => {
  const server = new Server();
  const small: PoolConfig = { ipv4: parseCidr("10.44.0.0/22"), ipv4NodePrefix: 24, ipv6: null, ipv6NodePrefix: 64 };
  const [a, b] = [claimer(server, "a", small), claimer(server, "b", small)];
  await a.claims.slice(4, signal);
  await b.claims.slice(4, signal);
  const slices = [a.view.registry.sliceOf("a", 4), await a.claims.another(4, signal), await a.claims.another(4, signal)];
  t.deepEqual([a.view.registry.sliceOf("a", 4), ...a.view.registry.moreOf("a")], slices.toSorted());
  t.is(new Set([...slices, b.view.registry.sliceOf("b", 4)]).size, 4);
  await t.throwsAsync(a.claims.another(4, signal), { code: "NO_FREE_POOL", message: /every slice of 10\.44\.0\.0\/22 has a node; enlarge pool\.ipv4 on every node/ });
  await t.throwsAsync(a.claims.another(6, signal), { code: "NO_FREE_POOL", message: /no IPv6 pool/ });
  server.wipe();
  a.view.takeAll(new Map());
  await a.claims.slice(4, signal);
  t.is(server.keys("slices/").length, 3);
});

test("a node keeps its slice, though the server was emptied and others came first", async (t) => {
  const server = new Server();
  const a = claimer(server, "a");
  await a.claims.slice(4, signal);
  const slice = a.view.registry.sliceOf("a", 4);
  server.wipe();
  a.view.takeAll(new Map());
  t.is(a.view.registry.sliceOf("a", 4), slice);
  await a.claims.slice(4, signal);
  t.is(a.view.registry.sliceOf("a", 4), slice);
  t.deepEqual(server.keys("slices/"), [`slices/4/${slice?.replace("/24", "")}`]);
});

test("a slice of another size is not claimed over", async (t) => {
  const server = new Server();
  const a = claimer(server, "a");
  await a.claims.slice(4, signal);
  const small = a.view.registry.sliceOf("a", 4);
  // The same name makes the same first choice: the /20 that holds the /24, which is another's here.
  const b = claimer(server, "a", { ...pool, ipv4NodePrefix: 20 });
  b.view.take(new Map([...server.data].map(([key, { value }]) => [key, value.replace('"node":"a"', '"node":"other"')])));
  await b.claims.slice(4, signal);
  const large = b.view.registry.sliceOf("a", 4);
  t.true(large?.endsWith("/20"));
  t.true(small !== null && large !== null && !overlaps(small, large));
});
