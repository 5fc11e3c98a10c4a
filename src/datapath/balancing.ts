// Turns balancing on when the first service comes: until then no packet pays for it.
import { lbServiceCodec } from "../abi/generated.ts";
import type { Config } from "../abi/generated.ts";
import type { Kernel, KernelMap } from "../kernel/types.ts";
import type { ServicePlan } from "../lb/types.ts";
import { HawserError, messageOf } from "../std/errors.ts";
import type { Clock } from "../std/clock.ts";
import { addressOf, familyOf, ip4ToNumber } from "../std/ip.ts";
import type { Family, Ip } from "../std/ip.ts";
import type { Log } from "../std/log.ts";
import type { Acceleration } from "./acceleration.ts";
import type { GoneBackend } from "./end-sockets.ts";
import { jiffiesClock } from "./kernel-facts.ts";
import { noTraffic } from "./lb-traffic.ts";
import { listMapPins, mapPath } from "./pins.ts";
import type { LoadedPrograms } from "./programs.ts";
import { refusalOf } from "./service-entries.ts";
import { createServices } from "./services.ts";
import type { Installed, Services } from "./services.ts";
import type { AccelerationSetting, BalancedServices, Elsewhere, HostFacts, TrafficReading } from "./types.ts";

export interface BalancingParts extends AsyncDisposable {
  /** Makes what the plans say but for those that are `refused` then; undone by installing others. @throws HawserError KERNEL */
  install(plans: readonly ServicePlan[]): Promise<void>;
  /** As `Datapath.services`. */
  readonly services: BalancedServices;
  /** The same plans anew, if nodes of their backends have come, moved or gone. */
  nodesChanged(): Promise<void>;
  /** The host's addresses may be others: outer packets, and what is the host's own as well, follow soon. */
  hostChanged(): void;
  traffic(): Promise<TrafficReading>;
  /** As `Datapath.elsewhere`. */
  elsewhere(): Promise<Elsewhere | null>;
}

export interface BalancingSurroundings {
  readonly kernel: Kernel;
  readonly loaded: Pick<LoadedPrograms, "maps" | "reload">;
  /** As the programs were loaded with. */
  readonly config: Config;
  readonly setting: AccelerationSetting;
  readonly acceleration: Pick<Acceleration, "turn" | "fail">;
  /** This node's name. */
  readonly node: string;
  readonly nodeAddress: (node: string) => Ip | undefined;
  readonly facts: () => HostFacts;
  /** Puts the programs that were loaded again in the place of the old ones. */
  readonly attachAgain: () => Promise<unknown>;
  /** From which ports servers can be asked now. */
  readonly ports: () => PortConfig;
  /** Told of backends to which nobody is led any more, once nobody is. */
  readonly onGone: (gone: readonly GoneBackend[]) => void;
  readonly clock: Pick<Clock, "now">;
  readonly log: Log;
}

export type PortConfig = Pick<Config, "ephemeralLow" | "ephemeralHigh" | "snatFirst" | "snatPorts">;
type OwnSources = Pick<Config, "lbIpv4" | "lbIpv6" | "nodeIpv4" | "nodeIpv6">;

