// Services as they are written: whatever changes together, fails or is killed, between any two writes every frontend leads to a backend of its own service.
import test from "ava";
import { u32 } from "../../../src/abi/codec.ts";
import { lbBucketCodec, LbPoolLayout, lbServiceCodec } from "../../../src/abi/generated.ts";
import type { LbFrontend } from "../../../src/abi/generated.ts";
import { backendMaps, readBackends } from "../../../src/datapath/lb-backends.ts";
import { createServices } from "../../../src/datapath/services.ts";
import type { Services } from "../../../src/datapath/services.ts";
import { advance, afterSettling, noBalancing } from "../../../src/lb/plan.ts";
import type { Balancing } from "../../../src/lb/plan.ts";
import { readServices } from "../../../src/lb/read.ts";
import { wordsOf } from "../../../src/lb/slots.ts";
import type { Service, ServicePlan, ServingContainer } from "../../../src/lb/types.ts";
import { firstOf } from "../../../src/std/ip.ts";
import type { Ip } from "../../../src/std/ip.ts";
import { container } from "../lb/given.ts";
import { generator } from "../lb/random.ts";
import { openMaps } from "./lb-maps.ts";

const rounds = 40;
/** Neither an address alone nor where a server answers from. */
const isFrontend = ({ service, port, proto }: LbFrontend): boolean => service !== 0 && port !== 0 && proto !== LbPoolLayout.PROTOCOL;

