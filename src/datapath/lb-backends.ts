// Backends as the kernel has them. The next hop is the programs' to find: what is written here makes them look for it again.
import { u32 } from "../abi/codec.ts";
import { LbBackendFlags, lbBackendCodec, LbMode, lbModeNames, lbPlaceCodec } from "../abi/generated.ts";
import type { LbBackend, LbModeName, LbPlace } from "../abi/generated.ts";
import type { KernelMap } from "../kernel/types.ts";
import { familyOf, ip4ToNumber, macFromBytes } from "../std/ip.ts";
import type { Family, Ip } from "../std/ip.ts";
import { packed } from "./packed.ts";

export interface BackendEntry {
  /** Where it listens. */
  readonly address: Ip;
  readonly port: number;
  readonly mode: LbModeName;
  /** Where its outer packets go; left out: to its own address. */
  readonly outer?: Ip;
  readonly down?: boolean;
  /** Of GENEVE: answers by way of this node. */
  readonly returns?: boolean;
}

export interface BackendMaps {
  readonly backends: KernelMap;
  readonly places: KernelMap;
}

const unknown = macFromBytes(new Uint8Array(6));

export function backendMaps(mapOf: (name: "hw_lb_backends" | "hw_lb_places") => KernelMap): BackendMaps {
  return { backends: mapOf("hw_lb_backends"), places: mapOf("hw_lb_places") };
}

/**
 * Where they are stands before anybody is sent there; where a number listens is the same until it has rested. XDP looks for the place of outer packets only
 * while a backend has none of IPv4: of one whose node goes over to IPv4 the place is the last to know. `before`: left out: the number had rested.
 */
export async function writeBackends({ backends, places }: BackendMaps, entries: readonly (readonly [number, BackendEntry, before?: BackendEntry | undefined])[], pause: () => Promise<void>): Promise<void> {
  const [located, asked] = [packed(places, lbPlaceCodec), packed(backends, lbBackendCodec)];
  const later: (readonly [number, BackendEntry])[] = [];
  for (const [number, entry, before] of entries) {
    if (before !== undefined && outerFamily(before) === 6 && outerFamily(entry) === 4) later.push([number, entry]);
    else located.put(number, placeValue(entry));
    await pause();
  }
  located.end();
  for (const [number, entry] of entries) {
    asked.put(number, backendValue(entry));
    await pause();
  }
  asked.end();
  for (const [number, entry] of later) {
    located.put(number, placeValue(entry));
    await pause();
  }
  located.end();
}

export function setBackend({ backends, places }: BackendMaps, number: number, entry: BackendEntry): void {
  places.set(u32.encode(number), lbPlaceCodec.encode(placeValue(entry)));
  backends.set(u32.encode(number), lbBackendCodec.encode(backendValue(entry)));
}

/** By number, without those that get nothing any more. */
export function readBackends({ backends, places }: BackendMaps): ReadonlyMap<number, BackendEntry> {
  const { found, locate, take } = createReading();
  for (const [key, value] of places.filled()) locate(key, value);
  for (const [key, value] of backends.filled()) take(key, value);
  return found;
}

/** As `readBackends`, with turns for others in between. */
export async function readBackendsInTurns({ backends, places }: BackendMaps, pause: () => Promise<void>): Promise<ReadonlyMap<number, BackendEntry>> {
  const { found, locate, take } = createReading();
  for (const [map, know] of [[places, locate], [backends, take]] as const) {
    for await (const some of map.filledInTurns(pause)) {
      for (const [key, value] of some) {
        know(key, value);
        await pause();
      }
    }
  }
  return found;
}

/** `locate`: all places come before `take`. */
function createReading(): { readonly found: ReadonlyMap<number, BackendEntry> } & Readonly<Record<"locate" | "take", (key: Uint8Array, value: Uint8Array) => void>> {
  const located = new Map<number, LbPlace>();
  const found = new Map<number, BackendEntry>();
  return {
    found,
    locate: (key, value) => void located.set(u32.decode(key), lbPlaceCodec.decode(value)),
    take: (key, value) => {
      const number = u32.decode(key);
      const place = located.get(number);
      const entry = place === undefined ? undefined : entryOf(lbBackendCodec.decode(value), place);
      if (entry !== undefined) found.set(number, entry);
    },
  };
}

function outerFamily({ address, outer = address }: BackendEntry): Family {
  return familyOf(outer);
}

function placeValue({ address, outer = address }: BackendEntry): LbPlace {
  return { address, outer };
}

function backendValue({ address, port, mode, outer = address, down = false, returns = false }: BackendEntry): LbBackend {
  const flags = (down ? LbBackendFlags.DOWN : 0) | (returns ? LbBackendFlags.RETURNS : 0);
  return {
    outer4: familyOf(outer) === 4 ? ip4ToNumber(outer) : 0, port, mode: LbMode[mode], flags,
    ifindex: 0, found: 0, destinationMac: unknown, sourceMac: unknown, mtu: 0,
  };
}

function entryOf({ port, mode, flags }: LbBackend, { address, outer }: LbPlace): BackendEntry | undefined {
  const name = lbModeNames[mode];
  return port === 0 || address === null || outer === null || name === undefined || (flags & LbBackendFlags.DOWN) !== 0 ? undefined
    : { address, outer, port, mode: name, returns: (flags & LbBackendFlags.RETURNS) !== 0 };
}
