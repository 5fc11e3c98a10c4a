// Clients of services with affinity, as the agent keeps them: no number leads one to what it stood for before, or stands for now.
import test from "ava";
import { u32 } from "../../../src/abi/codec.ts";
import { lbClientCodec, lbClosedCodec, lbStayCodec } from "../../../src/abi/generated.ts";
import { decodeBackend } from "../../../src/datapath/lb-backends.ts";
import { createServices } from "../../../src/datapath/services.ts";
import { rest } from "../../../src/lb/numbers.ts";
import { advance, noBalancing } from "../../../src/lb/plan.ts";
import type { Balancing } from "../../../src/lb/plan.ts";
import { readServices } from "../../../src/lb/read.ts";
import type { ServicePlan } from "../../../src/lb/types.ts";
import { parseIp } from "../../../src/std/ip.ts";
import { openMaps } from "./lb-maps.ts";

const second = 1000;
const text = (name: string, servers: readonly string[], affinity = true): string => [
  `service: ${name}`, `frontends: ["203.0.113.${name.charCodeAt(0)}:80"]`, `backends: [${servers.join(", ")}]`, "health: { kind: none }", "mode: dsr", ...(affinity ? ["affinity: { by: client }"] : []), "",
].join("\n");
const [x, y, z] = ["{ address: 192.0.2.1:80 }", "{ address: 192.0.2.2:80 }", "{ address: 192.0.2.3:80 }"];

/** An agent and the kernel's maps; `write` is called after each write, and before one, where it may throw. */
function open(write: (when: "before" | "after") => void = () => {}) {
  const world = openMaps(write);
  const agent = () => createServices({
    kernel: world.kernel, mapOf: (name) => world.maps[name], jiffies: () => 1_000_000, hz: 250, clock: { now: () => now }, node: "a", translates: () => true, nodeAddress: () => undefined, isOwn: () => false,
  });
  let now = 1_750_000_000 * second;
  let balancing: Balancing = noBalancing;
  let services = agent();
  const clients = world.maps.hw_lb_clients;
  return {
    world,
    after: (time: number, ...texts: readonly string[]): readonly ServicePlan[] => {
      now += time;
      const { next, plans } = advance(balancing, { services: texts.flatMap((text) => readServices([{ file: "a.yaml", text }])), containers: [], mode: "auto", largestTable: 61, now });
      balancing = next;
      return plans;
    },
    install: (plans: readonly ServicePlan[]) => services.install(plans),
    restart: (): void => void (services = agent()),
    /** The client 198.51.100.N stays so. */
    stays: (client: number, service: number, current: number, previous = 0): void => {
      const slot = { current, previous, changed: previous === 0 ? 0 : 7 };
      clients.set(lbClientCodec.encode({ addr: parseIp(`198.51.100.${client}`), service }), lbStayCodec.encode({ slot, expires: 9n, elsewhere: 8n }));
    },
    /** By client: `SERVICE CURRENT PREVIOUS`. */
    left: (): Readonly<Record<number, string>> => Object.fromEntries(Array.from(clients.entries(), ([key, value]) => {
      const { addr, service } = lbClientCodec.decode(key);
      const { slot: { current, previous, changed }, expires, elsewhere } = lbStayCodec.decode(value);
      if (expires !== 9n || elsewhere !== 8n || (changed === 0) !== (previous === 0)) throw new Error("its times are others");
      return [Number(addr?.split(".").at(-1)), `${service} ${current} ${previous}`];
    })),
    closed: (): readonly string[] => Array.from(world.maps.hw_lb_closed.entries(), ([key, value]) => {
      const { service, backend } = lbClosedCodec.decode(key);
      return `${service} ${backend} ${u32.decode(value)}`;
    }),
    server: (number: number): string | undefined => decodeBackend(world.maps.hw_lb_backends.get(u32.encode(number)) ?? new Uint8Array(64))?.address,
  };
}

