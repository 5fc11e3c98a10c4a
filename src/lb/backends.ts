// The life of a service's backends: they come, drain, die, fail their probes and return. Pure transitions; nobody asks a clock.
import { idAt } from "./containers.ts";
import type { Containers } from "./containers.ts";
import type { Backend, BackendRule, BackendState, Health, Probed, Service } from "./types.ts";

/**
 * The backends after what is there has changed. A container that is told to stop, or that no rule selects any more, drains, and so does a
 * server that no rule names; a container that is not among `containers` has died and is gone at once, whatever its flows (R76). One that is back
 * before its drain is over never left, and one that has another name (`docker rename`) is who it was. `now` in milliseconds since the epoch; a
 * clock that was set back makes no drain last longer than one.
 */
export function reconcile(backends: readonly Backend[], service: Service, containers: Containers, now: number): readonly Backend[] {
  const meant = new Map<string, Wanted>();
  for (const rule of service.backends) {
    // Of several rules that mean the same backend the first counts.
    for (const one of wantedBy(rule, containers)) if (!meant.has(one.identity)) meant.set(one.identity, one);
  }
  const wanted = new Map(Array.from(meant.values(), (one) => [placeOf(one), one] as const));
  const here = new Set<string>();
  const kept = backends.flatMap((backend): readonly Backend[] => {
    const place = placeOf(backend);
    const found = wanted.get(place);
    if (found !== undefined) {
      wanted.delete(place);
      here.add(place);
      return [{ ...backend, ...found, drainsUntil: null, health: { ...backend.health, since: Math.min(backend.health.since, now) } }];
    }
    if (here.has(place) || (backend.kind === "container" && !containers.runs(backend.id))) return [];
    const drainsUntil = Math.min(backend.drainsUntil ?? Infinity, now + service.drain);
    return drainsUntil <= now ? [] : [{ ...backend, drainsUntil }];
  });
  const fresh = [...wanted.values()].map((one): Backend => ({ ...one, drainsUntil: null, health: { state: "unknown", against: 0, since: now } }));
  return [...kept, ...fresh];
}

type Wanted = Omit<Backend, "drainsUntil" | "health">;

/** Who answers there; a container keeps it when it is given another name. */
const placeOf = ({ id, port }: Pick<Backend, "id" | "port">): string => `${port} ${id}`;

function wantedBy(rule: BackendRule, containers: Containers): readonly Wanted[] {
  if (rule.kind === "address") return namedBy(rule, containers);
  const { port, weight } = rule;
  return containers
    .selectedBy(rule)
    .map(({ node, id, name, network: on, ipv4, ipv6 }) => ({ identity: `${node}/${on}/${name}:${port}`, kind: "container", id, node, ipv4, ipv6, port, weight }));
}

/** Where a container can be and none is, there is no backend. */
function namedBy({ address, port, weight }: Extract<BackendRule, { readonly kind: "address" }>, containers: Containers): readonly Wanted[] {
  const [identity, six] = [address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`, address.includes(":")];
  const server: Wanted = { identity, kind: "server", id: identity, node: null, ipv4: six ? null : address, ipv6: six ? address : null, port, weight };
  const there = containers.at(address);
  if (there.length === 0) return [server];
  return there.filter(({ stopping }) => !stopping).slice(0, 1).map((one) => ({ ...server, node: one.node, ...(one.name === null ? {} : { kind: "container", id: idAt(one, address) }) }));
}

/** After one probe of a backend. A new one is believed at its first answer; later `rise` or `fall` in a row change its state. */
export function probed(backend: Backend, passed: boolean, { rise, fall }: Pick<Health, "rise" | "fall">, now: number): Backend {
  const { state, against, since } = backend.health;
  const said = passed ? "up" : "down";
  if (said === state) return against === 0 ? backend : { ...backend, health: { state, against: 0, since } };
  const enough = state === "unknown" || against + 1 >= (passed ? rise : fall);
  const health: Probed = enough ? { state: said, against: 0, since: now } : { state, against: against + 1, since };
  return { ...backend, health };
}

/** What another node says of its own container, which has counted answers in a row itself. */
export function believed(backend: Backend, up: boolean | undefined, now: number): Backend {
  const said = up === true ? "up" : "down";
  return up === undefined || backend.health.state === said ? backend : { ...backend, health: { state: said, against: 0, since: now } };
}

/** What lists show. A backend that nobody has probed yet is down where the service has probes. */
export function stateOf({ drainsUntil, health }: Backend, { kind }: Pick<Health, "kind">): BackendState {
  if (drainsUntil !== null) return "draining";
  return kind === "none" || health.state === "up" ? "active" : "down";
}

/** Who takes new flows: the active ones; when there is none, all that do not leave are tried. Weight 0 takes none. */
export function takers(backends: readonly Backend[], health: Pick<Health, "kind">): readonly Backend[] {
  const staying = backends.filter(({ drainsUntil, weight }) => drainsUntil === null && weight > 0);
  const active = staying.filter((backend) => stateOf(backend, health) === "active");
  return active.length > 0 ? active : staying;
}

/**
 * Whether a backend keeps the flows that it has. A container does while it runs, though its probes fail, because a slow answer breaks nothing
 * and moving would; of a server only its probes tell, and one that has failed them for the time of a drain is taken for dead.
 */
export function keepsFlows({ kind, health }: Backend, service: Pick<Service, "health" | "drain">, now: number): boolean {
  return kind === "container" || service.health.kind === "none" || health.state !== "down" || now < health.since + service.drain;
}

/** When something changes by itself, in milliseconds since the epoch; null: nothing will. */
export function nextChange(backends: readonly Backend[], service: Pick<Service, "health" | "drain">, now: number): number | null {
  const times = backends.flatMap((backend) => [
    ...(backend.drainsUntil === null ? [] : [backend.drainsUntil]),
    ...(backend.kind === "server" && service.health.kind !== "none" && backend.health.state === "down" ? [backend.health.since + service.drain] : []),
  ]).filter((time) => time > now);
  return times.length === 0 ? null : Math.min(...times);
}
