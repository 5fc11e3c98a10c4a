// An address that was found taken, and etcd that is slow to hear of it.
import test from "ava";
import { electByLease } from "../../../src/peers/election-by-lease.ts";
import type { Seat } from "../../../src/peers/election.ts";
import { systemClock } from "../../../src/std/clock.ts";
import { parseIp } from "../../../src/std/ip.ts";
import type { Ip } from "../../../src/std/ip.ts";
import { createLog } from "../../../src/std/log.ts";
import { Server } from "./server.ts";

const address = parseIp("192.0.2.10");
const speed = 20;

function sit(name: string, server: Server, taken: () => boolean): { readonly client: ReturnType<Server["connect"]>; readonly held: ReadonlyMap<Ip, number | null>; stop(): Promise<void> } {
  const client = server.connect(name), held = new Map<Ip, number | null>(), life = new AbortController();
  const seat: Seat = {
    wanted: () => new Set([address]), isOwn: () => false, answered: () => new Map(held), announce: () => undefined, rivals: () => new Map(), linked: true, linkedSince: 0,
    hold: (all) => {
      held.clear();
      if (!taken()) for (const [one, until] of all) held.set(one, until);
    },
    taken: () => (taken() ? new Map([[address, "02:00:00:00:00:99 on device 2"]]) : new Map()),
  };
  const began = Date.now();
  const clock = { now: () => began + (Date.now() - began) * speed, sleep: (ms: number, signal?: AbortSignal) => systemClock.sleep(ms / speed, signal), deadline: (ms: number) => AbortSignal.timeout(ms / speed) };
  const nodes = ["a", "b"].map((one) => ({ name: one, state: "ready" as const }));
  const running = electByLease({ self: name, store: client, nodes: () => nodes, seat, clock, log: createLog(() => undefined, () => 0, "warn") }).run(life.signal);
  return {
    client, held,
    stop: async () => {
      life.abort();
      await running;
    },
  };
}

test("who says too late that an address is taken does not write over another's claim", async (t) => {
  const server = new Server();
  let taken = false;
  const a = sit("a", server, () => taken);
  await until(() => a.held.has(address));
  a.client.hold("requests");
  taken = true;
  await systemClock.sleep(200);
  a.client.expire();
  const b = sit("b", server, () => false);
  await until(() => b.held.has(address));
  a.client.release();
  await systemClock.sleep(800);
  t.true(b.held.has(address));
  t.regex(String(server.get(`held/${address}`)), /"b"/);
  await a.stop();
  await b.stop();
});

async function until(holds: () => boolean): Promise<void> {
  for (let i = 0; i < 200 && !holds(); i++) await systemClock.sleep(20);
}
