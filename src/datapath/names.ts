// Names of containers on other nodes in the maps, as a question has them, and what stands behind an address.
import { NameLayout, nameAddressesCodec, nameCodec, namePointerCodec } from "../abi/generated.ts";
import type { KernelMap } from "../kernel/types.ts";
import { familyOf, ipToBytes } from "../std/ip.ts";
import type { Ip } from "../std/ip.ts";
import type { Tables } from "./tables.ts";

/** RFC 1035: of one part of a name, between dots. */
const longestLabel = 63;

/**
 * Makes the maps what the plan says, touching only what differs. `names`: `NUMBER/name` → addresses; of one family the first eight count.
 * An address answers to the first name listed with it, with its network's name behind it when that is listed too.
 * @returns the keys that cannot be asked for, because a part has more than 63 bytes, the whole more than 128, or one is empty
 */
export function installNames({ names: table, pointers }: Pick<Tables, "names" | "pointers">, names: ReadonlyMap<string, readonly Ip[]>): readonly string[] {
  const skipped: string[] = [];
  const addresses = new Map<string, Uint8Array>();
  const reverse = new Map<string, string>();
  for (const [key, ips] of names) {
    const slash = key.indexOf("/");
    const [network, text] = [Number(key.slice(0, slash)), key.slice(slash + 1)];
    const name = nameToWire(text);
    if (name === undefined) {
      skipped.push(key);
      continue;
    }
    if (ips.length === 0) continue;
    addresses.set(asKey(nameCodec.encode({ network, name })), nameAddressesCodec.encode({ ipv4: some(ips, 4), ipv6: some(ips, 6) }));
    for (const ip of ips) {
      const place = `${network}/${reverseName(ip)}`;
      const before = reverse.get(place);
      if (before === undefined || (text.startsWith(`${before}.`) && !before.includes("."))) reverse.set(place, text);
    }
  }
  update(table.map, addresses);
  update(pointers.map, pointersOf(reverse));
  return skipped;
}

/** As a question has it: parts behind their lengths, small letters, zeros behind the end. undefined: it cannot be asked for. */
export function nameToWire(text: string): Uint8Array | undefined {
  const wire = new Uint8Array(NameLayout.BYTES);
  let at = 0;
  for (const part of text.replace(/[A-Z]/g, (letter) => letter.toLowerCase()).split(".")) {
    const bytes = Buffer.from(part);
    if (bytes.length === 0 || bytes.length > longestLabel || at + 1 + bytes.length >= NameLayout.BYTES) return undefined;
    wire[at] = bytes.length;
    wire.set(bytes, at + 1);
    at += 1 + bytes.length;
  }
  return wire;
}

export function nameFromWire(wire: Uint8Array): string {
  const parts: string[] = [];
  for (let at = 0; ; ) {
    const length = wire[at] ?? 0;
    if (length === 0) return parts.join(".");
    parts.push(Buffer.from(wire.subarray(at + 1, at + 1 + length)).toString());
    at += 1 + length;
  }
}

/** `2.0.60.10.in-addr.arpa`; of IPv6 every hex digit, `….ip6.arpa`. */
export function reverseName(ip: Ip): string {
  const bytes = Buffer.from(ipToBytes(ip));
  if (familyOf(ip) === 4) return `${[...bytes].toReversed().join(".")}.in-addr.arpa`;
  return `${[...bytes.toString("hex")].toReversed().join(".")}.ip6.arpa`;
}

/** A decoded part of an entry for people: names as text, no empty places. */
export function nameInWords(part: unknown): unknown {
  if (typeof part !== "object" || part === null) return part;
  return Object.fromEntries(Object.entries(part).map(([field, value]: [string, unknown]) => {
    if (value instanceof Uint8Array) return [field, nameFromWire(value)];
    return [field, Array.isArray(value) ? value.filter((one) => one !== null && one !== 0) : value];
  }));
}

function pointersOf(reverse: ReadonlyMap<string, string>): Map<string, Uint8Array> {
  const pointers = new Map<string, Uint8Array>();
  for (const [place, text] of reverse) {
    const [network = "", address = ""] = place.split("/");
    const [name, pointed] = [nameToWire(address), nameToWire(text)];
    if (name !== undefined && pointed !== undefined) pointers.set(asKey(nameCodec.encode({ network: Number(network), name })), namePointerCodec.encode({ name: pointed }));
  }
  return pointers;
}

/** What is not wanted goes first, to make room. */
function update(map: KernelMap, wanted: ReadonlyMap<string, Uint8Array>): void {
  const missing = new Map(wanted);
  const gone: Uint8Array[] = [];
  for (const [key, value] of map.entries()) {
    const text = asKey(key);
    const content = wanted.get(text);
    if (content === undefined) gone.push(key);
    else if (Buffer.compare(content, value) === 0) missing.delete(text);
  }
  for (const key of gone) map.delete(key);
  if (missing.size > 0) map.setBatch([...missing].map(([key, value]) => [Buffer.from(key, "latin1"), value]));
}

function asKey(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
}

function some(ips: readonly Ip[], family: 4 | 6): (Ip | null)[] {
  const found = ips.filter((ip) => familyOf(ip) === family);
  return Array.from({ length: NameLayout.ADDRESSES }, (_, i) => found[i] ?? null);
}
