// An engine with a network in which containers serve, on a host that is not there.
import { createHash } from "node:crypto";
import { currents } from "../../../src/lb/slots.ts";
import type { ServicePlan } from "../../../src/lb/types.ts";
import type { ContainerIdentity } from "../../../src/network/types.ts";
import type { RemoteEndpoint } from "../../../src/network/cluster.ts";
import type { Clock } from "../../../src/std/clock.ts";
import type { Ip } from "../../../src/std/ip.ts";
import { desk, endpointId, fakeHost, memoryStore, openShop } from "./fake.ts";
import type { FakeHost, MemoryStore } from "./fake.ts";

export const web = (n: number, more: Partial<ContainerIdentity> = {}): ContainerIdentity => ({ id: `c${n}`, name: `web${n}`, labels: { app: "web", image: "x" }, own: { app: "web" }, ...more });

/** A clock that a test moves, whose sleepers wake `early` by so many milliseconds. */
export function handClock(start = 1_000_000) {
  let now = start;
  let before = 0;
  const sleepers = new Set<{ readonly at: number; readonly wake: () => void }>();
  const clock: Clock = {
    now: () => now,
    deadline: () => new AbortController().signal,
    sleep: (ms, signal) => new Promise((resolve, reject) => {
      const sleeper = { at: now + ms, wake: resolve };
      sleepers.add(sleeper);
      signal?.addEventListener("abort", () => {
        sleepers.delete(sleeper);
        reject(signal.reason);
      }, { once: true });
    }),
  };
  const pass = (ms: number): void => {
    now += ms;
    for (const sleeper of [...sleepers].filter(({ at }) => at - before <= now)) {
      sleepers.delete(sleeper);
      sleeper.wake();
    }
  };
  return { clock, pass, early: (ms: number): void => void (before = ms) };
}

export async function shop(store: MemoryStore = memoryStore(), host: FakeHost = fakeHost(), people: (n: string) => ContainerIdentity | null = (id) => web(Number(id.slice(0, 11)))) {
  const { clock, pass, early } = handClock();
  const engine = desk(host, store, { whose: async ({ id }) => people(id), clock });
  await engine.start();
  const joining = await openShop(engine);
  const join = async (...which: readonly number[]): Promise<void> => {
    await joining(...which);
    await engine.idle();
  };
  return { host, store, engine, join, pass, early };
}

export const text = (lines = "", name = "web", address = "203.0.113.10:80"): string =>
  `service: ${name}\nfrontends: ["${address}"]\nbackends: [{ select: { network: shop, label: app=web }, port: 8080 }]\nhealth: { kind: none }\n${lines}`;
export const far = (id: string): RemoteEndpoint => ({
  node: "n2", id, containerId: "c50", name: "web50", names: ["web50"], network: "shop", ipv4: "10.44.9.2" as Ip, ipv6: null, mac: "02:42:0a:2c:09:02",
  identity: 300, labels: { network: "shop", project: null, service: null, name: null, own: { app: "web" } },
});
export const heard = (n: number, passed: boolean) => ({ service: "web", backend: endpointId(n), port: 8080, passed, why: passed ? "connected" : "connection refused" });
export const service = (...args: Parameters<typeof text>) => ({ documents: [{ file: `${args[1] ?? "web"}.yaml`, text: text(...args) }] });
export const backendsIn = (plans: readonly ServicePlan[] | null): readonly string[] => (plans ?? []).flatMap(({ name, backends }) => backends.map(({ identity, state }) => `${name} ${identity} ${state}`));
export const weightOf = ({ slots, backends }: ServicePlan, identity: string): number => {
  const number = backends.find((one) => one.identity === identity)?.number;
  return currents(slots).filter((current) => current === number).length;
};

/** Everything of the plans; slots as a hash, because nobody reads thousands of them. */
export const printed = (plans: readonly ServicePlan[] | null): string => JSON.stringify(plans, (_, value: unknown) =>
  value instanceof Uint32Array ? createHash("sha256").update(value).digest("hex") : value instanceof Map ? createHash("sha256").update(JSON.stringify([...value])).digest("hex") : value);
