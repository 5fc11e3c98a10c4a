// From what stood to what stands: to which backends nobody is led any more, by which address. Pure.
import type { ServicePlan } from "../lb/types.ts";
import type { Ip } from "../std/ip.ts";
import type { GoneBackend } from "./end-sockets.ts";

interface Way {
  readonly protocol: "tcp" | "udp";
  readonly through: { readonly address: Ip; readonly port: number };
  readonly backend: { readonly address: Ip; readonly port: number };
}

/** A plan that is the same object is the same. Who drains is not gone, and neither is who is reached by that address through another service. */
export function goneBackends(before: readonly ServicePlan[], after: readonly ServicePlan[]): readonly GoneBackend[] {
  const [had, has] = [new Set(before), new Set(after)];
  const gone = new Map(before.filter((plan) => !has.has(plan)).flatMap(waysOf).map((way) => [textOf(way), way]));
  for (const way of after.filter((plan) => !had.has(plan)).flatMap(waysOf)) gone.delete(textOf(way));
  const together = Map.groupBy(gone.values(), ({ protocol, backend: { address, port } }) => `${protocol} ${address} ${port}`);
  return [...together.values()].flatMap((ways) => ways.slice(0, 1).map(({ protocol, backend }) => ({ protocol, ...backend, through: ways.map(({ through }) => through) })));
}

/** Of `left`, which an earlier agent wrote, who did not say by which services they were reached: those that no plan names. */
export function unclaimedBackends(left: Iterable<Pick<GoneBackend, "address" | "port">>, plans: readonly ServicePlan[]): readonly GoneBackend[] {
  const kept = new Set(plans.flatMap(({ backends }) => backends.map(({ address, port }) => `${address} ${port}`)));
  return [...left].filter(({ address, port }) => !kept.has(`${address} ${port}`))
    .flatMap(({ address, port }) => (["tcp", "udp"] as const).map((protocol) => ({ protocol, address, port })));
}

function waysOf({ frontends, backends }: ServicePlan): readonly Way[] {
  return frontends.flatMap(({ address, port, protocol }): readonly Way[] =>
    (protocol === "sctp" ? [] : backends.map((backend) => ({ protocol, through: { address, port }, backend: { address: backend.address, port: backend.port } }))));
}

function textOf({ protocol, through, backend }: Way): string {
  return `${protocol} ${through.address} ${through.port} ${backend.address} ${backend.port}`;
}
