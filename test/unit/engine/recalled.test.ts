// What a balancer goes on with that starts where another was, when there are no numbers for what has come meanwhile.
import test from "ava";
import { createBalancer } from "../../../src/engine/balancer.ts";
import type { Outcome, Turn } from "../../../src/engine/balancer.ts";
import { wordsOf } from "../../../src/lb/slots.ts";
import type { Service, ServingContainer } from "../../../src/lb/types.ts";
import type { Ip } from "../../../src/std/ip.ts";
import type { Json } from "../../../src/store/types.ts";
import { container, read, serviceWith } from "../lb/given.ts";

const server = (i: number) => ({ kind: "address" as const, address: `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}` as Ip, port: 80, weight: 1, place: { file: "", line: 1, column: 1 } });
const crowd: Service = { ...read(serviceWith("service: crowd", 'frontends: ["203.0.113.1:80"]')), backends: Array.from({ length: 65_533 }, (_, i) => server(i)) };
const web = read(serviceWith("backends: [{ select: { network: shop }, port: 8080 }]", "health: { kind: none }"));
const containers = [container("a/web-1", 1), container("b/web-2", 2), container("c/web-3", 3)].map((one) => ({ ...one, ipv6: null }));

test("a service for which there are no numbers goes on with the backends that it had before the start", (t) => {
  const rows = new Map<string, Json>();
  const start = (those: readonly ServingContainer[]): Outcome => {
    const turn: Turn = { services: { set: [crowd, web], gone: [] }, containers: { set: those, gone: [] }, heard: [], told: null, wereGone: false, elsewhere: null, now: 1_750_000_000_000 };
    const outcome = createBalancer({ mode: "dsr", largestTable: 61, node: "a", rows }).turn(turn);
    for (const { key, value } of outcome.rows) if (value !== undefined) rows.set(key, value);
    return outcome;
  };
  const webIn = ({ plans }: Outcome): unknown => plans.set.filter(({ name }) => name === "web").map(({ slots, ...plan }) => ["of" in slots ? slots : [...wordsOf(slots)], plan]);
  const first = start(containers.slice(0, 2));
  const second = start(containers);
  t.deepEqual([[...first.refused.keys()], [...second.refused.keys()]], [[], ["web"]]);
  t.deepEqual(webIn(second), webIn(first));
});

test("a table that is larger than its backends need is after a start what it was", (t) => {
  const rows = new Map<string, Json>();
  const start = (count: number, now: number): number[] => {
    const those = Array.from({ length: count }, (_, i) => ({ ...container(`a/web-${i}`, i + 1), ipv6: null }));
    const turn: Turn = { services: { set: [web], gone: [] }, containers: { set: those, gone: [] }, heard: [], told: null, wereGone: false, elsewhere: null, now };
    const outcome = createBalancer({ mode: "dsr", node: "a", rows }).turn(turn);
    for (const { key, value } of outcome.rows) if (value !== undefined) rows.set(key, value);
    return outcome.plans.set.flatMap(({ slots }) => ("of" in slots ? [] : [...wordsOf(slots)]));
  };
  t.is(start(1, 1_750_000_000_000).length, 2 * 1021);
  t.is(start(11, 1_750_000_100_000).length, 2 * 8168);
  const small = start(1, 1_750_000_200_000);
  t.is(small.length, 2 * 8168);
  t.true(small.every((word, i) => word === (i % 2 === 0 ? small[0] : 0)));
  const three = start(3, 1_750_000_300_000);
  t.deepEqual(start(3, 1_750_000_400_000), three);
});
