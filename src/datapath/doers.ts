// Every kind of step with its way to do it and its way back.
import type { Doers } from "../network/types.ts";
import { attachCable, detachCable } from "./attach.ts";
import { makeCable, removeCable } from "./cable.ts";
import { claimPort } from "./claim-port.ts";
import { publishEndpoint, withdrawEndpoint } from "./endpoint.ts";
import { publishGuest, removeGuest } from "./guest.ts";
import type { Host } from "./host.ts";
import { makeNetwork, removeNetwork } from "./network.ts";
import { publishPort, withdrawPort } from "./port.ts";

export function createDoers(host: Host): Doers {
  return {
    network: { do: (step) => makeNetwork(host, step.network), undo: (step) => removeNetwork(host, step.network) },
    removeNetwork: { do: (step) => removeNetwork(host, step.network), undo: (step) => makeNetwork(host, step.network) },
    cable: { do: (step) => makeCable(host, step.cable), undo: (step) => removeCable(host, step.cable) },
    removeCable: { do: (step) => removeCable(host, step.cable), undo: (step) => makeCable(host, step.cable) },
    attach: { do: (step) => attachCable(host, step.cable), undo: (step) => detachCable(host, step.cable) },
    detach: { do: (step) => detachCable(host, step.cable), undo: (step) => attachCable(host, step.cable) },
    policy: {
      do: async (step) => host.policy.install(step.tables),
      // What an earlier agent wrote cannot be had back; the new tables then stay.
      undo: async ({ before }) => (before === null ? undefined : host.policy.install(before)),
    },
    cluster: {
      do: async (step) => {
        await host.cluster.install(step.cluster);
        await host.balancing.nodesChanged();
      },
      undo: async ({ before }) => (before === null ? undefined : host.cluster.install(before)),
    },
    containerRoutes: {
      do: async (step) => host.containerRoutes.install(step.routes),
      undo: async ({ before }) => (before === null ? undefined : host.containerRoutes.install(before)),
    },
    services: {
      do: ({ plans }) => host.balancing.install(plans),
      undo: async ({ before }) => (before === null ? undefined : host.balancing.install(before)),
    },
    clients: {
      do: async (step) => host.clients.install(step.clients),
      undo: async ({ before }) => (before === null ? undefined : host.clients.install(before)),
    },
    guest: {
      do: (step) => publishGuest(host, step.guest),
      undo: (step) => (step.before === undefined ? removeGuest(host, step.guest) : publishGuest(host, step.before)),
    },
    removeGuest: { do: (step) => removeGuest(host, step.guest), undo: (step) => publishGuest(host, step.guest) },
    endpoint: {
      do: (step) => publishEndpoint(host, step.endpoint),
      undo: (step) => (step.before === undefined ? withdrawEndpoint(host, step.endpoint) : publishEndpoint(host, step.before)),
    },
    removeEndpoint: { do: (step) => withdrawEndpoint(host, step.endpoint), undo: (step) => publishEndpoint(host, step.endpoint) },
    claimPort: { do: (step) => claimPort(host, step.port), undo: async () => {} },
    port: { do: (step) => publishPort(host, step.port), undo: (step) => withdrawPort(host, step.port) },
    removePort: { do: (step) => withdrawPort(host, step.port), undo: (step) => publishPort(host, step.port) },
  };
}
