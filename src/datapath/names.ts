// Names of containers on other nodes in the maps, as a question has them, and what stands behind an address.
import { ip, u32 } from "../abi/codec.ts";
import { NameLayout, nameAddressesCodec, nameCodec } from "../abi/generated.ts";
import type { KernelMap } from "../kernel/types.ts";
import { familyOf, groupsOf, ipFromBytes, ipToBytes } from "../std/ip.ts";
import type { Ip } from "../std/ip.ts";
import { openBatch } from "./batches.ts";
import type { Batch } from "./batches.ts";
import { differing } from "./differing.ts";
import type { Tables } from "./tables.ts";

type Names = ReadonlyMap<string, readonly Ip[]>;

/** RFC 1035: of one part of a name, between dots. */
const longestLabel = 63;

export interface InstalledNames {
  /** Keys that cannot be asked for, because a part has more than 63 bytes, the whole more than 128, or one is empty. */
  readonly skipped: readonly string[];
  /** How many found no room in the maps. */
  readonly left: { readonly names: number; readonly addresses: number };
}

export interface NamesKnown {
  /** What was installed last; left out: the maps may hold anything. */
  readonly before?: Names;
  /** Whether a container elsewhere has the address. Left out: of all it is asked whether a name has them. */
  readonly known?: (address: Ip) => boolean;
}

/**
 * Makes the maps what the plan says, with turns for others in between; of what was installed before only what differs is touched. `names`: `NUMBER/name` → addresses; of one
 * family the first eight count. An address answers to the first name listed with it, with its network's name behind it when that is listed too.
 */
export async function installNames({ names: table, pointers }: Pick<Tables, "names" | "pointers">, names: Names, { before, known = () => true }: NamesKnown = {}): Promise<InstalledNames> {
  const skipped: string[] = [];
  const behind = new Map<number, Map<Ip, string>>();
  await (before === undefined ? removeOthers(table.map, (network, text) => names.has(`${network}/${text}`)) : removeGone(table.map, names, before));
  // Where nothing was, nothing is looked for.
  const standing = before !== undefined && before.keys().next().done !== true;
  const batch = openBatch(table.map);
  const value = Buffer.alloc(nameAddressesCodec.size);
  const view = new DataView(value.buffer, value.byteOffset, value.length);
  let written: readonly Ip[] | undefined;
  for (const [key, addresses] of standing ? others(names, before) : names) {
    const [network, text] = parsed(key);
    if (standing) for (const address of before.get(key) ?? none) note(behind, network, address, undefined);
    if (addresses.length === 0) continue;
    const slot = batch.next();
    u32.write(slot.keyView, 0, network);
    if (!writeName(text, slot.key, nameAt)) {
      skipped.push(key);
      continue;
    }
    for (const address of addresses) note(behind, network, address, text);
    // What one container is called comes one behind the other.
    if (addresses !== written) {
      value.fill(0);
      writeAddresses(addresses, view);
      written = addresses;
    }
    value.copy(slot.value);
    const turn = batch.put();
    if (turn !== undefined) await turn;
  }
  await batch.end();
  if (before === undefined) await removeOthers(pointers.map, (network, text) => behind.get(network)?.has(addressOfReverse(text) ?? ("" as Ip)) === true);
  const reverse = openBatch(pointers.map);
  for (const [network, texts] of behind) {
    for (const [address, text] of texts) {
      const turn = point(reverse, names, { network, address, text, standing }, known);
      if (turn !== undefined) await turn;
    }
  }
  await reverse.end();
  return { skipped, left: { names: batch.left, addresses: reverse.left } };
}

function* others(names: Names, before: Names): Iterable<readonly [string, readonly Ip[]]> {
  for (const key of differing(names, before)) yield [key, names.get(key) ?? none];
}

interface Pointed {
  readonly network: number;
  readonly address: Ip;
  /** The first of the names looked at that has it; empty: none of them. */
  readonly text: string;
  /** Others may have it as well, and the one that stands is good as long as it has. */
  readonly standing: boolean;
}

function point(batch: Batch, names: Names, { network, address, text, standing }: Pointed, known: (address: Ip) => boolean): Promise<unknown> | undefined {
  const slot = batch.next();
  u32.write(slot.keyView, 0, network);
  writeReverse(address, slot.key, nameAt);
  let name = text;
  if (standing) {
    const has = (one: string): boolean => names.get(`${network}/${one}`)?.includes(address) === true;
    const bytes = batch.map.get(slot.key);
    const now = bytes === undefined ? "" : nameFromWire(bytes);
    if (now !== "" && has(now) && !isLonger(text, now)) return batch.turn();
    // The one that stood went, and what else the address is called has not changed.
    if (name === "" && known(address)) name = nameOf(names, network, address) ?? "";
  }
  if (name === "") return batch.delete(slot.key);
  return writeName(name, slot.value, 0) ? batch.put() : undefined;
}

function nameOf(names: Names, network: number, address: Ip): string | undefined {
  const found = new Map<number, Map<Ip, string>>();
  for (const [key, addresses] of names) {
    const [number, text] = parsed(key);
    if (number === network && addresses.includes(address) && nameToWire(text) !== undefined) note(found, network, address, text);
  }
  return found.get(network)?.get(address);
}

