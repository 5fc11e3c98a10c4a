// Where a frontend lies in the kernel's table: the same arithmetic as bpf/lib/pure/lbhash.h.
import { ip, be16, u8 } from "../abi/codec.ts";
import type { Ip } from "../std/ip.ts";

/** Port and protocol 0: the address alone. Protocol as in IP: 6, 17. */
export interface FrontendAddress {
  readonly address: Ip;
  readonly port: number;
  readonly protocol: number;
}

/** What stands for an IPv6 address of a node in packets that were passed on (bpf/lib/lbbalancer.h). 32 bits. */
export function hashOfAddress(address: Ip): number {
  return hashOf({ address, port: 0, protocol: 0 }) >>> 0;
}

/** 32 bits, signed. */
export function hashOf({ address, port, protocol }: FrontendAddress): number {
  ip.write(view, 0, address);
  be16.write(view, 16, port);
  u8.write(view, 18, protocol);
  let sum = 0;
  for (let i = 0; i < words.length; i++) sum = (sum + Math.imul(words[i] as number, factors[i] as number)) | 0;
  return finish(sum);
}

/** The two buckets of so many (a power of two) in which it may lie, first choice first. */
export function bucketsOf(frontend: FrontendAddress, buckets: number): readonly [number, number] {
  const hash = hashOf(frontend);
  return [(hash & (buckets - 1)) >>> 0, (((hash >>> 16) ^ Math.imul(hash, 5)) & (buckets - 1)) >>> 0];
}

const factors = [0x9e3779b1, 0x85ebca77, 0xc2b2ae3d, 0x27d4eb2f, 0x165667b1] as const;

/** What is hashed: each writes all of it but the last byte, which stays zero. */
const words = new Uint32Array(5);
const view = new DataView(words.buffer);

/** MurmurHash3's end, as bpf/lib/pure/hash.h. */
function finish(hash: number): number {
  let x = hash ^ (hash >>> 16);
  x = Math.imul(x, 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return x ^ (x >>> 16);
}
