// The flows that the programs remember: forgotten by address or port, and swept when expired.
import { u32 } from "../abi/codec.ts";
import type { Codec } from "../abi/codec.ts";
import { maps } from "../abi/generated.ts";
import type { Backend, Ct4, Ct4Key, Ct6, FrontendKey } from "../abi/generated.ts";
import type { KernelMap } from "../kernel/types.ts";
import { familyOf, ip4FromNumber, ipToBytes } from "../std/ip.ts";
import type { Ip } from "../std/ip.ts";
import type { Tables } from "./tables.ts";
import type { GcReport } from "./types.ts";

export interface Conntrack {
  /** Forgets every flow that the address takes part in, before or after rewriting. Returns how many entries went. */
  flushAddress(address: Ip): number;
  /** Forgets every flow that came through the frontend to the backend. */
  flushPort(frontend: FrontendKey, backend: Backend): number;
  gc(budget: number): GcReport;
}

/** A conntrack key with its addresses as text. */
interface Tuple {
  readonly saddr: Ip | null;
  readonly daddr: Ip | null;
  readonly sport: number;
  readonly dport: number;
  readonly proto: number;
}

interface FlowTable {
  readonly map: KernelMap;
  key(bytes: Uint8Array): Tuple;
  to(bytes: Uint8Array): Tuple;
  expires(value: Uint8Array): number;
}

type RawEntry = readonly [key: Uint8Array, value: Uint8Array];

/** The programs read jiffies at another moment than we do, and early boot may shift ours by a second. */
const graceSeconds = 10;

export function createConntrack(tables: Tables, hz: number, jiffies: () => number): Conntrack {
  const flows: readonly FlowTable[] = [flowTable4(tables.flows4.map), flowTable6(tables.flows6.map)];
  const tableOf = (address: Ip): FlowTable | undefined => flows[familyOf(address) === 4 ? 0 : 1];
  const sweep = createSweep(flows, hz * graceSeconds, jiffies);
  return {
    flushAddress: (address) =>
      flush(tableOf(address), address, (key, to) => [key.saddr, key.daddr, to.saddr, to.daddr].includes(address)),
    flushPort: (frontend, backend) => {
      if (backend.addr === null) return 0;
      return flush(tableOf(backend.addr), backend.addr, (key, to) => {
        const asked = key.dport === frontend.port && to.daddr === backend.addr && to.dport === backend.port;
        const answered = to.sport === frontend.port && key.saddr === backend.addr && key.sport === backend.port;
        const rewritten = asked ? key.daddr !== to.daddr || key.dport !== to.dport : key.saddr !== to.saddr || key.sport !== to.sport;
        return key.proto === frontend.proto && (asked || answered) && rewritten;
      });
    },
    gc: sweep,
  };
}

/** Most entries are none of ours: looking for the address's bytes costs a tenth of decoding. */
function flush(table: FlowTable | undefined, address: Ip, matches: (key: Tuple, to: Tuple) => boolean): number {
  if (table === undefined) return 0;
  const needle = Buffer.from(ipToBytes(address));
  const doomed: Uint8Array[] = [];
  for (const [key, value] of table.map.entries()) {
    if (!holds(key, needle) && !holds(value, needle)) continue;
    if (matches(table.key(key), table.to(value))) doomed.push(key);
  }
  return doomed.length === 0 ? 0 : table.map.deleteBatch(doomed);
}

function holds(bytes: Uint8Array, needle: Buffer): boolean {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).includes(needle);
}

/** Goes round both tables, a budget of entries at each call. */
function createSweep(flows: readonly FlowTable[], grace: number, jiffies: () => number): (budget: number) => GcReport {
  let place: { readonly table: FlowTable; readonly entries: Iterator<RawEntry> }[] = [];
  const expired = (table: FlowTable, value: Uint8Array): boolean => ((jiffies() - table.expires(value)) | 0) > grace;
  return (budget) => {
    if (place.length === 0) place = flows.map((table) => ({ table, entries: table.map.entries()[Symbol.iterator]() }));
    let [scanned, deleted] = [0, 0];
    for (let current = place[0]; current !== undefined && scanned < budget; current = place[0]) {
      const next = current.entries.next();
      if (next.done === true) {
        place.shift();
        continue;
      }
      scanned++;
      const [key, value] = next.value;
      if (!expired(current.table, value)) continue;
      // The batch may be old by now: a packet could have made the entry live again.
      const fresh = current.table.map.get(key);
      if (fresh !== undefined && expired(current.table, fresh) && current.table.map.delete(key)) deleted++;
    }
    return { scanned, deleted, finished: place.length === 0 };
  };
}

function flowTable4(map: KernelMap): FlowTable {
  const { key, value } = maps.hw_ct4;
  const text = (tuple: Ct4Key): Tuple => ({ ...tuple, saddr: ip4FromNumber(tuple.saddr), daddr: ip4FromNumber(tuple.daddr) });
  return { map, key: (bytes) => text(key.decode(bytes)), to: (bytes) => text(value.decode(bytes).to), expires: expiresReader(value) };
}

function flowTable6(map: KernelMap): FlowTable {
  const { key, value } = maps.hw_ct6;
  return { map, key: (bytes) => key.decode(bytes), to: (bytes) => value.decode(bytes).to, expires: expiresReader(value) };
}

/** The sweep reads this one field of each of 200 000 entries. */
function expiresReader(value: Codec<Ct4> | Codec<Ct6>): (bytes: Uint8Array) => number {
  const at = value.layout.find((field) => field.name === "expires")?.offset ?? 0;
  return (bytes) => u32.read(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), at);
}
