// A host that is a sorted list of words: what the doers made and did not take away again.
import type { Cluster, ClusterPlan } from "../../../src/network/cluster.ts";
import type { AdoptReport, Datapath, Elsewhere } from "../../../src/datapath/types.ts";
import type { ClaimSlice } from "../../../src/engine/another-slice.ts";
import { createEngine } from "../../../src/engine/engine.ts";
import type { Engine } from "../../../src/engine/engine.ts";
import { describe } from "../../../src/engine/commit.ts";
import type { CreateEndpoint, CreateNetwork, EndpointId, EndpointRef, Join, NetworkId, ReadElsewhere } from "../../../src/engine/types.ts";
import type { ClientsPlan, ContainerIdentity, ContainerRoutesPlan, Doer, Doers, Step } from "../../../src/network/types.ts";
import type { PlanHead, ServicePlan } from "../../../src/lb/types.ts";
import type { PolicyTables } from "../../../src/policy/types.ts";
import type { ShareServices } from "../../../src/engine/service-sharing.ts";
import type { ServiceSettings } from "../../../src/engine/service-planner.ts";
import type { Clock } from "../../../src/std/clock.ts";
import type { HawserError } from "../../../src/std/errors.ts";
import type { Cidr, Ip } from "../../../src/std/ip.ts";
import { createLog } from "../../../src/std/log.ts";
import type { Change, Json, Store, Tables } from "../../../src/store/types.ts";

export interface FakeHost {
  readonly datapath: Pick<Datapath, "doers" | "facts" | "adopt" | "standing" | "counters" | "maps" | "dumpMap" | "inspect" | "policy" | "traffic" | "elsewhere" | "services" | "rawEvents" | "decodeEvent" | "deviceName">;
  /** Every do and undo, in order. */
  readonly calls: string[];
  /** What it knows of other nodes; null: nothing was said. */
  cluster: ClusterPlan | null;
  /** What containers were given. */
  routes: ReadonlyMap<string, ContainerRoutesPlan>;
  /** What services it carries; null: nothing was said. */
  services: readonly ServicePlan[] | null;
  /** Where it was told that services' clients are; null: nothing was said. */
  clients: ClientsPlan | null;
  elsewhere: Elsewhere | null;
  /** Why it cannot carry out a service, whatever room there is. */
  refusal: (plan: PlanHead) => HawserError | undefined;
  /** Why it has no room for a plan. */
  full: (plan: ServicePlan) => HawserError | undefined;
  /** Services are written anew, as when nodes have moved. */
  writeAnew(): void;
  /** What is there now. */
  things(): readonly string[];
  /** Called before each do or undo; may throw or wait. */
  before: (call: string) => Promise<void> | void;
}

const opposite: Readonly<Record<string, Step["kind"]>> = {
  removeNetwork: "network", removeCable: "cable", detach: "attach", removeEndpoint: "endpoint", removePort: "port", removeGuest: "guest",
};

