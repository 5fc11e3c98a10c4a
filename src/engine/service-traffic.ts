// What became of services' packets on this node: the datapath's reading by the names of services and backends.
import type { TrafficReading } from "../datapath/types.ts";
import type { ServicePlan } from "../lb/types.ts";
import type { BackendTraffic, ServiceTraffic } from "./types.ts";

/** `plans`: those in force. A backend that several services reach the same way is one, with all their names. */
export function serviceTraffic(plans: readonly ServicePlan[], { sent, tracked }: TrafficReading): ServiceTraffic {
  const known = new Map(tracked.map(({ service, address, port, flows: count }) => [`${service} ${address} ${port}`, count]));
  const flows = new Map<string, number>();
  const backends = new Map<string, BackendTraffic>();
  const names = new Map<number, Set<string>>();
  for (const { name, backends: those } of plans) for (const { number } of those) names.set(number, (names.get(number) ?? new Set()).add(name));
  const counted = new Set<number>();
  for (const plan of plans) {
    for (const { number, identity, address, port } of plan.backends) {
      const one = sent.get(number);
      if (one === undefined) continue;
      const exact = known.get(`${plan.number} ${address} ${port}`) ?? 0;
      const estimate = one.tracked || one.ended > one.begun ? 0 : Number(one.begun - one.ended);
      flows.set(plan.name, (flows.get(plan.name) ?? 0) + exact + estimate);
      const first = !counted.has(number);
      counted.add(number);
      const services = [...(names.get(number) ?? [])].toSorted();
      const key = `${services.join()} ${identity}`;
      const before = backends.get(key) ?? { services, backend: identity, packets: 0n, bytes: 0n, begun: 0n, flows: 0 };
      const own = first ? one : { packets: 0n, bytes: 0n, begun: 0n };
      backends.set(key, {
        ...before, packets: before.packets + own.packets, bytes: before.bytes + own.bytes, begun: before.begun + own.begun, flows: before.flows + exact + (first ? estimate : 0),
      });
    }
    if (!flows.has(plan.name)) flows.set(plan.name, 0);
  }
  return { flows, backends: [...backends.values()] };
}
