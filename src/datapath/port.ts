// One published port in the maps. Writing it is what makes the port answer.
import type { Backend, FrontendKey } from "../abi/generated.ts";
import type { PortPlan, Protocol } from "../network/types.ts";
import type { Host } from "./host.ts";

/** IANA's protocol numbers. */
export const protocolNumbers: Readonly<Record<Protocol, number>> = { tcp: 6, udp: 17, sctp: 132 };

export async function publishPort(host: Host, plan: PortPlan): Promise<void> {
  const held = host.tables.frontends.get(frontendOf(plan));
  if (held === undefined || !sameBackend(held, backendOf(plan))) host.tables.frontends.set(frontendOf(plan), backendOf(plan));
}

/** Flows through the port end with it; the container's other flows go on. */
export async function withdrawPort(host: Host, plan: PortPlan): Promise<void> {
  const held = host.tables.frontends.get(frontendOf(plan));
  if (held !== undefined && !sameBackend(held, backendOf(plan))) return;
  if (held !== undefined) host.tables.frontends.delete(frontendOf(plan));
  host.conntrack.flushPort(frontendOf(plan), backendOf(plan));
}

/** 0.0.0.0 keeps its family as ::ffff:0.0.0.0; :: is sixteen zero bytes, which the codec shows as null. */
export function frontendOf(plan: PortPlan): FrontendKey {
  return { addr: plan.hostIp === "::" ? null : plan.hostIp, port: plan.hostPort, proto: protocolNumbers[plan.protocol] };
}

export function backendOf(plan: PortPlan): Backend {
  return { addr: plan.address, port: plan.containerPort, network: plan.network };
}

export function sameBackend(a: Backend, b: Backend): boolean {
  return a.addr === b.addr && a.port === b.port && a.network === b.network;
}
