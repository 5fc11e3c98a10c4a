// Backends as the kernel has them. The next hop is the programs' to find: what is written here makes them look for it again.
import { LbBackendFlags, lbBackendCodec, LbMode, lbModeNames } from "../abi/generated.ts";
import type { LbBackend, LbModeName } from "../abi/generated.ts";
import { macFromBytes } from "../std/ip.ts";
import type { Ip } from "../std/ip.ts";

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

const unknown = macFromBytes(new Uint8Array(6));

export function backendValue({ address, port, mode, outer = address, down = false, returns = false }: BackendEntry): LbBackend {
  return {
    address, outer, port, mode: LbMode[mode], flags: (down ? LbBackendFlags.DOWN : 0) | (returns ? LbBackendFlags.RETURNS : 0),
    outer4: 0, ifindex: 0, found: 0, destinationMac: unknown, sourceMac: unknown, mtu: 0,
  };
}

export function encodeBackend(entry: BackendEntry): Uint8Array {
  return lbBackendCodec.encode(backendValue(entry));
}

/** undefined: there is none, or it gets nothing any more. */
export function decodeBackend(value: Uint8Array): BackendEntry | undefined {
  // Nearly all places are free, and none of a backend has port 0.
  if (value[portAt] === 0 && value[portAt + 1] === 0) return undefined;
  const { address, outer, port, mode, flags } = lbBackendCodec.decode(value);
  const name = lbModeNames[mode];
  return address === null || outer === null || name === undefined || (flags & LbBackendFlags.DOWN) !== 0 ? undefined
    : { address, outer, port, mode: name, returns: (flags & LbBackendFlags.RETURNS) !== 0 };
}

/** Bytes before the port. */
const portAt = 32;
