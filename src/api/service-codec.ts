// Between the engine's views of services and the messages on the wire.
import type { BackendView, ServiceText, ServiceView } from "../engine/types.ts";
import { oneOf } from "./codec.ts";
import type * as wire from "./generated/hawser/v1/hawser.ts";
import { needed } from "./policy-codec.ts";

export function serviceToWire({ name, frontends, backends, mode, algorithm, flows, source, nodes, revision, state, error }: ServiceView): wire.Service {
  return { name, frontends: [...frontends], backends: [...backends], mode, algorithm, flows: flows ?? undefined, source, nodes: [...nodes], revision, state, error: error ?? undefined };
}

export function serviceFromWire(message: wire.Service): ServiceView {
  return {
    ...message,
    frontends: message.frontends.map((frontend) => ({ ...frontend, protocol: oneOf(frontend.protocol, protocols, "Frontend.protocol") })),
    backends: message.backends.map((backend) => ({ ...backend, state: oneOf(backend.state, backendStates, "Backend.state") })),
    mode: oneOf(message.mode, modes, "Service.mode"), algorithm: oneOf(message.algorithm, algorithms, "Service.algorithm"),
    flows: message.flows ?? null, state: oneOf(message.state, states, "Service.state"), error: message.error ?? null,
  };
}

export function serviceTextToWire(service: ServiceText): wire.ServiceText {
  return { service: serviceToWire(service), text: service.text };
}

export function serviceTextFromWire({ service, text }: wire.ServiceText): ServiceText {
  return { ...serviceFromWire(needed(service, "ServiceText.service")), text };
}

const protocols: readonly ServiceView["frontends"][number]["protocol"][] = ["tcp", "udp", "sctp"];
const backendStates: readonly BackendView["state"][] = ["active", "draining", "down"];
const modes: readonly ServiceView["mode"][] = ["auto", "dsr", "snat"];
const algorithms: readonly ServiceView["algorithm"][] = ["maglev"];
const states: readonly ServiceView["state"][] = ["enforced", "pending", "rejected"];
