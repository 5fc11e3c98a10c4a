// From what stood to what stands: to which backends nobody is led any more, by which address. Pure.
import type { ServicePlan } from "../lb/types.ts";
import type { Ip } from "../std/ip.ts";
import type { Sliced } from "../std/sliced.ts";
import type { GoneBackend } from "./end-sockets.ts";

type Backends = ServicePlan["backends"];
type Ends = NonNullable<GoneBackend["through"]>;

const nobody: Backends = [];

/**
 * A plan that is the same object is the same. Who drains is not gone, and neither is who is reached by that address through another service. Thousands of
 * services that share their backends share the lists of addresses, too.
 */
export function* goneBackends(before: readonly ServicePlan[], after: readonly ServicePlan[]): Sliced<readonly GoneBackend[]> {
  const [had, has] = [new Set(before), new Set(after)];
  const [old, fresh] = [before.filter((plan) => !has.has(plan)), after.filter((plan) => !had.has(plan))];
  if (old.length === 0) return [];
  const left = leavers();
  const [were, are] = [old, fresh].map((plans) => new Map(plans.map((plan) => [plan.number, plan]))) as [Map<number, ServicePlan>, Map<number, ServicePlan>];
  yield;
  /** By their frontends, who came. */
  const came = new Map<string, Backends>();
  for (const plan of fresh) {
    const those = left(plan.backends, sameFrontends(plan, were.get(plan.number)));
    for (const frontend of plan.frontends) {
      const others = came.get(textOf(frontend));
      came.set(textOf(frontend), others === undefined ? those : [...others, ...those]);
    }
    yield;
  }
  /** By lists of who is gone, from where. */
  const gone = new Map<Backends, Record<GoneBackend["protocol"], { readonly address: Ip; readonly port: number }[]>>();
  for (const plan of old) {
    const those = left(plan.backends, sameFrontends(plan, are.get(plan.number)));
    for (const { address, port, protocol } of plan.frontends) {
      if (protocol === "sctp") continue;
      const list = left(those, came.get(textOf({ address, port, protocol })) ?? nobody);
      const from = gone.get(list) ?? { tcp: [], udp: [] };
      from[protocol].push({ address, port });
      gone.set(list, from);
    }
    yield;
  }
  return yield* together(gone);
}

function* together(gone: ReadonlyMap<Backends, Readonly<Record<GoneBackend["protocol"], Ends>>>): Sliced<readonly GoneBackend[]> {
  const all = new Map<string, { readonly backend: Omit<GoneBackend, "through">; readonly through: Ends[] }>();
  for (const [list, from] of gone) {
    for (const protocol of ["tcp", "udp"] as const) {
      if (from[protocol].length === 0) continue;
      for (const { address, port } of list) {
        const one = all.get(`${protocol} ${address} ${port}`) ?? { backend: { protocol, address, port }, through: [] };
        one.through.push(from[protocol]);
        all.set(`${protocol} ${address} ${port}`, one);
      }
    }
    yield;
  }
  const those: GoneBackend[] = [];
  for (const { backend, through } of all.values()) {
    those.push({ ...backend, through: through.length === 1 ? through[0] as Ends : through.flat() });
    yield;
  }
  return those;
}

/** The other's backends, if both are reached by the same addresses. */
function sameFrontends(plan: ServicePlan, next: ServicePlan | undefined): Backends {
  return next !== undefined && JSON.stringify(plan.frontends) === JSON.stringify(next.frontends) ? next.backends : nobody;
}

/** Who is in the first list and not in the second; once for all services that share both. */
function leavers(): (before: Backends, after: Backends) => Backends {
  const known = new Map<Backends, Map<Backends, Backends>>();
  return (before, after) => {
    const from = known.get(before) ?? new Map<Backends, Backends>();
    known.set(before, from);
    const stay = from.has(after) ? undefined : new Set(after.map(({ address, port }) => `${address} ${port}`));
    if (stay !== undefined) from.set(after, before.filter(({ address, port }) => !stay.has(`${address} ${port}`)));
    return from.get(after) ?? [];
  };
}

/** Of those that an earlier agent wrote, who did not say by which services they were reached: those that no plan names. */
export function unclaimedBackends(stood: Iterable<Pick<GoneBackend, "address" | "port">>, plans: readonly ServicePlan[]): readonly GoneBackend[] {
  const others = [...stood];
  if (others.length === 0) return [];
  const kept = new Set(plans.flatMap(({ backends }) => backends.map(({ address, port }) => `${address} ${port}`)));
  return others.filter(({ address, port }) => !kept.has(`${address} ${port}`))
    .flatMap(({ address, port }) => (["tcp", "udp"] as const).map((protocol) => ({ protocol, address, port })));
}

function textOf({ address, port, protocol }: ServicePlan["frontends"][number]): string {
  return `${protocol} ${address} ${port}`;
}
