// Routes to other nodes' containers inside of containers' namespaces, put there one container after the other while everything else goes on.
import { statSync } from "node:fs";
import { openNetlink } from "../kernel/index.ts";
import type { Netlink, RouteInfo } from "../kernel/types.ts";
import type { ContainerRoutesPlan } from "../network/types.ts";
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
/** How often a device of the host's makes us look again before the next round of the agent's does. */
const mostTries = 20;

export function createContainerRoutes(log: Log): ContainerRoutes {
  let wanted: ReadonlyMap<string, ContainerRoutesPlan> = new Map();
  const done = new Map<string, ContainerRoutesPlan>();
  const due = new Set<string>();
  /** Containers that Docker is still making, or that are gone; with how often they were tried. */
  const waiting = new Map<string, number>();
  let working: Promise<void> = Promise.resolve();
  let busy = false;
  let closed = false;

  const settle = async (id: string): Promise<void> => {
    const plan = wanted.get(id) ?? without(done.get(id));
    if (plan === undefined) return;
    let why = "its interface is not there yet";
    try {
      if (await write(plan)) {
        waiting.delete(id);
        if (wanted.get(id) === plan) done.set(id, plan);
        else if (!wanted.has(id)) done.delete(id);
        return;
      }
    } catch (error) {
      why = messageOf(error);
    }
    if (!wanted.has(id)) {
      // Its container is gone, most likely, and its routes with it.
      done.delete(id);
      waiting.delete(id);
      return;
    }
    const tries = (waiting.get(id) ?? 0) + 1;
    waiting.set(id, tries);
    log.debug("routes to other nodes cannot be given to a container yet", { endpoint: id, tries, why });
  };

  const work = async (): Promise<void> => {
    for (const id of due) {
      if (closed) break;
      due.delete(id);
      await settle(id);
    }
    busy = false;
  };

  const kick = (): void => {
    if (busy || closed || due.size === 0) return;
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
      for (const [id, tries] of waiting) if (tries < mostTries) due.add(id);
      kick();
    },
    [Symbol.asyncDispose]: async () => {
      closed = true;
      await working;
    },
  };
}

function without(plan: ContainerRoutesPlan | undefined): ContainerRoutesPlan | undefined {
  return plan && { ...plan, routes: [] };
}

/**
 * Makes the routes on the endpoint's own interface what the plan says, and looks at no others but those that Docker put there for us.
 * @returns false when the interface is not there.
 * @throws KernelError when the namespace is not there, or when the kernel refused any; the others are made.
 */
async function write({ sandbox, address, routes, given }: ContainerRoutesPlan): Promise<boolean> {
  if (isOurs(sandbox)) return false;
  using inside = await openNetlink(sandbox);
  const index = (await inside.addresses()).find(({ prefix }) => prefix === address)?.index;
  if (index === undefined) return false;
  const standing = (await inside.routes()).filter((route) => route.index === index && route.table === mainTable && route.type === unicast && route.gateway !== null);
  const ours = standing.filter((route) => route.protocol === routeProtocol || given.some((destination) => destination === route.destination));
  const wanted = new Set(routes.map(keyOf));
  const known = new Set(ours.map(keyOf));
  await all([
    ...ours.filter((route) => !wanted.has(keyOf(route))).map((route) => () => remove(inside, route)),
    ...routes.filter((route) => !known.has(keyOf(route))).map((route) => () => inside.replaceRoute({ ...route, index, protocol: routeProtocol, metric })),
  ]);
  return true;
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

/** Each is tried. @throws the first error */
async function all(works: readonly (() => Promise<unknown>)[]): Promise<void> {
  const failed: unknown[] = [];
  for (const work of works) await work().catch((error: unknown) => failed.push(error));
  if (failed.length > 0) throw failed[0];
}
