// Services, written where the programs read them, from inside the process that has loaded them.
import { u32 } from "../../../src/abi/codec.ts";
import { LbForm, lbOriginCodec, lbServiceCodec } from "../../../src/abi/generated.ts";
import { backendMaps, setBackend } from "../../../src/datapath/lb-backends.ts";
import type { BackendEntry } from "../../../src/datapath/lb-backends.ts";
import { openFrontendTable } from "../../../src/datapath/lb-frontends.ts";
import type { FrontendEntry, FrontendTable } from "../../../src/datapath/lb-frontends.ts";
import { openPools } from "../../../src/datapath/lb-pools.ts";
import { originNumber } from "../../../src/datapath/service-entries.ts";
import { formedSlots, noTable, openSlotRow } from "../../../src/datapath/lb-slots.ts";
import type { SlotRange, SlotRow } from "../../../src/datapath/lb-slots.ts";
import { openServiceSources } from "../../../src/datapath/lb-sources.ts";
import { isListable } from "../../../src/kernel/index.ts";
import type { Kernel, KernelMap } from "../../../src/kernel/types.ts";
import { familyOf, parseCidr } from "../../../src/std/ip.ts";
import type { Cidr } from "../../../src/std/ip.ts";

/** `changed`: jiffies ago; left out: settled. */
export interface SlotEntry {
  readonly current: number;
  readonly previous?: number;
  readonly changed?: number;
}

export interface ServiceEntry {
  readonly number: number;
  readonly slots: readonly SlotEntry[];
  readonly flags: number;
  /** Seconds. */
  readonly affinity: number;
  /** Left out: everybody may. */
  readonly sources?: SourceLists;
}

/** In CIDR, of one family; `allow` left out is everybody. */
export interface SourceLists {
  readonly allow?: readonly string[];
  readonly deny?: readonly string[];
}

export interface LbTables {
  readonly frontends: FrontendTable;
  /** Each time in another place, as when its table's size changes. Returns the place. */
  setService(service: ServiceEntry): SlotRange;
  setBackend(number: number, backend: BackendEntry): void;
  /** A frontend of a backend in mode SNAT. */
  setTranslated(number: number, frontend: FrontendEntry, backend: BackendEntry): void;
}

export function openLbTables(kernel: Kernel, mapOf: (name: string) => KernelMap, jiffies: () => number): LbTables {
  const row = openSlotRow(kernel, mapOf("hw_lb_slots"));
  const frontends = openFrontendTable(mapOf("hw_lb_frontends"));
  const takeSources = sourceWriter(mapOf("hw_lb_sources"));
  return {
    frontends,
    setService: ({ number, slots, flags, affinity, sources = {} }) => {
      const range = slots.length === 0 ? noTable : writeTable(row, slots.map(({ current, previous = 0, changed }) => ({ current, previous, changed: changed === undefined ? 0 : (jiffies() - changed) >>> 0 || 1 })));
      mapOf("hw_lb_services").set(u32.encode(number), lbServiceCodec.encode({ table: range.first, slots: formedSlots(range), ...takeSources(number, sources), flags, affinity }));
      return range;
    },
    setBackend: (number, backend) => setBackend(backendMaps(mapOf), number, backend),
    setTranslated: (number, frontend, backend) => {
      openPools(kernel, mapOf("hw_lb_pools"), frontends).take(number, backend);
      mapOf("hw_lb_origins").set(u32.encode(originNumber(frontend)), lbOriginCodec.encode({ addr: frontend.address, port: frontend.port, proto: frontend.protocol }));
      frontends.set(frontend);
    },
  };
}

/** In a new place, as an agent would: full only where a slot remembers something. `changed`: in jiffies; 0: it is settled. */
export function writeTable(row: SlotRow, slots: readonly Readonly<Record<"current" | "previous" | "changed", number>>[]): SlotRange {
  const [size, between] = [slots.length, new Map<number, readonly number[]>()];
  if (slots.some(({ previous, changed }) => previous !== 0 || changed !== 0)) {
    const range = row.allocate(size);
    row.write(range, { size, words: Uint32Array.from(slots.flatMap(({ current, previous, changed }) => [current | (previous << 16), changed])), between });
    return range;
  }
  const plain = Uint16Array.from(slots, ({ current }) => current);
  const range = row.allocate(size, isListable(plain) ? LbForm.LISTED : LbForm.SHORT);
  row.write(range, { size, plain, between });
  return range;
}

/** Writes whom a service lets in, and says where, as the service has it. */
export function sourceWriter(map: KernelMap): (service: number, lists: SourceLists) => { readonly sources: number; readonly depth: number } {
  const rows = openServiceSources(map, new Map());
  return (number, { allow, deny = [] }) => {
    const sources = { allow: allow?.map((prefix) => parseCidr(prefix)) ?? null, deny: deny.map((prefix) => parseCidr(prefix)) };
    const plan = { number, family: familyOf([...(sources.allow ?? []), ...sources.deny][0] ?? ("0.0.0.0/0" as Cidr)), sources };
    if (!rows.reserve(plan)) throw new RangeError(`no lines are left for service ${number}`);
    const { first, depth } = rows.take(plan);
    rows.release();
    return { sources: first, depth };
  };
}
