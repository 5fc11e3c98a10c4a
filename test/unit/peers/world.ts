// Nodes on loopback addresses that share one server: real doors, real datagrams, and an engine that remembers what it was told.
import { rmSync } from "node:fs";
import { join } from "node:path";
import { firstProvisional, identityKey } from "../../../src/engine/shared.ts";
import type { Cluster, NodeHealth, NodeNetwork, RemoteEndpoint } from "../../../src/network/cluster.ts";
import type { SharedServices } from "../../../src/lb/stored.ts";
import type { PoolConfig } from "../../../src/network/types.ts";
import { createPeersDoor } from "../../../src/peers/door.ts";
import type { ConfiguredPeer, PeersDoor, PeersDoorOptions } from "../../../src/peers/door.ts";
import { systemClock } from "../../../src/std/clock.ts";
import type { Clock } from "../../../src/std/clock.ts";
import { createLog } from "../../../src/std/log.ts";
import { addressOf, formatIp, ipToBigInt, parseCidr, parseIp, parseMac } from "../../../src/std/ip.ts";
import type { Ip } from "../../../src/std/ip.ts";
import type { SharedStore } from "../../../src/store/shared.ts";
import { scratchFolder } from "../../scratch.ts";

export const pool: PoolConfig = { ipv4: parseCidr("10.44.0.0/16"), ipv4NodePrefix: 24, ipv6: parseCidr("fd44::/48"), ipv6NodePrefix: 64 };

/** A container of a node: address number `host` of the node's slice. */
export interface Container {
  readonly id: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly host: number;
}

export interface TestNode extends AsyncDisposable {
  readonly door: PeersDoor;
  /** As the engine knows it. */
  readonly containers: Map<string, Container>;
  readonly told: Cluster[];
  readonly services: SharedServices[];
  /** How often it was told that the others had taken it for dead. */
  wereGone: number;
  readonly lines: string[];
  addresses: readonly Ip[];
  names: readonly string[];
  networks: readonly NodeNetwork[];
  health: NodeHealth;
  last(): Cluster;
  /** Ids of the containers on others, sorted. */
  seen(): readonly string[];
  run(id: string, labels?: Readonly<Record<string, string>>): void;
  stop(id: string): void;
  start(signal?: AbortSignal): Promise<void>;
}

export interface NodeOptions {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly store?: SharedStore;
  readonly kind?: "static" | "etcd" | "alone";
  readonly peers?: readonly ConfiguredPeer[];
  readonly folder?: string;
  readonly options?: Partial<PeersDoorOptions>;
}

const nothing: Cluster = { kind: "etcd", ipv4: null, ipv6: null, nodes: new Map(), networks: new Map(), endpoints: new Map(), numbers: new Map() };

export function node({ name, address, port, store, kind = "etcd", peers = [], folder = scratchFolder("peers"), options = {} }: NodeOptions): TestNode {
  const containers = new Map<string, Container>();
  const told: Cluster[] = [];
  const lines: string[] = [];
  const last = (): Cluster => told.at(-1) ?? nothing;
  let hosts = 2;
  const numberOf = (key: string): number => last().numbers.get(key) ?? firstProvisional + 1;
  const endpoint = ({ id, labels: own, host }: Container): RemoteEndpoint | undefined => {
    const { ipv4 } = last();
    if (ipv4 === null) return undefined;
    const labels = { network: "shop", project: null, service: null, name: null, own };
    return {
      node: name, id, containerId: id, name: id, names: [id], network: "shop", ipv4: formatIp(ipToBigInt(addressOf(ipv4)) + BigInt(host), 4), ipv6: null,
      mac: parseMac(`02:00:00:00:00:${host.toString(16).padStart(2, "0")}`), identity: numberOf(identityKey(labels)), labels,
    };
  };
  const self: TestNode = {
    containers, told, services: [], wereGone: 0, lines, last, addresses: [parseIp(address)], names: [], networks: [], health: new Map(),
    seen: () => [...last().endpoints.values()].map(({ id }) => id).toSorted(),
    run: (id, labels = { app: id }) => {
      containers.set(id, { id, labels, host: hosts++ });
      self.door.changed();
    },
    stop: (id) => {
      containers.delete(id);
      self.door.changed();
    },
    start: (signal = new AbortController().signal) => self.door.start(signal),
    door: createPeersDoor({
      kind, peers, ...(store === undefined ? {} : { store }), probePort: port, cacheFile: join(folder, "peers"), pool, clock: systemClock, random: Math.random,
      node: { name, addresses: () => self.addresses, mtu: () => 1500, version: "0.1.0" },
      own: () => {
        const endpoints = [...containers.values()].flatMap((one) => endpoint(one) ?? []);
        const unnumbered = endpoints.filter(({ identity }) => identity >= firstProvisional).map(({ labels }) => identityKey(labels));
        return { endpoints, unnumbered: [...new Set(unnumbered)], names: self.names, networks: self.networks, ...(self.health.size === 0 ? {} : { health: self.health }) };
      },
      commands: {
        syncServices: async (known) => void self.services.push(known),
        ownWereGone: async () => void self.wereGone++,
        syncCluster: async (cluster) => {
          const before = last();
          told.push(cluster);
          // As the engine: its own records change when it learns numbers or its slices.
          if (before.numbers !== cluster.numbers || before.ipv4 !== cluster.ipv4) self.door.changed();
        },
      },
      log: createLog((line) => lines.push(line), () => 0), ...options,
    }),
    [Symbol.asyncDispose]: async () => {
      await self.door[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  return self;
}

/** Waits for an announcement as long as it takes, however busy the machine is. */
export const patient: Clock = { ...systemClock, sleep: (ms, signal) => systemClock.sleep(ms === 300 ? 60_000 : ms, signal) };

let ports = 20_000 + (process.pid % 400) * 100;

/** A port of loopback that no other test has. */
export function freshPort(): number {
  return ports++;
}

export async function until(fact: () => boolean): Promise<void> {
  const end = Date.now() + 60_000;
  while (!fact()) {
    if (Date.now() > end) throw new Error(`not true within a minute: ${fact}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