export function fakeHost(): FakeHost {
  const there = new Set<string>();
  const calls: string[] = [];
  let tables: PolicyTables | null = null;
  let revision = 0;
  let refused: ReadonlyMap<ServicePlan, HawserError> = new Map();
  let anew = (): void => {};
  const install = (plans: readonly ServicePlan[] | null): void => {
    const why = (plan: ServicePlan): HawserError | undefined => host.refusal(plan) ?? host.full(plan);
    refused = new Map(plans?.flatMap((plan) => {
      const error = why(plan);
      return error === undefined ? [] : [[plan, error] as const];
    }));
    const before = host.services ?? [];
    host.services = plans?.flatMap((plan) => (refused.has(plan) ? before.filter(({ number }) => number === plan.number) : [plan])) ?? null;
  };
  const act = async (verb: "do" | "undo", step: Step): Promise<void> => {
    const call = `${verb} ${describe(step)}`;
    calls.push(call);
    await host.before(call);
    if (step.kind === "claimPort") return;
    if (step.kind === "policy") {
      tables = verb === "do" ? step.tables : step.before;
      revision++;
      return;
    }
    if (step.kind === "cluster") {
      host.cluster = verb === "do" ? step.cluster : step.before;
      return;
    }
    if (step.kind === "containerRoutes") {
      host.routes = verb === "do" ? step.routes : (step.before ?? host.routes);
      return;
    }
    if (step.kind === "clients") {
      host.clients = verb === "do" ? step.clients : step.before;
      return;
    }
    if (step.kind === "services") {
      install(verb === "do" ? step.plans : step.before);
      return;
    }
    // Undone, what was there before is there again.
    if (verb === "undo" && "before" in step) return;
    const makes = (verb === "do") === !(step.kind in opposite);
    const thing = describe({ ...step, kind: opposite[step.kind] ?? step.kind } as Step);
    if (makes) there.add(thing);
    else there.delete(thing);
  };
  const doer: Doer<Step> = { do: (step) => act("do", step), undo: (step) => act("undo", step) };
  const doers: Doers = {
    network: doer, removeNetwork: doer, cable: doer, removeCable: doer, attach: doer, detach: doer, endpoint: doer, removeEndpoint: doer,
    policy: doer, cluster: doer, containerRoutes: doer, services: doer, clients: doer, guest: doer, removeGuest: doer, claimPort: doer, port: doer, removePort: doer,
  };
  const adopt = async (steps: readonly Step[], unclaimed: "sweep" | "keep" = "sweep"): Promise<AdoptReport> => {
    const isWhole = ({ kind }: Step): boolean => kind === "policy" || kind === "cluster" || kind === "containerRoutes" || kind === "services";
    for (const step of steps.filter(isWhole)) await act("do", step);
    const wanted = new Set(steps.filter((step) => !isWhole(step)).map(describe));
    const links = unclaimed === "keep" ? [] : [...there].filter((thing) => !wanted.has(thing));
    for (const thing of links) there.delete(thing);
    for (const thing of wanted) there.add(thing);
    return { removed: { links, pins: [], routes: [], entries: {} }, missing: [], failed: [] };
  };
  const host: FakeHost = {
    calls,
    cluster: null,
    routes: new Map(),
    services: null,
    clients: null,
    elsewhere: null,
    refusal: () => undefined,
    full: () => undefined,
    writeAnew: () => {
      install(host.services);
      anew();
    },
    things: () => [...there].toSorted(),
    before: () => {},
    datapath: {
      doers,
      adopt,
      standing: () => ({
        cables: new Set([...there].filter((thing) => thing.startsWith("cable ")).map((thing) => thing.slice("cable ".length))),
        gateways: new Map(), ports: [],
      }),
      facts: { uplinkMtu: 1500, hostPrefixes: ["192.0.2.7/24" as Cidr], uplinks: ["eth0"], lan: ["192.0.2.0/24" as Cidr], nodeAddresses: ["192.0.2.7" as Ip], uplinkAddresses: ["192.0.2.7" as Ip] },
      policy: () => ({ revision, tables, rulesOf: () => tables?.rules }),
      rawEvents: () => ({ [Symbol.dispose]: () => {} }),
      decodeEvent: () => { throw new Error("no packet was told"); },
      deviceName: () => "",
      elsewhere: async () => host.elsewhere,
      services: { refusal: (plan) => host.refusal(plan), refused: () => refused, onRefused: (listener) => void (anew = listener) },
      counters: () => [],
      traffic: async () => ({ sent: new Map(), tracked: [] }),
      maps: async () => [],
      dumpMap: () => [],
      inspect: () => ({ release: "6.18.0", features: { tcx: true }, programs: [], uplinks: ["eth0"], problems: [], remarks: [] }),
    },
  };
  return host;
}

export interface MemoryStore extends Store {
  /** Thrown by the next writes. */
  broken: HawserError | null;
  /** Sees every write; may never return, as a killed agent. */
  onWrite: (changes: readonly Change[]) => Promise<void> | void;
}

/** What a store remembers, without a disk. `rows` outlives the store, as a file would. */
export function memoryStore(rows = new Map<string, Map<string, Json>>()): MemoryStore {
  const store: MemoryStore = {
    broken: null,
    onWrite: () => {},
    load: async () => JSON.parse(JSON.stringify([...rows].map(([name, entries]) => [name, [...entries]])), (key, value: unknown) =>
      key === "" ? new Map((value as [string, [string, Json][]][]).map(([name, entries]) => [name, new Map(entries)])) : value) as Tables,
    write: async (changes) => {
      await store.onWrite(changes);
      if (store.broken) throw store.broken;
      for (const { table, key, value } of changes) {
        const entries = rows.get(table) ?? new Map<string, Json>();
        rows.set(table, entries);
        if (value === undefined) entries.delete(key);
        else entries.set(key, value);
      }
    },
    backup: async () => {},
    health: () => (store.broken ? { state: "degraded", detail: store.broken.message } : { state: "ok", detail: "memory" }),
    close: async () => {},
  };
  return store;
}

