// Whom a service's address means to policy: its backends, at their own ports.
import { addressFrom, parseTarget } from "../policy/asked.ts";
import { NoContainer, severity } from "../policy/trace.ts";
import type { Traced } from "../policy/trace.ts";
import { HawserError } from "../std/errors.ts";
import type { ServiceView } from "./service-types.ts";

/**
 * What is judged in place of `to`, as `policy trace` reads it: itself unless it is a service's address. `isHost`: the address is this host's as well, whose is what no service has.
 * @throws HawserError NOT_FOUND for a port that no service has there, and for a service without backends; BAD_REQUEST for no port
 */
export function judgedInstead(to: string, services: readonly ServiceView[], isHost: (address: string) => boolean): readonly string[] {
  const { who, protocol, port } = parseTarget(to);
  const address = addressFrom(who);
  const there = services.flatMap((service) => service.frontends.filter((one) => one.address === address).map((frontend) => ({ service, frontend })));
  if (there.length === 0 || protocol === "icmp" || protocol === "icmpv6") return [to];
  const found = there.find(({ frontend }) => frontend.port === port && frontend.protocol === protocol);
  if (found === undefined) {
    if (address !== null && isHost(address)) return [to];
    const ports = there.map(({ service, frontend }) => `${frontend.port}/${frontend.protocol} (${service.name})`).join(", ");
    if (port === null) throw new HawserError("BAD_REQUEST", `"${to.trim()}" is a service's address: name a port, of which it has ${ports}`);
    throw new HawserError("NOT_FOUND", `no service has port ${port}/${protocol} at ${address}; it has ${ports}`);
  }
  const { service, frontend } = found;
  const targets = service.backends.filter(({ address: one }) => one.includes(":") === frontend.address.includes(":")).map((one) => `${one.address.includes(":") ? `[${one.address}]` : one.address}:${one.port}/${frontend.protocol}`);
  if (targets.length === 0) throw new HawserError("NOT_FOUND", `"${to.trim()}" is service ${service.name}, which has no backend: what comes there is refused`);
  return [...new Set(targets)];
}

/**
 * The different answers about all of `targets`, in the words of who asked. `judge`: of one. Servers that are asked by somebody outside are no matter of policy, as long as others are.
 * @throws HawserError BAD_REQUEST when all are such; what else `judge` throws
 */
export function judgedAll(from: string, to: string, targets: readonly string[], judge: (target: string) => readonly Traced[]): readonly Traced[] {
  const found: Traced[] = [];
  for (const target of targets) {
    try {
      found.push(...judge(target));
    } catch (error) {
      if (!(error instanceof NoContainer)) throw error;
    }
  }
  if (found.length === 0) throw new HawserError("BAD_REQUEST", `neither "${from.trim()}" nor a backend of "${to.trim()}" is a container, and policy is for containers' flows; the service's own \`sources\` say who may come`);
  const { who } = parseTarget(to);
  const answers = new Map(found.map((one) => [`${one.verdict} ${JSON.stringify(one.decidedBy)} ${one.from.identity} ${one.to.identity === 0 ? one.to.address : one.to.identity}`, one]));
  return [...answers.values()].map((one) => ({ ...one, to: { ...one.to, name: who } })).toSorted((a, b) => severity[a.verdict] - severity[b.verdict]);
}
