// Services, written where the programs read them, from inside the process that has loaded them.
import { u32 } from "../../../src/abi/codec.ts";
import { lbOriginCodec, lbServiceCodec } from "../../../src/abi/generated.ts";
import { backendMaps, setBackend } from "../../../src/datapath/lb-backends.ts";
import type { BackendEntry } from "../../../src/datapath/lb-backends.ts";
import { openFrontendTable } from "../../../src/datapath/lb-frontends.ts";
import type { FrontendEntry, FrontendTable } from "../../../src/datapath/lb-frontends.ts";
import { openPools } from "../../../src/datapath/lb-pools.ts";
import { originNumber } from "../../../src/datapath/service-entries.ts";
import { openSlotRow } from "../../../src/datapath/lb-slots.ts";
import type { SlotRange } from "../../../src/datapath/lb-slots.ts";
import { openServiceSources } from "../../../src/datapath/lb-sources.ts";
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
      const words = new Uint32Array(2 * slots.length);
      slots.forEach(({ current, previous = 0, changed }, slot) => {
        words[2 * slot] = current | (previous << 16);
        words[2 * slot + 1] = changed === undefined ? 0 : (jiffies() - changed) >>> 0 || 1;
      });
      const range = slots.length === 0 ? { first: 0, slots: 0 } : row.allocate(slots.length);
      if (range.slots > 0) row.write(range, { size: range.slots, words, between: new Map() });
      mapOf("hw_lb_services").set(u32.encode(number), lbServiceCodec.encode({ table: range.first, slots: range.slots, ...takeSources(number, sources), flags, affinity }));
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
