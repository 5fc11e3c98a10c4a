// Other nodes from the configuration: their slices and whether they answer is all that is known of them.
import type { Cluster, ClusterNode } from "../network/cluster.ts";
import type { PoolConfig } from "../network/types.ts";
import { HawserError, messageOf } from "../std/errors.ts";
import { contains, familyOf, networkOf, overlaps, parseCidr, parseIp } from "../std/ip.ts";
import type { Cidr, Family, Ip } from "../std/ip.ts";
import type { Behind, ConfiguredPeer, PeersDoorOptions } from "./types.ts";
import type { Probes } from "./probes.ts";
import { statusOf, viewsOf } from "./shown.ts";
import { createTeller } from "./teller.ts";

export interface StaticPeer {
  readonly name: string;
  readonly address: Ip;
  /** With `address` first. */
  readonly addresses: readonly Ip[];
  readonly ipv4: Cidr | null;
  readonly ipv6: Cidr | null;
}

/** @throws HawserError BAD_CONFIG */
export function openStaticDoor({ peers, node, pool, commands, own, clock, log }: PeersDoorOptions, probes: Probes): Behind {
  const checked = checkedPeers(peers, node.name, pool);
  const { self, others } = checked;
  let toldMtu = 0;
  const cluster = (): Cluster => {
    toldMtu = node.mtu();
    return staticCluster(checked, toldMtu);
  };
  const teller = createTeller(cluster, (now, signal) => commands.syncCluster(now, signal), clock, log);
  const follow = (): void => probes.follow(others.map(({ name, addresses }) => ({ name, addresses })), node.addresses());

  const nodes: Behind["nodes"] = () => viewsOf(
    { ...self, mtu: node.mtu(), endpoints: own().endpoints.length },
    others.map((one) => ({ ...one, mtu: node.mtu(), endpoints: 0 })), probes, clock.now(),
  );

  return {
    nodes,
    listen: async () => {},
    known: async () => cluster(),
    start: async (_signal, life) => {
      follow();
      await teller.tell(life);
    },
    work: (signal) => [teller.run(signal)],
    changed: () => {
      follow();
      if (node.mtu() !== toldMtu) teller.nudge();
    },
    announced: async () => {},
    answersChanged: () => {},
    status: () => statusOf(nodes(), [probes.trouble(), teller.trouble()].filter((one) => one !== undefined), []),
  };
}

interface CheckedPeers {
  readonly self: StaticPeer;
  readonly others: readonly StaticPeer[];
}

/** Nobody tells of the others' uplinks; nodes that are configured by hand most likely have equal ones: `mtu` is this node's. */
function staticCluster({ self, others }: CheckedPeers, mtu: number): Cluster {
  const nodes = others.map(({ name, addresses, ipv4, ipv6 }): readonly [string, ClusterNode] => [name, { name, addresses, ipv4, ipv6, mtu, names: [] }]);
  return { kind: "static", ipv4: self.ipv4, ipv6: self.ipv6, nodes: new Map(nodes), networks: new Map(), endpoints: new Map(), numbers: new Map() };
}

/** @throws HawserError BAD_CONFIG naming the key and the mend. */
function checkedPeers(peers: readonly ConfiguredPeer[], name: string, pool: PoolConfig): CheckedPeers {
  const read = peers.map((peer, i) => readPeer(peer, `peers[${i}]`, pool));
  for (const [i, peer] of read.entries()) {
    for (const [j, other] of read.slice(0, i).entries()) {
      if (other.name === peer.name) wrong(`peers[${i}].name: "${peer.name}" is the name of peers[${j}], too; give every node its own`);
      const shared = peer.addresses.find((address) => other.addresses.includes(address));
      if (shared !== undefined) wrong(`peers[${i}].address: ${shared} is the address of peers[${j}] (${other.name}), too; give every node its own`);
      for (const key of ["ipv4", "ipv6"] as const) {
        const [mine, theirs] = [peer[key], other[key]];
        if (mine !== null && theirs !== null && overlaps(mine, theirs)) {
          wrong(`peers[${i}].${key}: the slice ${mine} of ${peer.name} overlaps ${theirs} of peers[${j}] (${other.name}); give every node a part of pool.${key} that no other has`);
        }
      }
    }
  }
  const self = read.find((peer) => peer.name === name);
  if (self === undefined) {
    wrong(`peers: none is called "${name}", as this node is; name this node among them, with its own slice, or set node.name to the name that it has there (${read.map((peer) => peer.name).join(", ")})`);
  }
  if (self.ipv4 === null) {
    wrong(`peers[${read.indexOf(self)}].ipv4: this node has no slice; give it a part of pool.ipv4 (${pool.ipv4}) that no other has`);
  }
  return { self, others: read.filter((peer) => peer !== self) };
}

function readPeer({ name, address, ipv4, ipv6 }: ConfiguredPeer, place: string, pool: PoolConfig): StaticPeer {
  const [first, ...more] = (typeof address === "string" ? [address] : address).map((text) => parsed(() => parseIp(text), `${place}.address`));
  if (first === undefined) wrong(`${place}.address: "${name}" has none; name the host's own address`);
  const peer: StaticPeer = {
    name, address: first, addresses: [first, ...more],
    ipv4: slice(ipv4, `${place}.ipv4`, 4, pool.ipv4), ipv6: slice(ipv6, `${place}.ipv6`, 6, pool.ipv6),
  };
  const inside = peer.addresses.find((one) => contains(pool.ipv4, one) || (pool.ipv6 !== null && contains(pool.ipv6, one)));
  if (inside !== undefined) {
    wrong(`${place}.address: ${inside} is of the pool, which is for containers; name the host's own address, or change the pool`);
  }
  if (peer.ipv4 === null && peer.ipv6 === null) wrong(`${place}: "${name}" has no slice; give it ipv4, a part of pool.ipv4 (${pool.ipv4})`);
  return peer;
}

function slice(text: string | null, place: string, family: Family, pool: Cidr | null): Cidr | null {
  if (text === null) return null;
  const cidr = parsed(() => parseCidr(text), place);
  if (familyOf(cidr) !== family) wrong(`${place}: ${cidr} is no IPv${family} prefix`);
  if (networkOf(cidr) !== cidr) wrong(`${place}: ${cidr} names a host; write ${networkOf(cidr)}`);
  if (pool === null) wrong(`${place}: pool.ipv${family} is null, which turns IPv${family} off; give it a prefix, or leave the slice out`);
  if (!contains(pool, cidr)) wrong(`${place}: ${cidr} is not within pool.ipv${family} (${pool}); take a part of that`);
  return cidr;
}

function parsed<T>(read: () => T, place: string): T {
  try {
    return read();
  } catch (error) {
    return wrong(`${place}: ${messageOf(error)}`);
  }
}

function wrong(sentence: string): never {
  throw new HawserError("BAD_CONFIG", sentence);
}
