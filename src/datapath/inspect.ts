// Looks into the kernel for people: maps, their entries in words, programs and features.
import { decodePerCpu } from "../abi/codec.ts";
import { u32 } from "../abi/codec.ts";
import type { MapOfMapsShape, MapShape, RingShape } from "../abi/codec.ts";
import { maps as shapes } from "../abi/generated.ts";
import type { Kernel, KernelMap } from "../kernel/types.ts";
import type { PolicyTables } from "../policy/types.ts";
import { HawserError } from "../std/errors.ts";
import type { Acceleration } from "./acceleration.ts";
import type { Attachments } from "./attachments.ts";
import type { Clients } from "./clients.ts";
import type { ClusterParts } from "./cluster.ts";
import { countEntries } from "./count-entries.ts";
import type { Features } from "./features.ts";
import type { HostSync } from "./host-sync.ts";
import { shownSlots, withForm } from "./lb-shown.ts";
import { nameInWords } from "./names.ts";
import { classes, pairs, ports, prefixes } from "./policy-parts.ts";
import type { KernelView, MapEntry, MapRow } from "./types.ts";

/** By name. Arrays count as full, rings as empty: neither has entries that come and go. What is kept with sockets cannot be walked and counts as nothing. A table of policy shows the one in force, a row of tables all of its pages. */
export async function mapRows(kernel: Kernel, maps: ReadonlyMap<string, KernelMap>, policy: PolicyTables | null): Promise<MapRow[]> {
  const rows: MapRow[] = [];
  for (const [name, map] of [...maps].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    if (name === "hw_lb_slots") {
      const { key, value, maxEntries } = shapes.hw_lb_slots.inner;
      rows.push({ name, type: map.info.kind, keySize: key.size, valueSize: value.size, capacity: map.info.maxEntries * maxEntries, entries: pageNumbers(map).length * maxEntries });
      continue;
    }
    using inner = innerInForce(kernel, maps, map);
    const { keySize, valueSize, maxEntries } = (inner ?? map).info;
    const entries = map.info.kind === "array_of_maps" ? (sizeOf(policy, name) ?? (inner === undefined ? 0 : await countEntries(inner))) : await countEntries(map);
    rows.push({ name, type: map.info.kind, keySize, valueSize, capacity: maxEntries, entries });
  }
  return rows;
}

/** Without what an array holds nothing in. @throws HawserError NOT_FOUND with the known names */
export function dumpMap(kernel: Kernel, maps: ReadonlyMap<string, KernelMap>, name: string, limit: number): MapEntry[] {
  const map = maps.get(name);
  const shape: MapShape<unknown, unknown> | MapOfMapsShape<unknown, unknown> | RingShape = shapes[name as keyof typeof shapes];
  if (map === undefined) {
    throw new HawserError("NOT_FOUND", `no map "${name}"; there are ${[...maps.keys()].toSorted().join(", ")}`);
  }
  if (shape.kind === "ringbuf" || shape.kind === "sk_storage") return [];
  const services = maps.get("hw_lb_services");
  if (name === "hw_lb_slots") return services === undefined ? [] : shownSlots(kernel, map, services, limit).map(({ key, value }) => ({ key, value: plain(value) }));
  if (shape.kind === "array_of_maps") {
    using inner = innerInForce(kernel, maps, map);
    return inner === undefined ? [] : entriesOf(shape.inner, inner, limit);
  }
  return entriesOf(shape, map, limit);
}

function entriesOf(shape: MapShape<unknown, unknown>, map: KernelMap, limit: number): MapEntry[] {
  const found: MapEntry[] = [];
  for (const [key, value] of map.entries()) {
    if (found.length >= limit) break;
    if ((shape.kind === "percpu_array" || shape.kind === "array") && value.every((byte) => byte === 0)) continue;
    found.push(decodeEntry(shape, key, value));
  }
  return found;
}

function pageNumbers(row: KernelMap): readonly number[] {
  return Array.from({ length: row.info.maxEntries }, (_, number) => number).filter((number) => row.get(u32.encode(number)) !== undefined);
}

export function inspectKernel(features: Features, attachments: Attachments, sync: HostSync, cluster: ClusterParts, acceleration: Acceleration, clients: Clients): KernelView {
  const { release, ...can } = features;
  return { release, features: { ...can, endsSockets: clients.endsSockets }, programs: attachments.rows(), uplinks: sync.facts.uplinks, problems: [...sync.problems, ...cluster.problems, ...acceleration.problems], remarks: acceleration.remarks };
}

/** Counting a million prefixes in the kernel would be a second's work; what we wrote is known. */
function sizeOf(policy: PolicyTables | null, name: string): number | undefined {
  const part = [classes, prefixes, pairs, ports].find((one) => one.map === name);
  return policy === null || part === undefined ? undefined : part.of(policy).size;
}

/** Of a map of tables: the one that the programs ask now. */
function innerInForce(kernel: Kernel, maps: ReadonlyMap<string, KernelMap>, map: KernelMap): KernelMap | undefined {
  if (map.info.kind !== "array_of_maps") return undefined;
  const state = maps.get("hw_policy_state")?.get(u32.encode(0));
  const revision = state === undefined ? 0 : shapes.hw_policy_state.value.decode(state).revision;
  const id = map.get(u32.encode(revision & 1));
  return id === undefined ? undefined : kernel.openMapById(u32.decode(id));
}

const inWords: Readonly<Record<string, (part: unknown) => unknown>> = { hw_names: nameInWords, hw_pointers: nameInWords, hw_lb_services: withForm, hw_lb_frontends: withForm };

function decodeEntry(shape: MapShape<unknown, unknown>, key: Uint8Array, value: Uint8Array): MapEntry {
  const perCpu = shape.kind === "percpu_array" || shape.kind === "percpu_hash";
  const words = inWords[shape.name] ?? ((part: unknown) => part);
  return {
    key: plain(words(shape.key.decode(key))),
    value: plain(words(perCpu ? decodePerCpu(shape.value, value) : shape.value.decode(value))),
  };
}

function plain(value: unknown): unknown {
  if (typeof value === "bigint") return value.toString();
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, plain(field)]));
}
