// Who gets copies of what is sent to a network's groups: each endpoint in one of its network's slots.
import { MemberLayout } from "../abi/generated.ts";
import type { Tables } from "./tables.ts";

/** One that finds no free slot gets no copies, until it is published again when there is one. */
export function joinGroups({ members }: Tables, network: number, ifindex: number): void {
  let free: number | undefined;
  for (let slot = 0; slot < MemberLayout.MEMBERS; slot++) {
    const holder = members.get({ network, slot });
    if (holder === ifindex) return;
    if (holder === undefined) free ??= slot;
  }
  if (free !== undefined) members.set({ network, slot: free }, ifindex);
}

export function leaveGroups({ members }: Tables, network: number, ifindex: number): void {
  for (let slot = 0; slot < MemberLayout.MEMBERS; slot++) {
    if (members.get({ network, slot }) === ifindex) members.delete({ network, slot });
  }
}