export function createBalancing(around: BalancingSurroundings): BalancingParts {
  const { kernel, loaded, setting, acceleration, node, nodeAddress, facts, attachAgain, clock, log } = around;
  let { config } = around;
  let on = config.services !== 0;
  let accelerated = on;
  let sources: OwnSources = config;
  let own = "";
  let services: Services | undefined;
  let last: readonly ServicePlan[] = [];
  let refused: Installed["refused"] = new Map();
  let refusedAnew = (): void => {};
  /** Where backends' nodes were when these were written. */
  const homes = new Map<string, Ip | undefined>();
  let unsure = false;
  let working: Promise<unknown> = Promise.resolve();
  /** One after the other: services come, nodes move and addresses change independently. */
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const done = working.then(work);
    working = done.catch(() => undefined);
    return done;
  };

  /** Programs with the addresses that the host has now, in the place of those that are there once `ready`. The kernel looks through them meanwhile, on other CPUs. */
  const load = async (xdp: boolean, ready: Promise<unknown> = Promise.resolve()): Promise<void> => {
    const now = ownSources(facts());
    const next = { ...config, ...now, services: 1 };
    const read = await Promise.allSettled([ready, loaded.reload("from-container", next), loaded.reload("netdev", next)]);
    const failed = read.find((one) => one.status === "rejected");
    if (failed !== undefined) throw failed.reason;
    if (xdp) {
      await loadAccelerator(loaded, acceleration, setting, next);
      acceleration.turn(true);
    }
    await attachAgain();
    sources = now;
    on = true;
  };

  /** As all that is written has it: who moved meanwhile is written anew as a whole. */
  const homeOf = (name: string): Ip | undefined => {
    if (!homes.has(name)) homes.set(name, nodeAddress(name));
    return homes.get(name);
  };

  const moved = (): readonly string[] => [...homes].filter(([name, address]) => nodeAddress(name) !== address).map(([name]) => name);

  const write = async (plans: readonly ServicePlan[], anew = false): Promise<void> => {
    services ??= createServices({
      kernel, node, nodeAddress: homeOf, hz: config.hz, jiffies: jiffiesClock(config.hz), clock,
      translates: () => config.snatPorts > 0, mapOf: (name) => mapNamed(loaded.maps, name), isOwn: (address) => facts().hostPrefixes.some((prefix) => addressOf(prefix) === address),
    });
    const installed = await services.install(plans, anew);
    const before = refused;
    refused = installed.refused;
    own = ownAddresses(facts());
    last = plans;
    if (installed.gone.length > 0) around.onGone(installed.gone);
    if (anew && before.size + refused.size > 0) refusedAnew();
  };

  /** Ports that the host's own sockets had, and have no more: nobody was asked from any before. */
  const takePorts = async (): Promise<void> => {
    if (config.snatPorts > 0) return;
    const ports = around.ports();
    if (ports.snatPorts === 0) return;
    const before = config;
    config = { ...config, ...ports };
    if (on) {
      await load(accelerated).catch((error: unknown) => {
        config = before;
        throw error;
      });
    }
    log.info("there are ports now from which servers of services can be asked", { first: ports.snatFirst, ports: ports.snatPorts });
  };

  const install = async (plans: readonly ServicePlan[]): Promise<void> => {
    if (plans.length === 0 && services === undefined && !on) return;
    await takePorts();
    const wanted = plans.length > 0;
    if (wanted === accelerated) return write(plans);
    try {
      if (wanted) {
        await load(true, write(plans));
      } else {
        await write(plans);
        acceleration.turn(false);
        await attachAgain();
      }
      accelerated = wanted;
    } finally {
      acceleration.turn(accelerated);
    }
  };

  const follow = async (): Promise<void> => {
    if (last.length > 0 && ownAddresses(facts()) !== own) await write(last, true);
    if (!on || sameSources(sources, ownSources(facts()))) return;
    await load(accelerated);
    log.info("packets to backends have another source now", { nodes: facts().nodeAddresses, servers: facts().uplinkAddresses });
  };

  return {
    install: (plans) => inTurn(() => install(plans)),
    services: {
      refusal: (plan) => refusalOf(plan, config.snatPorts > 0 || around.ports().snatPorts > 0),
      refused: () => refused,
      onRefused: (listener) => void (refusedAnew = listener),
    },
    // Whoever is not among the homes yet is written with the address of now: only who moved must wait for what is being written.
    nodesChanged: async () => {
      if (moved().length === 0 && !unsure) return;
      // Whether there are services is not asked before its turn: the first may be on their way.
      await inTurn(async () => {
        const others = moved();
        for (const name of others) homes.set(name, nodeAddress(name));
        if (last.length === 0 || (others.length === 0 && !unsure)) return;
        unsure = true;
        await write(last, true);
        unsure = false;
      });
    },
    hostChanged: () => {
      if (!on || (ownAddresses(facts()) === own && sameSources(sources, ownSources(facts())))) return;
      void inTurn(follow).catch((error: unknown) => log.error("services could not follow the host's addresses; it is tried again", { error }));
    },
    elsewhere: () => services?.elsewhere() ?? Promise.resolve(null),
    traffic: async () => services?.traffic() ?? noTraffic,
    [Symbol.asyncDispose]: async () => {
      await working;
      services?.[Symbol.dispose]();
    },
  };
}

/** Services are balanced without it where it cannot be loaded. */
export async function loadAccelerator(loaded: Pick<LoadedPrograms, "reload">, acceleration: Pick<Acceleration, "fail">, setting: AccelerationSetting, config: Config): Promise<void> {
  if (setting === "off") return;
  acceleration.fail(await loaded.reload("xdp-lb", config).then(() => null, messageOf));
}

/** Whether an earlier agent left services: its flows must not meet programs that know of none. */
export function balancesAlready(kernel: Kernel, bpffs: string): boolean {
  if (!listMapPins(bpffs).includes("hw_lb_services")) return false;
  using map = kernel.openPinnedMap(mapPath(bpffs, "hw_lb_services"));
  return map.info.valueSize === lbServiceCodec.size && [...map.filled()].some(([, value]) => lbServiceCodec.decode(value).slots > 0);
}

/** From where packets to plain servers come, and from where services' packets to other nodes. */
export function ownSources({ uplinkAddresses, nodeAddresses }: Pick<HostFacts, "uplinkAddresses" | "nodeAddresses">): OwnSources {
  const first = (addresses: readonly Ip[], family: Family): Ip | null => addresses.find((address) => familyOf(address) === family) ?? null;
  const number = (address: Ip | null): number => (address === null ? 0 : ip4ToNumber(address));
  return {
    lbIpv4: number(first(uplinkAddresses, 4)), lbIpv6: first(uplinkAddresses, 6),
    nodeIpv4: number(first(nodeAddresses, 4)), nodeIpv6: first(nodeAddresses, 6),
  };
}

function sameSources(a: OwnSources, b: OwnSources): boolean {
  return a.lbIpv4 === b.lbIpv4 && a.lbIpv6 === b.lbIpv6 && a.nodeIpv4 === b.nodeIpv4 && a.nodeIpv6 === b.nodeIpv6;
}

function ownAddresses({ hostPrefixes }: HostFacts): string {
  return hostPrefixes.toSorted().join(" ");
}

function mapNamed(maps: ReadonlyMap<string, KernelMap>, name: string): KernelMap {
  const map = maps.get(name);
  if (map === undefined) throw new HawserError("INTERNAL", `no object has the map ${name}`);
  return map;
}