/** The network `shop`, and what lets containers join it, by number. */
export async function openShop({ commands }: Pick<Engine, "commands">): Promise<(...which: readonly number[]) => Promise<void>> {
  await commands.createNetwork(networkCommand());
  await commands.reconcile({ networks: [{ id: network, name: "shop", endpoints: [] }] });
  return async (...which) => {
    for (const n of which) {
      await commands.createEndpoint(endpointCommand(n));
      await commands.join(joinCommand(n));
    }
  };
}

export function desk(host: FakeHost, store: Store, options: {
  readonly masquerade?: boolean; readonly unenforced?: "allow" | "quarantine"; readonly now?: () => number; readonly whose?: (ref: EndpointRef) => Promise<ContainerIdentity | null>;
  readonly announced?: () => Promise<void>; readonly cluster?: Cluster; readonly overhead?: number; readonly claimSlice?: ClaimSlice;
  readonly clock?: Clock; readonly services?: ServiceSettings; readonly node?: string; readonly shareServices?: ShareServices; readonly readServices?: ReadElsewhere;
} = {}) {
  const lines: string[] = [];
  const engine = createEngine({
    store, datapath: host.datapath, node: options.node ?? "n1", version: "0.0.0", mtu: null, masquerade: options.masquerade ?? true,
    pool: { ipv4: "10.44.0.0/16" as Cidr, ipv4NodePrefix: 24, ipv6: "fd44::/48" as Cidr, ipv6NodePrefix: 64 },
    policy: { betweenNetworks: "deny", published: "allow", untilIdentified: "deny", unenforced: options.unenforced ?? "allow", hostServices: [2375] },
    ...(options.whose === undefined ? {} : { whose: options.whose }),
    ...(options.announced === undefined ? {} : { announced: options.announced }),
    ...(options.claimSlice === undefined ? {} : { claimSlice: options.claimSlice }),
    ...(options.shareServices === undefined ? {} : { shareServices: options.shareServices }),
    ...(options.readServices === undefined ? {} : { readServices: options.readServices }),
    ...(options.cluster === undefined ? {} : { cluster: options.cluster }),
    ...(options.overhead === undefined ? {} : { overhead: options.overhead }),
    services: options.services ?? { mode: "auto" },
    parts: () => [], clock: options.clock ?? { now: options.now ?? (() => 1_000_000), sleep: () => new Promise(() => {}), deadline: () => new AbortController().signal }, random: () => 0.5,
    log: createLog((line) => lines.push(line), () => 0),
  });
  return Object.assign(engine, { lines });
}

export const network = "a".repeat(64) as NetworkId;

export function endpointId(n: number): EndpointId {
  return String(n).padStart(11, "0").padEnd(64, "e") as EndpointId;
}

export function networkCommand(id: NetworkId = network, subnet = "10.50.0.0/24"): CreateNetwork {
  const gateway = subnet.replace(/0\/(\d+)$/, "1/$1");
  return { id, ipv4: [{ pool: subnet, gateway, aux: {} }], ipv6: [], internal: false, enableIpv4: true, enableIpv6: false, options: {} };
}

export function endpointCommand(n: number, on: NetworkId = network): CreateEndpoint {
  return { id: endpointId(n), network: on, ipv4: `10.50.0.${n + 1}/24`, ipv6: null, mac: null, ports: [], options: {} };
}

export function joinCommand(n: number, on: NetworkId = network): Join {
  return { id: endpointId(n), network: on, sandboxKey: `/run/docker/netns/${n}`, ports: [] };
}

/** A started desk with one network and these endpoints joined to it. */
export async function shop(...joined: readonly number[]): Promise<{ readonly host: FakeHost; readonly engine: ReturnType<typeof desk> }> {
  const host = fakeHost();
  const engine = desk(host, memoryStore());
  await engine.start();
  await engine.commands.createNetwork(networkCommand());
  for (const n of joined) {
    await engine.commands.createEndpoint(endpointCommand(n));
    await engine.commands.join(joinCommand(n));
  }
  return { host, engine };
}
