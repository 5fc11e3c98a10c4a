// The records that nodes share, as JSON: written plainly, and read as what strangers may have written.
import type { NodeHealth, NodeNetwork, RemoteEndpoint } from "../network/cluster.ts";
import { firstProvisional, hashPair, longestRecord } from "../engine/shared.ts";
import type { IdentityLabels } from "../policy/types.ts";
import { HawserError } from "../std/errors.ts";
import { addressOf, familyOf, networkOf, parseCidr, parseIp, parseMac } from "../std/ip.ts";
import type { Cidr, Family, Ip } from "../std/ip.ts";
import { hashOf, healthKey, healthPieces } from "./keys.ts";
import type { Place } from "./keys.ts";

export interface NodeRecord {
  readonly name: string;
  readonly addresses: readonly Ip[];
  readonly ipv4: Cidr | null;
  readonly ipv6: Cidr | null;
  readonly mtu: number;
  readonly names: readonly string[];
  readonly networks: readonly NodeNetwork[];
  /** Hawser's. */
  readonly version: string;
  /** A number of this installation of a node, drawn once; tells two nodes of one name apart. */
  readonly machine: string;
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
}

export type SharedRecord =
  | { readonly kind: "node"; readonly node: NodeRecord }
  | { readonly kind: "slice"; readonly slice: Cidr; readonly node: string }
  | { readonly kind: "endpoint"; readonly endpoint: RemoteEndpoint }
  | { readonly kind: "health"; readonly node: string; readonly piece?: number; readonly backends: NodeHealth }
  | { readonly kind: "identity"; readonly number: number; readonly key: string }
  | { readonly kind: "identity key"; readonly number: number; readonly key: string };

/** What is worth remembering for a start without the store; what is known of backends the engine remembers itself. */
export type LastingRecord = Exclude<SharedRecord, { readonly kind: "health" }>;

/** The form of all records; a build refuses those of a later one. */
export const form = 1;
export const firstIdentity = 256;
export const longestName = 255;
const mostAddresses = 16;
export const mostNames = 16_384;
/** As many backends as the datapath numbers. */
const mostProbed = 65_535;
/** Backends of which a node says what it found in one record; builds that know no pieces read it as well. */
const mostTogether = 1000;
/** As many as the datapath's maps hold (hw_networks). */
export const mostNetworks = 1024;

/** Whether others take it for the name of a container or a network. */
export function isName(text: string): boolean {
  return text.length <= longestName;
}

export const encodeNode = (node: NodeRecord): string => JSON.stringify({ v: form, ...node });
export const encodeSlice = (slice: Cidr, node: string): string => JSON.stringify({ v: form, slice, node });
export const encodeEndpoint = (endpoint: RemoteEndpoint): string => JSON.stringify({ v: form, ...endpoint });
const encodeHealth = (node: string, backends: NodeHealth): string => {
  const those = (up: boolean): readonly string[] => [...backends].filter(([, one]) => one === up).map(([key]) => key).toSorted();
  return JSON.stringify({ v: form, node, up: those(true), down: those(false) });
};
/** By key: one record, or, of many backends, pieces of which each is far from being too long. */
export function healthRecords(node: string, health: NodeHealth): ReadonlyMap<string, string> {
  if (health.size <= mostTogether) return new Map([[healthKey(node), encodeHealth(node, health)]]);
  const pieces = Map.groupBy(health, ([backend]) => hashPair(backend)[0] % healthPieces);
  return new Map([...pieces].map(([piece, those]) => [healthKey(node, piece), encodeHealth(node, new Map(those))] as const));
}
export const encodeIdentity = (key: string): string => JSON.stringify({ v: form, key });
export const encodeIdentityKey = (key: string, number: number): string => JSON.stringify({ v: form, number, key });

/** @throws an error whose message says what is wrong with the value at that place. */
export function decode(place: Place, text: string): SharedRecord {
  const fields = versioned(text);
  switch (place.kind) {
    case "node": {
      const node = nodeFrom(fields);
      return node.name === place.name ? { kind: "node", node } : fail(`it is the record of another node, "${node.name}"`);
    }
    case "slice": {
      const slice = parseCidr(string(fields["slice"], "slice", 64), "slice");
      if (addressOf(slice) !== place.address || networkOf(slice) !== slice) fail(`the slice ${slice} is not the one of that key`);
      return { kind: "slice", slice, node: string(fields["node"], "node", longestName) };
    }
    case "endpoint": {
      const endpoint = endpointFrom(fields);
      if (endpoint.node !== place.node || endpoint.id !== place.id) fail("it is the record of another endpoint, or another node's");
      return { kind: "endpoint", endpoint };
    }
    case "health": {
      if (string(fields["node"], "node", longestName) !== place.node) fail("it is the record of another node");
      const those = (name: "up" | "down"): (readonly [string, boolean])[] => list(fields[name], name, mostProbed).map((one) => [string(one, name, longestRecord), name === "up"] as const);
      return { ...place, backends: new Map([...those("up"), ...those("down")]) };
    }
    case "identity": {
      const number = whole(place.number, "number", firstIdentity, firstProvisional - 1);
      return { kind: "identity", number, key: string(fields["key"], "key", longestRecord) };
    }
    case "identity key": {
      const key = string(fields["key"], "key", longestRecord);
      if (hashOf(key) !== place.hash) fail("its key is not the one of that hash");
      return { kind: "identity key", number: whole(fields["number"], "number", firstIdentity, firstProvisional - 1), key };
    }
  }
}

