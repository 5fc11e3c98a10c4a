// Where a frontend lies in the kernel's table: the same arithmetic as bpf/lib/pure/lbhash.h.
import { ip, be16 } from "../abi/codec.ts";
import type { Ip } from "../std/ip.ts";

/** Port and protocol 0: the address alone. Protocol as in IP: 6, 17. */
export interface FrontendAddress {
  readonly address: Ip;
  readonly port: number;
  readonly protocol: number;
}

/** The two buckets of so many (a power of two) in which it may lie, first choice first. */
export function bucketsOf({ address, port, protocol }: FrontendAddress, buckets: number): readonly [number, number] {
  const bytes = new Uint8Array(20);
  bytes.set(ip.encode(address));
  bytes.set(be16.encode(port), 16);
  bytes[18] = protocol;
  const words = new Uint32Array(bytes.buffer);
  const hash = finish(words.reduce(mix, 0));
  return [(hash & (buckets - 1)) >>> 0, (((hash >>> 16) ^ Math.imul(hash, 5)) & (buckets - 1)) >>> 0];
}

/** MurmurHash3's round and end, as bpf/lib/pure/hash.h. */
function mix(hash: number, word: number): number {
  const scrambled = Math.imul(rotate(Math.imul(word, 0xcc9e2d51), 15), 0x1b873593);
  return (Math.imul(rotate(hash ^ scrambled, 13), 5) + 0xe6546b64) | 0;
}

function finish(hash: number): number {
  let x = hash ^ (hash >>> 16);
  x = Math.imul(x, 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return x ^ (x >>> 16);
}

function rotate(value: number, by: number): number {
  return (value << by) | (value >>> (32 - by));
}