test("clients of a backend are forgotten before its number is another's, and what else is known of them is not", async (t) => {
  for (const restarts of [false, true]) {
    const { after, install, restart, stays, left, server } = open();
    await install(after(0, text("a", [x, y])));
    for (const [client, current, previous] of [[1, 1, 0], [2, 2, 0], [3, 1, 2], [4, 2, 1], [5, 1, 1]] as const) stays(client, 1, current, previous);
    if (restarts) restart();
    await install(after(second, text("a", [y])));
    await install(after(31 * second, text("a", [y])));
    t.is(server(1), undefined);
    await install(after(rest, text("a", [y])));
    t.is(Object.keys(left()).length, 5, "its number rests");
    if (restarts) restart();
    await install(after(0, text("a", [y]), text("b", [z], false)));
    t.is(server(1), "192.0.2.3");
    t.deepEqual(left(), { 2: "1 2 0", 3: "1 2 2", 4: "1 2 2" });
  }
});

test("clients of a service are forgotten before its number is another's, and when it had no affinity for a time", async (t) => {
  const { after, install, stays, left } = open();
  await install(after(0, text("a", [x]), text("c", [x])));
  stays(1, 1, 1);
  stays(2, 2, 1);
  await install(after(second, text("c", [x])));
  await install(after(rest, text("c", [x]), text("b", [x])));
  t.deepEqual(left(), { 2: "2 1 0" });
  await install(after(second, text("c", [x]), text("b", [x], false)));
  stays(3, 1, 1);
  await install(after(second, text("c", [x]), text("b", [x])));
  t.deepEqual(left(), { 2: "2 1 0" });
});

test("an agent that starts anew leaves clients where they are", async (t) => {
  const { after, install, restart, stays, left } = open();
  const plans = after(0, text("a", [x, y]));
  await install(plans);
  stays(1, 1, 2);
  restart();
  await install(plans);
  await install(after(second, text("a", [x, y]), text("b", [z])));
  t.deepEqual(left(), { 1: "1 2 0" });
});

test("whenever the agent is killed, no client is led by a number to what it did not stand for", async (t) => {
  let killedAt = 0;
  for (let done = false; !done && killedAt < 200; killedAt++) {
    let [left, armed] = [killedAt, false];
    const led: string[] = [];
    const one = open((when) => {
      if (armed && when === "before" && left-- === 0) throw new Error("here it ends");
      if (armed && when === "after" && one.server(1) === "192.0.2.3") led.push(...Object.values(one.left()).filter((text) => text.split(" ").slice(1).includes("1")));
    });
    await one.install(one.after(0, text("a", [x, y])));
    for (let client = 1; client <= 8; client++) one.stays(client, 1, 1 + (client % 2), client > 4 ? 1 : 0);
    await one.install(one.after(second, text("a", [y])));
    await one.install(one.after(31 * second, text("a", [y])));
    const plans = one.after(rest, text("a", [y]), text("b", [z]));
    armed = true;
    done = await one.install(plans).then(() => true, () => false);
    left = Infinity;
    one.restart();
    await one.install(plans);
    t.is(one.server(1), "192.0.2.3");
    t.deepEqual(led, [], `killed before write ${killedAt}`);
  }
  t.true(killedAt > 8, `${killedAt} writes`);
});

test("of services with affinity it is written who takes nothing new, and since when: who drains or has weight 0", async (t) => {
  const { after, install, restart, closed } = open();
  const weightless = "{ address: 192.0.2.2:80, weight: 0 }";
  await install(after(0, text("a", [x, weightless]), text("b", [x, weightless], false), text("c", [x, y])));
  t.deepEqual(closed(), ["1 2 1000000"]);
  await install(after(second, text("a", [x, y]), text("b", [x, weightless], false), text("c", [y])));
  t.deepEqual(closed(), ["3 1 1000000"]);
  await install(after(second, text("a", [x, y]), text("c", [weightless])));
  t.deepEqual(closed().toSorted(), ["3 1 1000000", "3 2 1000000"], "then nobody takes it");
  restart();
  await install(after(second, text("a", [x, y]), text("c", [x, y], false)));
  t.deepEqual(closed(), []);
});
