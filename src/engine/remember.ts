// Between the state and the store's tables: what changed goes out, what was kept comes in.
import { HawserError } from "../std/errors.ts";
import type { StoredService } from "../lb/stored.ts";
import type { StoredPolicy } from "../policy/types.ts";
import { noCluster } from "../network/cluster.ts";
import type { Endpoint, EndpointId, GuestRecord, Network, NetworkId, Pool, PoolId, State } from "../network/types.ts";
import type { Change, Json, Tables } from "../store/types.ts";

const tables = ["networks", "endpoints", "pools", "policies", "services", "guests"] as const;

/** The rows that differ. Values are immutable, so two that are the same object are the same row. */
export function changesBetween(before: State, after: State): readonly Change[] {
  return tables.flatMap((table) => rowsBetween(table, before[table], after[table]));
}

export function rowsBetween(table: string, before: ReadonlyMap<string, unknown>, after: ReadonlyMap<string, unknown>): readonly Change[] {
  if (before === after) return [];
  const changes: Change[] = [];
  for (const [key, value] of after) if (before.get(key) !== value) changes.push({ table, key, value: value as Json });
  for (const key of before.keys()) if (!after.has(key)) changes.push({ table, key, value: undefined });
  return changes;
}

/** @throws HawserError STORE naming the row that this build cannot read. */
export function stateOf(stored: Tables): State {
  return {
    networks: rowsOf<NetworkId, Network>(stored, "networks", { id: "string", number: "number", options: "object", internal: "boolean", createdAt: "number" }),
    // An earlier version knew no identities.
    endpoints: mapped(rowsOf<EndpointId, Endpoint>(stored, "endpoints", {
      id: "string", network: "string", mac: "string", hostInterface: "string", containerInterface: "string", joined: "boolean", ports: "object", createdAt: "number",
    }), (endpoint) => ({ ...endpoint, identity: typeof endpoint.identity === "number" ? endpoint.identity : 0 })),
    pools: rowsOf<PoolId, Pool>(stored, "pools", { id: "string", prefix: "string", allocated: "object", createdAt: "number" }),
    policies: rowsOf<string, StoredPolicy>(stored, "policies", { name: "string", file: "string", text: "string", source: "string", revision: "number" }),
    services: serviceRows(stored, "services"),
    guests: rowsOf<string, GuestRecord>(stored, "guests", { id: "string", device: "string", ifindex: "number", mac: "string", own: "object", identity: "number" }),
    cluster: noCluster,
  };
}

/** @throws HawserError STORE as `stateOf` */
export function serviceRows(stored: Tables, table: string): State["services"] {
  return rowsOf<string, StoredService>(stored, table, { name: "string", file: "string", text: "string", source: "string", revision: "number" });
}

function mapped<Key, Value>(rows: ReadonlyMap<Key, Value>, change: (value: Value) => Value): ReadonlyMap<Key, Value> {
  return new Map([...rows].map(([key, value]) => [key, change(value)]));
}

/** Rows are ours and carry checksums; what is checked here is that a build of the same layout wrote them. */
function rowsOf<Key extends string, Value>(stored: Tables, table: string, fields: Readonly<Record<string, string>>): ReadonlyMap<Key, Value> {
  const rows = new Map<Key, Value>();
  for (const [key, value] of stored.get(table) ?? []) {
    const row = value !== null && typeof value === "object" ? (value as Readonly<Record<string, Json>>) : {};
    for (const [field, type] of Object.entries(fields)) {
      if (row[field] === null || typeof row[field] !== type) throw new HawserError("STORE", `the stored row ${table}/${key} has no proper "${field}"; was it written by another build?`);
    }
    rows.set(key as Key, value as Value);
  }
  return rows;
}
