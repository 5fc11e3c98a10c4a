// From what stood to what stands: to which backends nobody is led any more, by which address. Pure.
import type { ServicePlan } from "../lb/types.ts";
import type { Ip } from "../std/ip.ts";
import type { Sliced } from "../std/sliced.ts";
import type { GoneBackend } from "./end-sockets.ts";

interface Way {
  readonly protocol: "tcp" | "udp";
  readonly through: { readonly address: Ip; readonly port: number };
  readonly backend: { readonly address: Ip; readonly port: number };
}

/** A plan that is the same object is the same. Who drains is not gone, and neither is who is reached by that address through another service. */
export function* goneBackends(before: readonly ServicePlan[], after: readonly ServicePlan[]): Sliced<readonly GoneBackend[]> {
  const [had, has] = [new Set(before), new Set(after)];
  const [old, fresh] = [before.filter((plan) => !has.has(plan)), after.filter((plan) => !had.has(plan))];
  if (old.length === 0) return [];
  const left = leavers();
  /** Ways of plans that those of the same service among `others` have not. */
  const waysBut = function* (plans: readonly ServicePlan[], others: readonly ServicePlan[], take: (text: string, way: Way) => unknown): Sliced<void> {
    const same = new Map(others.map((plan) => [plan.number, plan]));
    for (const plan of plans) {
      for (const way of waysOf({ ...plan, backends: left(plan.backends, sameFrontends(plan, same.get(plan.number))) })) take(textOf(way), way);
      yield;
    }
  };
  yield;
  const gone = new Map<string, Way>();
  yield* waysBut(old, fresh, (text, way) => gone.set(text, way));
  yield* waysBut(fresh, old, (text) => gone.delete(text));
  const together = Map.groupBy(gone.values(), ({ protocol, backend: { address, port } }) => `${protocol} ${address} ${port}`);
  return [...together.values()].flatMap((ways) => ways.slice(0, 1).map(({ protocol, backend }) => ({ protocol, ...backend, through: ways.map(({ through }) => through) })));
}

/** The other's backends, if both are reached by the same addresses. */
function sameFrontends(plan: ServicePlan, next: ServicePlan | undefined): ServicePlan["backends"] {
  return next !== undefined && JSON.stringify(plan.frontends) === JSON.stringify(next.frontends) ? next.backends : [];
}

/** Who is in the first list and not in the second; once for all services that share both. */
function leavers(): (before: ServicePlan["backends"], after: ServicePlan["backends"]) => ServicePlan["backends"] {
  const known = new Map<ServicePlan["backends"], Map<ServicePlan["backends"], ServicePlan["backends"]>>();
  return (before, after) => {
    const from = known.get(before) ?? new Map<ServicePlan["backends"], ServicePlan["backends"]>();
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

function waysOf({ frontends, backends }: ServicePlan): readonly Way[] {
  return frontends.flatMap(({ address, port, protocol }): readonly Way[] =>
    (protocol === "sctp" ? [] : backends.map((backend) => ({ protocol, through: { address, port }, backend: { address: backend.address, port: backend.port } }))));
}

function textOf({ protocol, through, backend }: Way): string {
  return `${protocol} ${through.address} ${through.port} ${backend.address} ${backend.port}`;
}
