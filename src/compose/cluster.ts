// The other nodes, as the configuration wants them: how packets travel there, and the door by which they come and go.
import { join } from "node:path";
import type { Config } from "../config/schema.ts";
import { overhead } from "../datapath/tunnel.ts";
import type { HostFacts, Routing } from "../datapath/types.ts";
import type { Commands, PartStatus } from "../engine/types.ts";
import type { ClusterKind, OwnRecords } from "../network/cluster.ts";
import type { PoolConfig } from "../network/types.ts";
import { createPeersDoor } from "../peers/door.ts";
import type { PeersDoor } from "../peers/door.ts";
import type { Clock } from "../std/clock.ts";
import { familyOf, parseIp } from "../std/ip.ts";
import type { Ip } from "../std/ip.ts";
import type { Log } from "../std/log.ts";
import type { SharedStore } from "../store/shared.ts";
import { version } from "./installation.ts";
import { kindOf } from "./node-kind.ts";

export interface OtherNodes {
  readonly kind: ClusterKind;
  /** null: there are none. */
  readonly routing: Routing | null;
  /** Addresses that the configuration gives this node, as others know it. */
  readonly named: readonly Ip[];
  /** Bytes that a tunnel takes of each packet. */
  overhead(facts: HostFacts): number;
  /** What the door does not tell of itself. */
  parts(): readonly PartStatus[];
  /** @throws HawserError BAD_CONFIG */
  open(commands: Pick<Commands, "syncCluster" | "syncServices" | "ownWereGone">, own: () => OwnRecords, facts: () => HostFacts): PeersDoor;
}

/** What they stand on is left to `ground`. */
export async function otherNodes(config: Config, name: string, pool: PoolConfig, clock: Clock, log: Log, ground: AsyncDisposableStack): Promise<OtherNodes> {
  const { peers, routing: { mode, encapsulation, port, direct, probePort } } = config;
  const kind = kindOf(config);
  const cacheFile = join(config.paths.state, "peers");
  const addresses = (facts: HostFacts): readonly Ip[] => addressesOf(config, facts);
  const node = (facts: () => HostFacts) => ({ name, addresses: () => addresses(facts()), mtu: () => facts().uplinkMtu, version: version() });
  const etcd = kind === "etcd" ? ground.use(await openStore(config, clock, log)) : undefined;
  const common = { kind, peers, pool, cacheFile, clock, log: log.with({ part: "peers" }), ...(etcd === undefined ? {} : { store: etcd }) };
  return {
    kind,
    routing: kind === "alone" ? null : { mode, encapsulation, port, direct, probePort },
    named: kind === "alone" ? [] : namedOf(config, name),
    overhead: (facts) => {
      if (kind === "alone" || mode === "native") return 0;
      const underlay = addresses(facts)[0];
      return underlay === undefined ? overhead[4] : overhead[familyOf(underlay)];
    },
    parts: () => (etcd === undefined ? [] : [{ part: "etcd", ...etcd.health() }]),
    open: (commands, own, facts) => createPeersDoor({ ...common, node: node(facts), probePort, commands, own, random: Math.random }),
  };
}

/** Loaded when it is wanted: an agent without etcd need not carry its client. */
async function openStore({ store: { endpoints, prefix, tls, user, passwordFile } }: Config, clock: Clock, log: Log): Promise<SharedStore> {
  const { openEtcd } = await import("../store/etcd.ts");
  return openEtcd({
    endpoints, prefix, tls, clock, log: log.with({ part: "store" }), random: Math.random,
    user: user === null || passwordFile === null ? null : { name: user, passwordFile },
  });
}

/** As configured, or the uplinks' own. */
function addressesOf({ node: { address } }: Config, facts: HostFacts): readonly Ip[] {
  return address === "auto" ? facts.nodeAddresses : parsed(address);
}

/** Static peers name themselves in their list. */
function namedOf({ node: { address }, peers }: Config, name: string): readonly Ip[] {
  return address === "auto" ? peers.filter((peer) => peer.name === name).flatMap((peer) => parsed(peer.address)) : parsed(address);
}

const parsed = (address: string | readonly string[]): readonly Ip[] => (typeof address === "string" ? [address] : address).map((text) => parseIp(text));
