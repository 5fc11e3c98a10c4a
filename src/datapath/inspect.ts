// Looks into the kernel for people: maps, their entries in words, programs and features.
import { decodePerCpu } from "../abi/codec.ts";
import type { MapShape, RingShape } from "../abi/codec.ts";
import { maps as shapes } from "../abi/generated.ts";
import type { KernelMap } from "../kernel/types.ts";
import { HawserError } from "../std/errors.ts";
import type { Attachments } from "./attachments.ts";
import type { Features } from "./features.ts";
import type { HostSync } from "./host-sync.ts";
import type { KernelView, MapEntry, MapRow } from "./types.ts";

/** By name. Arrays count as full, rings as empty: neither has entries that come and go. */
export function mapRows(maps: ReadonlyMap<string, KernelMap>): MapRow[] {
  return [...maps]
    .map(([name, map]) => ({
      name,
      type: map.info.kind,
      keySize: map.info.keySize,
      valueSize: map.info.valueSize,
      capacity: map.info.maxEntries,
      entries: countEntries(map),
    }))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/** @throws HawserError NOT_FOUND with the known names */
export function dumpMap(maps: ReadonlyMap<string, KernelMap>, name: string, limit: number): MapEntry[] {
  const map = maps.get(name);
  const shape: MapShape<unknown, unknown> | RingShape = shapes[name as keyof typeof shapes];
  if (map === undefined) {
    throw new HawserError("NOT_FOUND", `no map "${name}"; there are ${[...maps.keys()].toSorted().join(", ")}`);
  }
  if (shape.kind === "ringbuf") return [];
  const found: MapEntry[] = [];
  for (const [key, value] of map.entries()) {
    if (found.length >= limit) break;
    if (shape.kind === "percpu_array" && value.every((byte) => byte === 0)) continue;
    found.push(decodeEntry(shape, key, value));
  }
  return found;
}

export function inspectKernel(features: Features, attachments: Attachments, sync: HostSync): KernelView {
  const { release, ...can } = features;
  return { release, features: can, programs: attachments.rows(), uplinks: sync.facts.uplinks, problems: sync.problems };
}

function countEntries(map: KernelMap): number {
  if (map.info.kind === "ringbuf") return 0;
  if (map.info.kind === "array" || map.info.kind === "percpu_array") return map.info.maxEntries;
  let count = 0;
  for (const _ of map.entries()) count++;
  return count;
}

function decodeEntry(shape: MapShape<unknown, unknown>, key: Uint8Array, value: Uint8Array): MapEntry {
  const perCpu = shape.kind === "percpu_array" || shape.kind === "percpu_hash";
  return {
    key: plain(shape.key.decode(key)),
    value: plain(perCpu ? decodePerCpu(shape.value, value) : shape.value.decode(value)),
  };
}

function plain(value: unknown): unknown {
  if (typeof value === "bigint") return value.toString();
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, plain(field)]));
}
