// Whose an endpoint is, once Docker has told: the container's id, name and labels. Its number is chosen where policy is.
import type { EndpointRef } from "./commands.ts";
import { findEndpoint, withEndpoint } from "./state.ts";
import type { ContainerIdentity, Decision, State } from "./types.ts";

/** True: it is there and has its container now. */
export function identify(state: State, ref: EndpointRef, container: ContainerIdentity): Decision<boolean> {
  const endpoint = findEndpoint(state, ref);
  if (!endpoint) return { next: state, steps: [], reply: false };
  return { next: withEndpoint(state, { ...endpoint, container }), steps: [], reply: true };
}
