// The door to the other nodes: who they are and what runs there, from a store that all share or from the configuration.
import { HawserError } from "../std/errors.ts";
import type { SharedStore } from "../store/shared.ts";
import { aborted } from "./aborted.ts";
import { alone } from "./alone.ts";
import { electAlone } from "./election.ts";
import type { Election } from "./election.ts";
import { electByLease } from "./election-by-lease.ts";
import { electByName } from "./election-by-name.ts";
import { createProbes } from "./probes.ts";
import { openSharedDoor } from "./shared-door.ts";
import { openStaticDoor } from "./static-door.ts";
import type { Behind, PeersDoor, PeersDoorOptions } from "./types.ts";

export type { Election, Seat } from "./election.ts";
export type { Behind, ConfiguredPeer, PeersDoor, PeersDoorOptions } from "./types.ts";

/** @throws HawserError BAD_CONFIG */
export function createPeersDoor(options: PeersDoorOptions): PeersDoor {
  const { kind, node, probePort: port, clock, random, monotonic = () => performance.now(), log } = options;
  if (kind === "alone") return aloneDoor(options);
  const probes = createProbes({ self: node.name, port, clock, random, monotonic, log, changed: (name) => {
    behind.answersChanged(name);
    election?.answersChanged?.(name);
  } });
  const behind: Behind = kind === "static" ? openStaticDoor(options, probes) : openSharedDoor(options, probes, sharedStore(options));
  let election: Election | undefined;
  const life = new AbortController();
  let listening: Promise<void> | undefined;
  let work: Promise<unknown> = Promise.resolve();
  // Once, so that the store's first view is read once.
  const listen = (): Promise<void> => (listening ??= behind.listen(life.signal));

  const close = async (): Promise<void> => {
    life.abort();
    await Promise.allSettled([listening, work]);
    await probes[Symbol.asyncDispose]();
  };

  return {
    known: (signal) => {
      void listen();
      return behind.known(AbortSignal.any([signal, life.signal]));
    },
    start: async (signal) => {
      probes.follow([], node.addresses());
      void listen();
      try {
        work = Promise.allSettled([probes.run(life.signal), ...behind.work(life.signal)]);
        await behind.start(signal, life.signal);
      } catch (error) {
        await close();
        throw error;
      }
    },
    run: async (signal) => {
      await aborted(AbortSignal.any([signal, life.signal]));
      await close();
    },
    changed: () => behind.changed(),
    announced: (signal) => behind.announced(signal),
    ...(behind.claimSlice === undefined ? {} : { claimSlice: behind.claimSlice }),
    ...(behind.shareServices === undefined ? {} : { shareServices: behind.shareServices }),
    nodes: () => behind.nodes(),
    status: () => behind.status(),
    elect: (seat) => (election = kind === "static"
      ? electByName({ self: node.name, others: options.peers.map(({ name }) => name).filter((name) => name !== node.name), probes, seat, clock })
      : electByLease({ self: node.name, store: sharedStore(options), nodes: () => behind.nodes(), seat, clock, log })),
    [Symbol.asyncDispose]: close,
  };
}

function aloneDoor({ node, own, commands, clock }: PeersDoorOptions): PeersDoor {
  return {
    known: () => Promise.resolve(alone),
    start: (signal) => commands.syncCluster(alone, signal),
    run: (signal) => aborted(signal),
    changed: () => {},
    announced: async () => {},
    nodes: () => [{
      name: node.name, address: node.addresses()[0] ?? "", ipv4: "", ipv6: "", state: "self", lastSeen: 0, rttMs: null, mtu: node.mtu(), endpoints: own().endpoints.length,
    }],
    status: () => ({ part: "peers", state: "off", detail: "none: store.kind is embedded, and peers is empty" }),
    elect: (seat) => electAlone(node.name, seat, clock),
    [Symbol.asyncDispose]: async () => {},
  };
}

function sharedStore({ store }: PeersDoorOptions): SharedStore {
  if (store === undefined) throw new HawserError("INTERNAL", "the peers door of kind etcd was given no store");
  return store;
}
