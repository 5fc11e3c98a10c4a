// What a packet does at a balancing node and at a backend's node: what the programs (bpf/lib/lbchoose.h) are held against, and what survival is shown with.

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
  /** Who is asked if the node of `to` has no such flow; 0: nobody, `to` has it whatever comes. */
  readonly next: number;
  /** Under whom the flow is recorded; 0: it is not. When there is no room for it, `unrecorded` has the packet instead of `to`. */
  readonly record: number;
  readonly unrecorded: number;
}

/** Seconds after a change in which an unknown datagram is taken for one of a flow that was there before: whoever is active sends one in that time. */
export const datagramWindow = 60;

/**
 * @param recorded null: nothing
 * @param asks whether a backend's node can be asked: containers' can
 */
export function choose(slot: SlotAt, kind: PacketKind, recorded: Recorded | null, asks: (number: number) => boolean, now: number): Choice {
  if (slot.changed === 0) return only(slot.current);
  const base = slot.previous === 0 ? slot.current : slot.previous;
  if (kind === "begins") {
    if (slot.current === 0) return only(0);
    if (recorded?.young === true) return only(recorded.backend);
    if (slot.current === base && recorded === null) return only(base);
    // Whoever has what is not recorded takes it, though he may be leaving: that is found again after however many changes.
    return { to: slot.current, next: 0, record: slot.current, unrecorded: base };
  }
  if (recorded !== null) return only(recorded.backend);
  if (kind === "datagram") {
    const to = now - slot.changed < datagramWindow || slot.current === 0 ? base : slot.current;
    return { to, next: 0, record: to, unrecorded: base };
  }
  const other = base === slot.current ? 0 : slot.current;
  if (other === 0 || asks(base)) return { ...only(base), next: other };
  // A plain server answers whatever it gets, if only with a reset: it comes last.
  return asks(other) ? { ...only(other), next: base } : only(base);
}

function only(to: number): Choice {
  return { to, next: 0, record: 0, unrecorded: to };
}

/**
 * Whom a container's node asks for a packet that goes on, and of whose flow it knows nothing: whom the packet says (`next`), or, if its sender
 * did not know of a change, who else may have the slot's flows by this node's own slots. 0: nobody, the container has it. Asked once for a packet.
 */
export function passOn(me: number, next: number, own: SlotAt): number {
  if (next !== 0) return next;
  if (own.changed === 0) return own.current === me ? 0 : own.current;
  const base = own.previous === 0 ? own.current : own.previous;
  return base !== me ? base : own.current === me ? 0 : own.current;
}
