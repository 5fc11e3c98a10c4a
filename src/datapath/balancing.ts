// Turns balancing on when the first service comes: until then no packet pays for it.
import { lbServiceCodec } from "../abi/generated.ts";
import type { Config } from "../abi/generated.ts";
import type { Kernel, KernelMap } from "../kernel/types.ts";
import type { ServicePlan } from "../lb/types.ts";
import { HawserError } from "../std/errors.ts";
import type { Clock } from "../std/clock.ts";
import { addressOf, familyOf, ip4ToNumber } from "../std/ip.ts";
import type { Family, Ip } from "../std/ip.ts";
import { jiffiesClock } from "./kernel-facts.ts";
import { listMapPins, mapPath } from "./pins.ts";
import type { LoadedPrograms } from "./programs.ts";
import { createServices } from "./services.ts";
import type { Services } from "./services.ts";
import type { HostFacts } from "./types.ts";

export interface BalancingParts extends Disposable {
  /** Makes what the plans say; undone by installing others. @throws HawserError UNSUPPORTED, TABLE_FULL, KERNEL */
  install(plans: readonly ServicePlan[]): Promise<void>;
  /** The same plans anew, after other nodes have come or moved. */
  nodesChanged(): Promise<void>;
}

export interface BalancingSurroundings {
  readonly kernel: Kernel;
  readonly loaded: Pick<LoadedPrograms, "maps" | "reload">;
  /** As the programs were loaded with. */
  readonly config: Config;
  /** This node's name. */
  readonly node: string;
  readonly nodeAddress: (node: string) => Ip | undefined;
  readonly facts: () => HostFacts;
  /** Puts the programs that were loaded again in the place of the old ones. */
  readonly attachAgain: () => Promise<unknown>;
  readonly clock: Pick<Clock, "now">;
}

export function createBalancing({ kernel, loaded, config, node, nodeAddress, facts, attachAgain, clock }: BalancingSurroundings): BalancingParts {
  let on = config.services !== 0;
  let services: Services | undefined;
  let last: readonly ServicePlan[] = [];
  const install = async (plans: readonly ServicePlan[], anew = false): Promise<void> => {
    if (plans.length === 0 && services === undefined && !on) return;
    services ??= createServices({
      kernel, node, nodeAddress, hz: config.hz, jiffies: jiffiesClock(config.hz), clock,
      mapOf: (name) => mapNamed(loaded.maps, name), isOwn: (address) => facts().hostPrefixes.some((prefix) => addressOf(prefix) === address),
    });
    await services.install(plans, anew);
    last = plans;
    if (on) return;
    await loaded.reload("netdev", { ...config, ...lbAddresses(facts().nodeAddresses), services: 1 });
    await attachAgain();
    on = true;
  };
  return { install: (plans) => install(plans), nodesChanged: () => (last.length === 0 ? Promise.resolve() : install(last, true)), [Symbol.dispose]: () => services?.[Symbol.dispose]() };
}

/** Whether an earlier agent left services: its flows must not meet programs that know of none. */
export function balancesAlready(kernel: Kernel, bpffs: string): boolean {
  if (!listMapPins(bpffs).includes("hw_lb_services")) return false;
  using map = kernel.openPinnedMap(mapPath(bpffs, "hw_lb_services"));
  return map.info.valueSize === lbServiceCodec.size && [...map.entries()].some(([, value]) => lbServiceCodec.decode(value).slots > 0);
}

/** From where outer packets to backends come. */
export function lbAddresses(own: readonly Ip[]): Pick<Config, "lbIpv4" | "lbIpv6"> {
  const first = (family: Family): Ip | undefined => own.find((address) => familyOf(address) === family);
  const four = first(4);
  return { lbIpv4: four === undefined ? 0 : ip4ToNumber(four), lbIpv6: first(6) ?? null };
}

function mapNamed(maps: ReadonlyMap<string, KernelMap>, name: string): KernelMap {
  const map = maps.get(name);
  if (map === undefined) throw new HawserError("INTERNAL", `no object has the map ${name}`);
  return map;
}
