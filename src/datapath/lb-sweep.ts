// Takes services that nobody claims out of the balancer's maps, with no agent there.
import { lbServiceCodec } from "../abi/generated.ts";
import type { Kernel, KernelMap } from "../kernel/types.ts";
import { HawserError } from "../std/errors.ts";
import { balancesAlready } from "./balancing.ts";
import { openFrontendTable } from "./lb-frontends.ts";
import { isAnswering } from "./lb-pools.ts";
import { listMapPins, mapPath } from "./pins.ts";
import { shapeDifference } from "./programs.ts";
import { createServices } from "./services.ts";

const names = ["hw_lb_frontends", "hw_lb_services", "hw_lb_slots", "hw_lb_backends", "hw_lb_places", "hw_lb_sources", "hw_lb_pools", "hw_lb_origins", "hw_lb_clients", "hw_lb_closed"];

/** How many entries of which maps went; maps of another version's shape are left alone. */
export async function sweepServices(kernel: Kernel, bpffs: string): Promise<Readonly<Record<string, number>>> {
  if (!balancesAlready(kernel, bpffs)) return {};
  using stack = new DisposableStack();
  const open = new Map<string, KernelMap>();
  const pinned = new Set(listMapPins(bpffs));
  for (const name of names.filter((one) => pinned.has(one))) {
    const map = stack.use(kernel.openPinnedMap(mapPath(bpffs, name)));
    if (shapeDifference(name, map.info) === undefined) open.set(name, map);
  }
  if (open.size < names.length) return {};
  const mapOf = (name: string): KernelMap => open.get(name) ?? missing(name);
  const frontends = openFrontendTable(mapOf("hw_lb_frontends")).all().filter((entry) => entry.port !== 0 && !isAnswering(entry)).length;
  const services = [...mapOf("hw_lb_services").filled()].filter(([, value]) => lbServiceCodec.decode(value).slots > 0).length;
  const nobody = { node: "", nodeAddress: () => undefined, isOwn: () => false, translates: () => true, jiffies: () => 0, hz: 1, clock: { now: () => 0 } };
  using written = createServices({ kernel, mapOf, ...nobody });
  await written.install([]);
  return { hw_lb_frontends: frontends, hw_lb_services: services };
}

function missing(name: string): never {
  throw new HawserError("INTERNAL", `the map ${name} is not open`);
}
