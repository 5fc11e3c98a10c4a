// Services in the balancer's maps: what their plans say and the maps do not is written, in an order in which no packet meets half of a service.
import { u32 } from "../abi/codec.ts";
import { lbServiceCodec } from "../abi/generated.ts";
import type { BackendPlan, ServicePlan } from "../lb/types.ts";
import { changesOf } from "../std/changes.ts";
import { HawserError } from "../std/errors.ts";
import { inTurns } from "../std/sliced.ts";
import type { GoneBackend } from "./end-sockets.ts";
import { goneBackends, unclaimedBackends } from "./gone-backends.ts";
import { backendMaps, setBackend, writeBackends } from "./lb-backends.ts";
import type { BackendEntry } from "./lb-backends.ts";
import { readElsewhere } from "./lb-elsewhere.ts";
import type { FrontendEntry } from "./lb-frontends.ts";
import { noTable } from "./lb-slots.ts";
import { backendEntries, frontendEntries, serviceValue } from "./service-entries.ts";
import { packed } from "./packed.ts";
import { createRoom } from "./service-room.ts";
import { readBack } from "./services-world.ts";
import type { Entries, Pool, ServicesSurroundings, Standing, World } from "./services-world.ts";
import { noTraffic, readTraffic } from "./lb-traffic.ts";
import { closedEntries } from "./lb-stays.ts";
import { turns } from "./turns.ts";
import type { Elsewhere, TrafficReading } from "./types.ts";

export interface Services extends Disposable {
  /**
   * Makes the maps what the plans say, of which those that are the same objects as the last time are not looked at; `anew`: all are, because what is
   * around them may have changed. What an earlier agent wrote is taken over where it fits.
   * @throws HawserError KERNEL
   */
  install(plans: readonly ServicePlan[], anew?: boolean): Promise<Installed>;
  traffic(): Promise<TrafficReading>;
  /** Of the services that are installed as they are wanted. */
  elsewhere(): Promise<Elsewhere>;
}

export interface Installed {
  /** To whom nobody is led any more. */
  readonly gone: readonly GoneBackend[];
  /**
   * Plans of which nothing was written, because this node cannot carry them out (UNSUPPORTED) or has no room (TABLE_FULL): what stood in their place
   * stands, unless an earlier agent wrote it.
   */
  readonly refused: ReadonlyMap<ServicePlan, HawserError>;
}