/** The fields of a value of a form that this build reads. */
export function versioned(text: string): Fields {
  if (text.length > longestRecord) fail(`a value of ${text.length} characters is none`);
  const fields = record(JSON.parse(text) as unknown, "the value");
  const version = whole(fields["v"], "v", 1, Number.MAX_SAFE_INTEGER);
  if (version > form) fail(`it is of form ${version}, which a newer Hawser wrote; this one reads form ${form}`);
  return fields;
}

function nodeFrom(fields: Fields): NodeRecord {
  return {
    name: string(fields["name"], "name", longestName),
    addresses: list(fields["addresses"], "addresses", mostAddresses).map((one) => parseIp(string(one, "addresses", 64), "addresses")),
    ipv4: orNull(fields["ipv4"], (value) => prefix(value, "ipv4", 4)),
    ipv6: orNull(fields["ipv6"], (value) => prefix(value, "ipv6", 6)),
    mtu: whole(fields["mtu"], "mtu", 68, 65_535),
    names: list(fields["names"], "names", mostNames).map((one) => string(one, "names", longestName)),
    networks: fields["networks"] === undefined ? [] : list(fields["networks"], "networks", mostNetworks).map(networkFrom),
    version: string(fields["version"], "version", longestName),
    machine: string(fields["machine"], "machine", longestName),
    startedAt: whole(fields["startedAt"], "startedAt", 0, Number.MAX_SAFE_INTEGER),
  };
}

function networkFrom(value: unknown): NodeNetwork {
  const fields = record(value, "networks");
  return {
    name: string(fields["name"], "networks.name", longestName),
    ipv4: orNull(fields["ipv4"], (one) => prefix(one, "networks.ipv4", 4)),
    ipv6: orNull(fields["ipv6"], (one) => prefix(one, "networks.ipv6", 6)),
  };
}

function endpointFrom(fields: Fields): RemoteEndpoint {
  const text = (name: string): string => string(fields[name], name, longestName);
  const address = (name: string, family: Family): Ip | null => orNull(fields[name], (value) => {
    const ip = parseIp(string(value, name, 64), name);
    return familyOf(ip) === family ? ip : fail(`${name}: ${ip} is of the other family`);
  });
  const [ipv4, ipv6] = [address("ipv4", 4), address("ipv6", 6)];
  if (ipv4 === null && ipv6 === null) fail("it has no address");
  return {
    node: text("node"), id: text("id"), containerId: text("containerId"), name: text("name"),
    names: list(fields["names"], "names", 256).map((one) => string(one, "names", longestName)),
    network: text("network"), ipv4, ipv6, mac: parseMac(text("mac")),
    identity: whole(fields["identity"], "identity", firstIdentity, firstProvisional - 1),
    labels: labelsFrom(fields["labels"], true),
    ...(fields["internal"] === true ? { internal: true as const } : {}),
    ...(fields["stopping"] === true ? { stopping: true as const } : {}),
  };
}

function labelsFrom(value: unknown, outer: boolean): IdentityLabels {
  const fields = record(value, "labels");
  const optional = (name: string): string | null => orNull(fields[name], (one) => string(one, `labels.${name}`, longestRecord));
  const own = Object.entries(record(fields["own"], "labels.own")).map(([key, one]) => [key, string(one, "labels.own", longestRecord)] as const);
  if (fields["doubtful"] !== undefined && !outer) fail("labels.doubtful: it has doubts about its doubts");
  return {
    network: string(fields["network"], "labels.network", longestName),
    project: optional("project"), service: optional("service"), name: optional("name"), own: Object.fromEntries(own),
    ...(fields["doubtful"] === undefined ? {} : { doubtful: labelsFrom(fields["doubtful"], false) }),
  };
}

export type Fields = Readonly<Record<string, unknown>>;

export function fail(why: string): never {
  throw new HawserError("BAD_REQUEST", why);
}

export function record(value: unknown, what: string): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) fail(`${what}: it is no object`);
  return value as Fields;
}

export function list(value: unknown, what: string, most: number): readonly unknown[] {
  return Array.isArray(value) && value.length <= most ? value : fail(`${what}: it is no list of at most ${most}`);
}

export function string(value: unknown, what: string, longest: number): string {
  return typeof value === "string" && value.length <= longest ? value : fail(`${what}: it is no text of at most ${longest} characters`);
}

export function whole(value: unknown, what: string, least: number, most: number): number {
  return Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most
    ? value as number : fail(`${what}: it is no whole number from ${least} to ${most}`);
}

function orNull<T>(value: unknown, read: (value: unknown) => T): T | null {
  return value === null ? null : read(value);
}

function prefix(value: unknown, what: string, family: Family): Cidr {
  const cidr = parseCidr(string(value, what, 64), what);
  return familyOf(cidr) === family && networkOf(cidr) === cidr ? cidr : fail(`${what}: ${cidr} is no IPv${family} prefix`);
}
