// What a packet does at a balancing node and at a backend's node: what the programs (bpf/lib/lbchoose.h, bpf/lib/lbpass.h) are held against, and what survival is shown with.

/** `begins`: TCP's SYN, SCTP's INIT. `goesOn`: anything else of theirs. `datagram`: UDP, of which no packet is the first by its looks. */
export type PacketKind = "begins" | "goesOn" | "datagram";

export interface SlotAt {
  readonly current: number;
  readonly previous: number;
  /** Seconds since the epoch; 0: settled. */
  readonly changed: number;
}

/** What this node has recorded for the packet's addresses and ports, of a backend that lives. */
export interface Recorded {
  readonly backend: number;
  /** Within seconds: then a packet that begins is the same beginning once more, and no later flow of a client that has gone through its ports. */
  readonly young: boolean;
}

export interface Choice {
  /** 0: nobody. */
  readonly to: number;
  /** Under whom the flow is recorded; 0: it is not. When there is no room for it, `unrecorded` has the packet instead of `to`. */
  readonly record: number;
  readonly unrecorded: number;
}

/** Seconds after a change in which an unknown datagram is taken for one of a flow that was there before: whoever is active sends one in that time. */
export const datagramWindow = 60;

/** @param recorded null: nothing */
export function choose(slot: SlotAt, kind: PacketKind, recorded: Recorded | null, now: number): Choice {
  if (slot.changed === 0) return only(slot.current);
  const base = slot.previous === 0 ? slot.current : slot.previous;
  if (kind === "begins") {
    if (slot.current === 0) return only(0);
    if (recorded?.young === true) return only(recorded.backend);
    if (slot.current === base && recorded === null) return only(base);
    // Whoever has what is not recorded takes it, though he may be leaving: that is found again after however many changes.
    return { to: slot.current, record: slot.current, unrecorded: base };
  }
  if (recorded !== null) return only(recorded.backend);
  if (kind === "datagram") {
    const to = now - slot.changed < datagramWindow || slot.current === 0 ? base : slot.current;
    return { to, record: to, unrecorded: base };
  }
  return only(base);
}

function only(to: number): Choice {
  return { to, record: 0, unrecorded: to };
}

/** How often one packet is passed on: to the other backend's node, and back. */
export const mostPassed = 2;

/**
 * Whom a container's node asks for a packet that goes on, and of whose flow it knows nothing: who else may have it by this node's own slots and
 * records. 0: nobody, the container has it.
 *
 * @param recorded the backend of the flow by this node's records; 0: none
 */
export function passOn(me: number, { current, previous, changed }: SlotAt, recorded = 0): number {
  if (recorded !== 0) return recorded === me ? 0 : recorded;
  const [first, second] = changed !== 0 && previous !== 0 ? [previous, current] : [current, previous];
  return [first, second].find((number) => number !== 0 && number !== me) ?? 0;
}