/** The first counts, with its network's name behind it when that comes as well. */
function note(behind: Map<number, Map<Ip, string>>, network: number, address: Ip, text: string | undefined): void {
  const texts = behind.get(network) ?? new Map<Ip, string>();
  behind.set(network, texts);
  const before = texts.get(address) ?? "";
  if (text === undefined || before === "") texts.set(address, before === "" ? (text ?? "") : before);
  else if (isLonger(text, before)) texts.set(address, text);
}

function isLonger(text: string, before: string): boolean {
  return text.length > before.length && !before.includes(".") && text.startsWith(`${before}.`);
}

async function removeGone(map: KernelMap, names: Names, before: Names): Promise<void> {
  const turns = openBatch(map);
  for (const key of differing(names, before)) {
    if (names.has(key) || !before.has(key)) continue;
    const [network, text] = parsed(key);
    const { key: wire, keyView } = turns.next();
    u32.write(keyView, 0, network);
    if (writeName(text, wire, nameAt)) await turns.delete(wire);
  }
  await turns.end();
}

/** Maps of names that hold no more than what somebody wants. */
export const lookedThrough = new WeakSet<KernelMap>();

/** Of what the map holds, to make room. */
async function removeOthers(map: KernelMap, wanted: (network: number, text: string) => boolean): Promise<void> {
  lookedThrough.add(map);
  const turns = openBatch(map);
  const gone: Uint8Array[] = [];
  for (const [key] of map.entries()) {
    const { network, name } = nameCodec.decode(key);
    if (!wanted(network, nameFromWire(name))) gone.push(key);
    const turn = turns.turn();
    if (turn !== undefined) await turn;
  }
  for (const key of gone) await turns.delete(key);
  await turns.end();
}

const none: readonly Ip[] = [];
const nameAt = nameCodec.size - NameLayout.BYTES;

function parsed(key: string): readonly [network: number, text: string] {
  const slash = key.indexOf("/");
  return [Number(key.slice(0, slash)), key.slice(slash + 1)];
}

/** Only the places that are taken: of sixteen nearly all are empty. */
function writeAddresses(addresses: readonly Ip[], view: DataView): void {
  const [ends, next] = [{ 4: ip.size * NameLayout.ADDRESSES, 6: nameAddressesCodec.size }, { 4: 0, 6: ip.size * NameLayout.ADDRESSES }];
  for (const address of addresses) {
    const family = familyOf(address);
    if (next[family] >= ends[family]) continue;
    ip.write(view, next[family], address);
    next[family] += ip.size;
  }
}

/** As a question has it: parts behind their lengths, small letters, zeros behind the end. undefined: it cannot be asked for. */
export function nameToWire(text: string): Uint8Array | undefined {
  const wire = Buffer.alloc(NameLayout.BYTES);
  return writeName(text, wire, 0) ? wire : undefined;
}

/** False: it cannot be asked for. */
function writeName(text: string, wire: Buffer, start: number): boolean {
  let at = start;
  // Of most names one part is all.
  const small = capital.test(text) ? text.replace(/[A-Z]/g, (letter) => letter.toLowerCase()) : text;
  for (let [from, dot] = [0, 0]; dot >= 0; from = dot + 1) {
    dot = small.indexOf(".", from);
    const part = dot < 0 ? small.slice(from) : small.slice(from, dot);
    const length = wire.write(part, at + 1);
    if (length !== part.length && length !== Buffer.byteLength(part)) return false;
    if (length === 0 || length > longestLabel || at + 1 + length >= start + NameLayout.BYTES) return false;
    wire[at] = length;
    at += 1 + length;
  }
  return true;
}

const capital = /[A-Z]/;

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

function writeReverse(address: Ip, wire: Buffer, start: number): void {
  if (familyOf(address) === 4) return void writeName(reverseName(address), wire, start);
  const groups = groupsOf(address);
  let at = start;
  for (let i = 7; i >= 0; i--) {
    for (let group = groups[i] ?? 0, digit = 0; digit < 4; digit++, group >>= 4) {
      wire[at++] = 1;
      wire[at++] = hexDigits[group & 15] ?? 0;
    }
  }
  arpa.copy(wire, at);
}

const hexDigits = Buffer.from("0123456789abcdef");
const arpa = Buffer.from("\x03ip6\x04arpa");

/** undefined: it is none. */
function addressOfReverse(name: string): Ip | undefined {
  const parts = name.split(".").toReversed().slice(2);
  if (parts.length === 4) return ipFromBytes(Uint8Array.from(parts, Number));
  return parts.length === 32 ? ipFromBytes(Buffer.from(parts.join(""), "hex")) : undefined;
}

/** A decoded part of an entry for people: names as text, no empty places. */
export function nameInWords(part: unknown): unknown {
  if (typeof part !== "object" || part === null) return part;
  return Object.fromEntries(Object.entries(part).map(([field, value]: [string, unknown]) => {
    if (value instanceof Uint8Array) return [field, nameFromWire(value)];
    return [field, Array.isArray(value) ? value.filter((one) => one !== null && one !== 0) : value];
  }));
}