export function createServices(around: ServicesSurroundings): Services {
  const { mapOf } = around;
  const [services, backends] = [mapOf("hw_lb_services"), backendMaps(mapOf)];
  let world: World;
  /** Whether there is a world: what the maps hold is read with turns for others in between, when something is to be installed. */
  let isRead = false;
  /** By number: what was carried out last, whatever became of it since. */
  const last = new Map<number, ServicePlan>();
  /** Numbers of those that were refused then. */
  let waiting: ReadonlySet<number> = new Set();

  const stands = (key: string): FrontendEntry | undefined => world.frontends.written.get(key);
  const standingOf = (plan: ServicePlan): Standing => ({ plan, frontends: frontendEntries(plan, around, noTable, stands), closed: closedEntries(plan) });

  /** What those of the plans take that can be carried out, or what was in their place if that is to be written anew; who stands already goes before who is new. */
  const admit = async (plans: readonly ServicePlan[], anew: boolean, refused: Map<ServicePlan, HawserError>, pause: () => Promise<void>): Promise<ReadonlyMap<number, Standing>> => {
    const [stood, admitted] = [new Map<number, Standing>(), new Map<number, Standing>()];
    const claim = createRoom({
      frontends: { written: world.frontends.written, room: world.table.room }, backends: world.backends.written, translates: around.translates(),
      sources: world.sources,
    });
    for (const plan of [...plans.filter(({ number }) => world.numbers.has(number)), ...plans.filter(({ number }) => !world.numbers.has(number))]) {
      try {
        const one = standingOf(plan);
        claim(one);
        admitted.set(plan.number, one);
      } catch (error) {
        if (!(error instanceof HawserError)) throw error;
        refused.set(plan, error);
        const before = last.get(plan.number);
        if (before !== undefined && (anew || !world.standing.has(plan.number)) && world.sources.reserve(before)) stood.set(plan.number, standingOf(before));
      }
      await pause();
    }
    // What one of the others has taken over from these is the other's.
    const all = new Map([...stood, ...admitted]);
    for (const plan of await world.tables.reserve(Array.from(all.values(), ({ plan }) => plan), pause)) {
      all.delete(plan.number);
      refused.set(plan, new HawserError("TABLE_FULL", `service ${plan.name}: no room is left for its table of ${plan.slots.size} slots; services with the same backends share one, and a lower loadBalancer.maglevTable makes all shorter`));
    }
    return all;
  };

  /** What is new of the plans becomes wanted. */
  const want = async (standing: ReadonlyMap<number, Standing>, anew: boolean, pause: () => Promise<void>): Promise<void> => {
    const pools = new Map<readonly BackendPlan[], Entries<number, BackendEntry>>();
    for (const { plan: { backends: pool } } of standing.values()) {
      if (pools.has(pool) || (!anew && world.pools.has(pool))) continue;
      pools.set(pool, backendEntries(pool, around));
      await pause();
    }
    // From here on it is half done until all is.
    for (const [pool, entries] of pools) {
      const had = world.pools.get(pool);
      world.backends.take(entries);
      world.backends.drop(had?.entries ?? []);
      world.pools.set(pool, { entries, users: had?.users ?? 0 });
      await pause();
    }
    for (const { plan: { backends: pool }, frontends, closed } of standing.values()) {
      (world.pools.get(pool) as Pool).users++;
      world.frontends.take(frontends);
      world.closed.take(closed);
      await pause();
    }
  };
  const unwant = async ({ plan: { backends: pool }, frontends, closed }: Standing, pause: () => Promise<void>): Promise<void> => {
    const had = world.pools.get(pool) as Pool;
    if (--had.users === 0) {
      world.backends.drop(had.entries);
      world.pools.delete(pool);
    }
    world.frontends.drop(frontends);
    world.closed.drop(closed);
    await pause();
  };

  const write = async (plans: readonly ServicePlan[], anew: boolean): Promise<Installed & { readonly freed: boolean }> => {
    const pause = turns();
    await world.rest.over();
    const inherited = world.asked === undefined;
    const { left, came } = anew || world.asked === undefined ? { left: world.asked ?? [], came: plans } : changesOf(world.asked, plans);
    const kept = new Set(came.map(({ number }) => number));
    const leaving = (inherited ? [...world.numbers] : left.map(({ number }) => number)).filter((number) => !kept.has(number));
    await pause();
    const refused = new Map<ServicePlan, HawserError>();
    const after = await admit(came, anew, refused, pause);
    // Nobody knows the plan of what an earlier agent wrote there, so that it cannot follow what is around it.
    const unknown = new Set(Array.from(refused.keys(), ({ number }) => number).filter((number) => world.numbers.has(number) && !world.standing.has(number) && !after.has(number)));
    const gone = [...leaving, ...unknown];
    const changed = Array.from(after.values(), ({ plan }) => plan);
    const replaced = [...after.keys(), ...gone].flatMap((number) => world.standing.get(number)?.plan ?? []);
    const stood = inherited ? [...world.backends.written.values()] : [];
    await want(after, anew, pause);
    for (const number of [...after.keys(), ...gone]) {
      const before = world.standing.get(number);
      if (before !== undefined) await unwant(before, pause);
    }
    for (const { number, name } of changed) if ((world.standing.get(number)?.plan.name ?? name) !== name) world.stays.leaveService(number);
    const [missing, others]: [(readonly [number, BackendEntry, before: BackendEntry | undefined])[], number[]] = [[], []];
    for await (const [number, entry, before] of world.backends.missing(pause)) {
      missing.push([number, entry, before]);
      if (before?.address !== entry.address || before.port !== entry.port) others.push(number);
    }
    await world.stays.renew(changed.flatMap(({ number, affinity }) => (affinity === null ? [] : [number])), others, world.backends.written, pause);
    let removed = false;
    // Nobody is sent to what is about to change its meaning.
    for await (const [, entry] of world.frontends.unwanted(pause)) {
      removed = true;
      world.table.delete(entry);
      if (entry.port !== 0) world.origins.drop(entry);
    }
    // Who answers this node is known before anybody is asked.
    for (const [number, entry] of missing) {
      if (entry.mode === "SNAT") world.ports.take(number, entry);
      await pause();
    }
    await writeBackends(backends, missing, pause);
    await world.tables.change(changed, gone, pause);
    for await (const [key] of world.closed.missing(pause)) world.stays.close(key);
    for await (const [key] of world.closed.unwanted(pause)) world.stays.open(key);
    const told = packed(services, lbServiceCodec);
    for (const plan of changed) {
      told.put(plan.number, serviceValue(plan, world.tables.rangeOf(plan.number), world.sources.take(plan)));
      await pause();
    }
    told.end();
    for (const [number, { plan, frontends: unplaced, closed }] of after) {
      const frontends = frontendEntries(plan, around, world.tables.rangeOf(number), stands);
      world.frontends.take(frontends);
      world.frontends.drop(unplaced);
      world.standing.set(number, { plan, frontends, closed });
      if (plan.affinity === null) world.stays.leaveService(number);
      world.numbers.add(number);
      last.set(number, plan);
      await pause();
    }
    const placed: FrontendEntry[] = [];
    for await (const [, entry] of world.frontends.missing(pause)) placed.push(entry);
    await world.origins.name(placed, pause);
    // A program that has found one of those reads on in its place, which may be another's then.
    if (removed && placed.length > 0) await world.row.passed();
    await world.table.setAll(placed, pause);
    for (const number of gone) {
      services.set(u32.encode(number), lbServiceCodec.encode({ table: 0, slots: 0, sources: 0, depth: 0, flags: 0, affinity: 0 }));
      world.sources.leave(number);
      world.stays.leaveService(number);
      world.standing.delete(number);
      world.numbers.delete(number);
      last.delete(number);
    }
    // Records of flows name it still, until they are as old as its number's rest.
    for await (const [number, entry] of world.backends.unwanted(pause)) {
      setBackend(backends, number, { ...entry, down: true });
      world.stays.leaveBackend(number);
      if (entry.mode === "SNAT") world.ports.drop(number, entry);
    }
    world.ports.keep(world.backends.written);
    world.rest.begin();
    for (const one of [world.frontends, world.backends, world.closed]) one.done();
    waiting = new Set(Array.from(refused.keys(), ({ number }) => number));
    world.asked = refused.size === 0 ? plans : plans.flatMap((plan) => (refused.has(plan) ? world.standing.get(plan.number)?.plan ?? [] : [plan]));
    return { gone: [...await inTurns(goneBackends(replaced, changed)), ...(inherited ? unclaimedBackends(stood, came) : [])], refused, freed: unknown.size > 0 };
  };

  const read = async (): Promise<void> => {
    isRead = false;
    world = await readBack(around, turns());
    isRead = true;
  };

  const install = async (plans: readonly ServicePlan[], anew = false): Promise<Installed> => {
    if (!isRead) await read();
    try {
      const { gone, refused, freed } = await write(plans, anew);
      if (!freed) return { gone, refused };
      const again = await write(plans, false);
      return { gone: [...gone, ...again.gone], refused: again.refused };
    } catch (error) {
      // What stands now is half of it: the maps themselves say which.
      await world.row.passed().catch(() => undefined);
      world.row[Symbol.dispose]();
      await read();
      throw error;
    }
  };

  return {
    install,
    traffic: async () => (isRead ? readTraffic(around, world.backends.written, world.frontends.written.values()) : noTraffic),
    elsewhere: async () => readElsewhere(mapOf("hw_lb_elsewhere"), new Map((isRead ? [...world.standing.keys()] : []).filter((number) => !waiting.has(number)).map((number) => [number, world.tables.rangeOf(number)])), around, turns()),
    [Symbol.dispose]: () => {
      if (isRead) world.row[Symbol.dispose]();
    },
  };
}
