// Containers that somebody else wired: those that are there now are judged, those that went are forgotten.
import { messageOf } from "../std/errors.ts";
import { addressOf, contains, parseIp, parseMac } from "../std/ip.ts";
import type { Cidr, Ip } from "../std/ip.ts";
import { remoteOwners, sliceOwner } from "./cluster-plan.ts";
import { guestPlan } from "./plan.ts";
import { gatewaysOf } from "./state.ts";
import type { Context, Decision, GuestRecord, State, Step } from "./types.ts";

/** As the containerd door tells it; addresses and MAC are text. */
export interface GuestTold {
  readonly id: string;
  readonly name: string;
  readonly containerId: string;
  readonly network: string;
  readonly device: string;
  readonly ifindex: number;
  readonly ipv4: string | null;
  readonly ipv6: string | null;
  readonly mac: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly own: Readonly<Record<string, string>>;
  readonly doubtful?: Readonly<Record<string, string>>;
}

export interface GuestsReply {
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly refused: readonly string[];
}

/** A new guest is judged from the step that follows its identity on, which is chosen where policy is: here it has none yet. */
export function syncGuests(state: State, told: readonly GuestTold[], { hostPrefixes }: Pick<Context, "hostPrefixes">): Decision<GuestsReply> {
  const refused: string[] = [];
  const taken = addressesTaken(state, hostPrefixes);
  const guests = new Map<string, GuestRecord>();
  for (const guest of told) {
    try {
      const stolen = [guest.ipv4, guest.ipv6].filter((address) => address !== null && taken(parseIp(address)));
      if (stolen.length > 0) refused.push(`${guest.id}: ${stolen.join(", ")} is the host's, another node's container's or of a network of Hawser's, so that nothing is taken for its own`);
      const free = (address: string | null): string | null => (stolen.includes(address) ? null : address);
      guests.set(guest.id, recordOf({ ...guest, ipv4: free(guest.ipv4), ipv6: free(guest.ipv6) }, state.guests.get(guest.id)));
    } catch (error) {
      refused.push(`${guest.id}: ${messageOf(error)}`);
    }
  }
  const gone = [...state.guests.values()].filter((guest) => !samePlace(guest, guests.get(guest.id)));
  const steps = gone.map((guest): Step => ({ kind: "removeGuest", guest: guestPlan(guest) }));
  const added = [...guests.values()].filter((guest) => !samePlace(guest, state.guests.get(guest.id)));
  const removed = gone.filter((guest) => !guests.has(guest.id)).map(({ id }) => id);
  const same = steps.length === 0 && [...guests].every(([id, guest]) => state.guests.get(id) === guest);
  return { next: same ? state : { ...state, guests }, steps, reply: { added: added.map(({ id }) => id), removed, refused } };
}

/**
 * A guest that may change its own addresses could take one that others are known by. It is judged all the same, without
 * the address: were it left out, it would be judged no more.
 */
function addressesTaken(state: State, hostPrefixes: readonly Cidr[]): (address: Ip) => boolean {
  const hosts = new Set<Ip>([...gatewaysOf(state), ...hostPrefixes.map(addressOf)]);
  const subnets = [...state.networks.values()].flatMap(({ ipv4, ipv6 }) => [ipv4, ipv6].flatMap((subnet) => (subnet === null ? [] : [subnet.prefix])));
  const { cluster } = state;
  return (address) => hosts.has(address) || subnets.some((subnet) => contains(subnet, address)) || sliceOwner(cluster, address) !== undefined || remoteOwners(cluster.endpoints).has(address);
}

function recordOf(guest: GuestTold, known: GuestRecord | undefined): GuestRecord {
  const record: GuestRecord = {
    ...guest,
    ipv4: guest.ipv4 === null ? null : parseIp(guest.ipv4, "its IPv4 address"),
    ipv6: guest.ipv6 === null ? null : parseIp(guest.ipv6, "its IPv6 address"),
    mac: parseMac(guest.mac, "its MAC address"),
    identity: known?.identity ?? 0,
  };
  return known && JSON.stringify(known) === JSON.stringify(record) ? known : record;
}

/** Its programs stay where they are: addresses and labels may be told later, and are changed under them. */
function samePlace(a: GuestRecord, b: GuestRecord | undefined): boolean {
  return b !== undefined && a.device === b.device && a.ifindex === b.ifindex;
}
