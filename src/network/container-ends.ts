// A container that was told to stop, or that ended before Docker has said so: its endpoints serve nobody new any more (R76).
import type { Decision, Endpoint, EndpointId, State } from "./types.ts";

export interface ContainerEnd {
  readonly containerId: string;
  readonly ending: "stopping" | "ended";
  /** When it happened, in milliseconds since the epoch: endpoints that were made later are of the container's next life. */
  readonly at: number;
}

/** Ends come from several witnesses and late; whoever has ended does not stop any more. */
export function containerEnds(state: State, { containerId, ending, at }: ContainerEnd): Decision<void> {
  const meant = [...state.endpoints.values()].filter(({ container, createdAt, ending: known }) =>
    container?.id === containerId && createdAt <= at && known !== ending && known !== "ended");
  if (meant.length === 0) return { next: state, steps: [], reply: undefined };
  const endpoints = new Map<EndpointId, Endpoint>(state.endpoints);
  for (const endpoint of meant) endpoints.set(endpoint.id, { ...endpoint, ending });
  return { next: { ...state, endpoints }, steps: [], reply: undefined };
}
