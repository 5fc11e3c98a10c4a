// ReleaseAddress: gives an address back; Docker only logs errors here, so an unknown one is fine.
import type { Ip } from "../std/ip.ts";
import { parseIp } from "../std/ip.ts";
import type { ReleaseAddress } from "./commands.ts";
import { withPool } from "./state.ts";
import type { Decision, Pool, State } from "./types.ts";

/** @throws HawserError BAD_REQUEST when the text is no address. */
export function releaseAddress(state: State, command: ReleaseAddress): Decision<void> {
  const address = parseIp(command.address.split("/", 1)[0] ?? "", "Address");
  const pool = state.pools.get(command.pool);
  if (!pool || !Object.hasOwn(pool.allocated, address)) return { next: state, steps: [], reply: undefined };
  return { next: withPool(state, released(pool, [address])), steps: [], reply: undefined };
}

export function released(pool: Pool, addresses: readonly Ip[]): Pool {
  const gone = new Set<string>(addresses);
  return { ...pool, allocated: Object.fromEntries(Object.entries(pool.allocated).filter(([address]) => !gone.has(address))) };
}
