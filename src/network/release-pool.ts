// ReleasePool: forgets a subnet and every address given out of it; Docker only logs errors here, so an unknown one is fine.
import { withoutPool } from "./state.ts";
import type { Decision, PoolId, State } from "./types.ts";

export function releasePool(state: State, id: PoolId): Decision<void> {
  return { next: state.pools.has(id) ? withoutPool(state, id) : state, steps: [], reply: undefined };
}
