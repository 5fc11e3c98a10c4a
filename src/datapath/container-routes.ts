// Routes to other nodes' containers inside of containers' namespaces, put there one container after the other while everything else goes on.
import { statSync } from "node:fs";
import { openNetlink } from "../kernel/index.ts";
import type { Netlink, RouteInfo } from "../kernel/types.ts";
import type { ContainerRoutesPlan } from "../network/types.ts";
import type { Clock } from "../std/clock.ts";
import { messageOf } from "../std/errors.ts";
import type { Log } from "../std/log.ts";
import { mainTable, routeProtocol, unicast } from "./route-marks.ts";

export interface ContainerRoutes extends AsyncDisposable {
  /** What all containers are to have, by their endpoints' ids; a plan that is the same object is the same. Those that are no more lose theirs. */
  install(plans: ReadonlyMap<string, ContainerRoutesPlan>): void;
  /** A device came, went or moved: where Docker had not put it yet, it is looked again. */
  hostChanged(): void;
}

/**
 * Of our routes, in both families. It is not the kernel's own (0 and 1024), so that Docker, which fails a container's start over a route that is there
 * already, never meets one of ours; and it is the last, so that the container's own routes come first.
 */
const metric = 4096;
/** Milliseconds from when a container's interface is seen until Docker has surely put its own routes there, or never will. */
const dockersTime = 2000;
/** How often a device of the host's makes us look again before the next round of the agent's does. */
const mostTries = 20;

/** Of a container that Docker is still making, or that is gone. */
interface Waiting {
  /** The last that was tried. */
  readonly plan: ContainerRoutesPlan;
  readonly tries: number;
  /** Its interface was seen. */
  readonly met: boolean;
  /** And that is so long ago that nothing more of Docker's is to be expected. */
  readonly late: boolean;
}

export function createContainerRoutes(clock: Pick<Clock, "sleep">, log: Log): ContainerRoutes {
  let wanted: ReadonlyMap<string, ContainerRoutesPlan> = new Map();
  const done = new Map<string, ContainerRoutesPlan>();
  const due = new Set<string>();
  const waiting = new Map<string, Waiting>();
  const life = new AbortController();
  let working: Promise<void> = Promise.resolve();
  let busy = false;

  const settle = async (id: string): Promise<void> => {
    const before = waiting.get(id);
    const plan = wanted.get(id) ?? without(done.get(id) ?? before?.plan);
    if (plan === undefined) return;
    const { met, why } = await write(plan, !done.has(id) && before?.late !== true).catch((error: unknown) => ({ met: false, why: messageOf(error) }));
    if (why === undefined || !wanted.has(id)) {
      waiting.delete(id);
      // Of a container that is gone the routes are, too.
      if (!wanted.has(id)) done.delete(id);
      else if (wanted.get(id) === plan) done.set(id, plan);
      return;
    }
    const tries = (before?.tries ?? 0) + 1;
    waiting.set(id, { plan, tries, met: met || before?.met === true, late: before?.late === true });
    if (met && before?.met !== true) void later(id);
    log.debug("routes to other nodes cannot be given to a container yet", { endpoint: id, tries, why });
  };

  const later = async (id: string): Promise<void> => {
    await clock.sleep(dockersTime, life.signal).catch(() => undefined);
    const known = waiting.get(id);
    if (known === undefined) return;
    waiting.set(id, { ...known, late: true });
    due.add(id);
    kick();
  };

  const work = async (): Promise<void> => {
    for (const id of due) {
      if (life.signal.aborted) break;
      due.delete(id);
      await settle(id);
    }
    busy = false;
  };

  const kick = (): void => {
    if (busy || life.signal.aborted || due.size === 0) return;
    busy = true;
    working = work();
  };

  return {
    install: (plans) => {
      const before = wanted;
      wanted = plans;
      for (const [id, plan] of plans) if (done.get(id) !== plan) due.add(id);
      for (const id of [...before.keys(), ...done.keys()]) if (!plans.has(id)) due.add(id);
      kick();
    },
    hostChanged: () => {
      for (const [id, { tries }] of waiting) if (tries < mostTries) due.add(id);
      kick();
    },
    [Symbol.asyncDispose]: async () => {
      life.abort();
      await working;
    },
  };
}

function without(plan: ContainerRoutesPlan | undefined): ContainerRoutesPlan | undefined {
  return plan && { ...plan, routes: [] };
}

/**
 * Makes the routes on the endpoint's own interface what the plan says, and looks at no others but those that Docker put there for us.
 * `fresh`: the interface was not there a moment ago, and Docker may be about to put its own there.
 * @returns whether the interface is there, and why not all of it is so yet; what could be done is.
 * @throws KernelError when the namespace is not there.
 */
async function write({ sandbox, address, routes, given }: ContainerRoutesPlan, fresh: boolean): Promise<{ readonly met: boolean; readonly why: string | undefined }> {
  if (isOurs(sandbox)) return { met: false, why: "it is the host's own namespace" };
  using inside = await openNetlink(sandbox);
  const index = (await inside.addresses()).find(({ prefix }) => prefix === address)?.index;
  if (index === undefined) return { met: false, why: "its interface is not there yet" };
  const standing = (await inside.routes()).filter((route) => route.index === index && route.table === mainTable && route.type === unicast && route.gateway !== null);
  const ours = standing.filter((route) => route.protocol === routeProtocol || given.some((destination) => destination === route.destination));
  const wanted = new Set(routes.map(keyOf));
  const dockersOwn = new Set(ours.filter(({ protocol }) => protocol !== routeProtocol).map(keyOf));
  const known = new Set(ours.map(keyOf));
  const missing = routes.filter((route) => !known.has(keyOf(route)));
  const dockers = fresh ? missing.filter(({ destination }) => given.includes(destination)) : [];
  const refused = await all([
    ...ours.filter((route) => !wanted.has(keyOf(route)) || (route.protocol === routeProtocol && dockersOwn.has(keyOf(route)))).map((route) => () => remove(inside, route)),
    ...missing.filter((route) => !dockers.includes(route)).map((route) => () => inside.replaceRoute({ ...route, index, protocol: routeProtocol, metric })),
  ]);
  return { met: true, why: refused ?? (dockers.length === 0 ? undefined : "Docker has not put its own there yet") };
}

/** What a namespace's file leads to may be anything that its path says; the host's own routes are not ours to touch here. */
function isOurs(sandbox: string): boolean {
  const [there, here] = [statSync(sandbox), statSync("/proc/self/ns/net")];
  return there.dev === here.dev && there.ino === here.ino;
}

function keyOf({ destination, gateway }: { readonly destination: string; readonly gateway: string | null }): string {
  return `${destination} ${gateway}`;
}

function remove(inside: Netlink, { destination, index, protocol, metric: its }: RouteInfo): Promise<unknown> {
  return inside.deleteRoute({ destination, index, protocol, metric: its });
}

/** Each is tried. @returns what the first that failed said */
async function all(works: readonly (() => Promise<unknown>)[]): Promise<string | undefined> {
  const failed: string[] = [];
  for (const work of works) await work().catch((error: unknown) => failed.push(messageOf(error)));
  return failed[0];
}