for (const seed of [1, 2, 10]) {
  test(`changes by chance, ${seed}`, async (t) => {
    const random = generator(seed);
    const one = <T>(of: readonly T[]): T => of[random(of.length)] as T;
    /** By the service's number: backends that one of its plans names which may be in force. */
    const allowed = new Map<number, Set<number>>();
    /** By the service's number: where the one range begins that one of its plans denies. */
    const denied = new Map<number, Set<number>>();
    const allow = (plans: readonly ServicePlan[]): void => {
      for (const { number, sources: { deny } } of plans) denied.set(number, new Set([...denied.get(number) ?? [], ...deny.map((prefix) => Number(firstOf(prefix)))]));
      for (const { number, backends } of plans) allowed.set(number, new Set([...allowed.get(number) ?? [], 0, ...backends.map((backend) => backend.number)]));
    };
    let unreachable = new Set<number>();
    let left = Infinity;
    const failures: string[] = [];
    const look = (): void => {
      if (failures.length > 0) return;
      const up = new Set(readBackends(backendMaps((name) => world.maps[name])).keys());
      for (const [key, value] of world.maps.hw_lb_services.entries()) {
        const { depth, sources } = lbServiceCodec.decode(value);
        // The second line's first start, which lies there plus 2^31 - 1 less 2^31.
        const start = (world.maps.hw_lb_sources.words[16 * (sources + 1)] ?? 0) + 1;
        if (depth > 0 && denied.get(u32.decode(key))?.has(start) !== true) failures.push(`service ${u32.decode(key)} denies ${start}`);
      }
      for (const value of world.maps.hw_lb_frontends.held.values()) {
        for (const { service, table, slots } of lbBucketCodec.decode(value).frontends.filter(isFrontend)) {
          const said = slots !== 0 ? { table, slots } : lbServiceCodec.decode(world.maps.hw_lb_services.get(u32.encode(service)) ?? new Uint8Array(lbServiceCodec.size));
          if (said.slots === 0) failures.push(`service ${service} has a frontend and no table`);
          for (const word of world.slots(said.table, said.slots)) {
            const [current, previous] = [word & 0xffff, word >>> 16];
            for (const number of [current, previous]) if (allowed.get(service)?.has(number) !== true) failures.push(`service ${service} leads to ${number}`);
            if (current !== 0 && !up.has(current) && !unreachable.has(current)) failures.push(`service ${service} leads to ${current}, which is down`);
          }
        }
      }
    };
    const world = openMaps((when) => {
      if (when === "after") look();
      else if (left-- === 0) throw new Error("here it ends");
    });
    const open = (): Services => createServices({
      kernel: world.kernel, mapOf: (name) => world.maps[name], jiffies: () => 1_000_000, hz: 250, clock: { now: () => now }, node: "a", translates: () => true, nodeAddress: (node) => (node === "c" ? undefined : "198.18.0.2" as Ip), isOwn: () => false,
    });
    let now = 1_750_000_000_000;
    let services = open();
    let balancing: Balancing = noBalancing;
    let wanted = new Map<string, Service>();
    let containers: readonly ServingContainer[] = [];
    let inForce: readonly ServicePlan[] = [];
    const serviceNamed = (name: string): Service => {
      const weight = one(["", "", ", weight: 0"]);
      const server = one(["", "", `, { address: "192.0.2.${one([7, 8])}:80" }`]);
      const lines = [`backends: [{ select: { network: ${one(["shop", "shop", "dns"])} }, port: 80${weight} }${server}]`, `mode: ${one(["auto", "dsr", "snat"])}`, "health: { kind: none }", `drain: ${one([10, 10, 300])}s`,
        ...one([[], [], [], ["affinity: { by: client, timeout: 60s }"], ["sources: { deny: [198.51.100.0/24] }"], ["sources: { deny: [192.0.2.0/24] }"]])];
      const addresses = one([[`"203.0.113.${name}:80"`], [`"203.0.113.${name}:80"`, `"203.0.113.${name}:80/udp"`], [`"203.0.113.${name}:80"`, `"[2001:db8::${name}]:80"`]]);
      return readServices([{ file: "a.yaml", text: `service: s${name}\nfrontends: [${addresses.join(", ")}]\n${lines.join("\n")}\n` }])[0] as Service;
    };

    for (let round = 0; round < rounds && failures.length === 0; round++) {
      for (let i = random(4); i >= 0; i--) {
        const name = String(1 + random(5));
        if (random(4) === 0) wanted = new Map([...wanted].filter(([other]) => other !== name));
        else wanted = new Map(wanted).set(name, serviceNamed(name));
      }
      for (let i = random(3); i > 0; i--) {
        const last = 1 + random(8);
        const [found, ...others] = [containers.find(({ id }) => id.includes(`-${last}#`)), ...containers.filter(({ id }) => !id.includes(`-${last}#`))];
        const next = found === undefined ? [container(`${one(["a", "b", "b", "c"])}/${one(["shop", "dns"])}-${last}`, last)] : one([[], [{ ...found, stopping: !found.stopping }]]);
        containers = [...others.filter((other) => other !== undefined), ...next.map((other) => ({ ...other, network: other.id.includes("/dns-") ? "dns" : "shop" }))];
      }
      now += one([100, 11_000, 400_000]);
      if (random(5) === 0) balancing = afterSettling(balancing, () => () => random(2) === 0);
      const { next, plans } = advance(balancing, { services: [...wanted.values()], containers, mode: "auto", largestTable: 61 * 2 ** Math.floor(round / 10), now });
      balancing = next;
      allow(plans);
      unreachable = new Set([...unreachable, ...plans.flatMap(({ backends }) => backends.filter(({ node }) => node === "c").map(({ number }) => number))]);
      left = random(3) === 0 ? random(60) : Infinity;
      let installed = await services.install(plans, random(6) === 0).catch(() => null);
      left = Infinity;
      if (installed === null) {
        if (random(2) === 0) await services.install(inForce);
        else services = open();
        installed = await services.install(plans);
      }
      t.is(installed.refused.size, 0);
      const reached = plans.flatMap(({ frontends, backends }) => backends.flatMap((backend) => frontends.map((by) => [`${backend.address} ${backend.port}`, `${by.protocol} ${by.address} ${by.port}`] as const)));
      for (const { address, port, protocol, through } of installed.gone) {
        const [ways, by] = [reached.filter(([backend]) => backend === `${address} ${port}`), through?.map((way) => `${protocol} ${way.address} ${way.port}`)];
        t.deepEqual(ways.filter(([, way]) => by === undefined || by.includes(way)), [], `who is gone in round ${round}`);
      }
      inForce = plans;
      if (random(8) === 0) services = open();
      for (const { number, backends, slots, frontends } of plans) {
        allowed.set(number, new Set([0, ...backends.map((backend) => backend.number)]));
        const { table, slots: formed } = lbServiceCodec.decode(world.maps.hw_lb_services.get(u32.encode(number)) ?? new Uint8Array(lbServiceCodec.size));
        const [held, words] = [world.slots(table, formed), wordsOf(slots)];
        t.is(held.length, slots.size);
        t.true(held.every((word, slot) => word === words[2 * slot]), `service ${number} in round ${round}`);
        t.true(frontends.length > 0);
      }
      const written = [...world.maps.hw_lb_frontends.held.values()].flatMap((value) => lbBucketCodec.decode(value).frontends).filter(isFrontend);
      t.is(written.length, plans.flatMap(({ frontends }) => frontends).length);
      const up = [...readBackends(backendMaps((name) => world.maps[name])).keys()];
      const asked = plans.flatMap(({ backends }) => backends.filter(({ way, node }) => way === "snat" && node === null).map(({ number }) => number));
      t.deepEqual([...world.maps.hw_lb_pools.entries()].map(([key]) => u32.decode(key)).toSorted((a, b) => a - b), [...new Set(asked)].toSorted((a, b) => a - b), `pools in round ${round}`);
      t.deepEqual(up.toSorted((a, b) => a - b), [...new Set(plans.flatMap(({ backends }) => backends.filter(({ node }) => node !== "c").map(({ number }) => number)))].toSorted((a, b) => a - b), `round ${round}`);
    }
    t.deepEqual(failures.slice(0, 1), []);
  });
}
