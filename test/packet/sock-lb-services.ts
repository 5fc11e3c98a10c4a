// Services as the agent writes them into sock-lb's maps.
import { u32 } from "../../src/abi/codec.ts";
import { lbClosedCodec, LbServiceFlags, lbServiceCodec } from "../../src/abi/generated.ts";
import { backendMaps, setBackend } from "../../src/datapath/lb-backends.ts";
import { openFrontendTable } from "../../src/datapath/lb-frontends.ts";
import { formedSlots, noTable, openSlotRow } from "../../src/datapath/lb-slots.ts";
import { createKernel } from "../../src/kernel/index.ts";
import type { KernelMap } from "../../src/kernel/types.ts";
import { parseIp } from "../../src/std/ip.ts";
import { sourceWriter, writeTable } from "./lb/tables.ts";
import type { SourceLists } from "./lb/tables.ts";

/** A slot: its backend, or [current, previous, changed]. */
export type Slot = number | readonly [current: number, previous: number, changed: number];

export interface Services extends Disposable {
  backend(number: number, at: string, state?: "up" | "down"): void;
  /** The backend takes nothing new of the service, or does again. */
  close(service: number, backend: number): void;
  open(service: number, backend: number): void;
  /** `affinity` in seconds. */
  service(number: number, slots: readonly Slot[], more?: { readonly affinity?: number } & SourceLists): void;
  /** `address@port` for TCP and UDP. `shared`: the host has the address as well. */
  frontend(at: string, service: number, shared?: boolean): void;
}

export function writeServices(map: (name: string) => KernelMap): Services {
  const frontends = openFrontendTable(map("hw_lb_frontends"));
  const row = openSlotRow(createKernel(), map("hw_lb_slots"));
  const takeSources = sourceWriter(map("hw_lb_sources"));
  return {
    backend: (number, at, state = "up") => {
      const [address, port] = parts(at);
      setBackend(backendMaps(map), number, { address, port, mode: "LOCAL", down: state === "down" });
    },
    close: (service, backend) => map("hw_lb_closed").set(lbClosedCodec.encode({ service, backend }), u32.encode(1)),
    open: (service, backend) => void map("hw_lb_closed").delete(lbClosedCodec.encode({ service, backend })),
    service: (number, slots, { affinity = 0, ...lists } = {}) => {
      const entries = slots.map((slot) => (typeof slot === "number" ? { current: slot, previous: 0, changed: 0 } : { current: slot[0], previous: slot[1], changed: slot[2] }));
      const range = slots.length === 0 ? noTable : writeTable(row, entries);
      const flags = affinity > 0 ? LbServiceFlags.AFFINITY : 0;
      map("hw_lb_services").set(u32.encode(number), lbServiceCodec.encode({ table: range.first, slots: formedSlots(range), ...takeSources(number, lists), flags, affinity }));
    },
    frontend: (at, service, shared = false) => {
      const [address, port] = parts(at);
      for (const protocol of [6, 17]) frontends.set({ address, port, protocol, service, number: service, shared });
      frontends.set({ address, port: 0, protocol: 0, service, number: 0, shared });
    },
    [Symbol.dispose]: () => row[Symbol.dispose](),
  };
}

function parts(at: string): readonly [ReturnType<typeof parseIp>, number] {
  const [address = "", port = ""] = at.split("@");
  return [parseIp(address), Number(port)];
}
