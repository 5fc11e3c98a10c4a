// Other nodes from a store that all share: follows it, tells the engine, writes what is this node's own, and remembers for when it is away.
import type { NodeView } from "../engine/types.ts";
import { HawserError, messageOf } from "../std/errors.ts";
import type { Family } from "../std/ip.ts";
import type { SharedEvent, SharedStore } from "../store/shared.ts";
import { aborted } from "./aborted.ts";
import { loadCache, saveCache } from "./cache.ts";
import { createClaims } from "./claims.ts";
import { createComplaints } from "./complaints.ts";
import { isPartOf, nodeKey, nodeName } from "./keys.ts";
import type { Probes } from "./probes.ts";
import { createPublisher } from "./publisher.ts";
import { isName, mostNames, mostNetworks } from "./records.ts";
import type { NodeRecord } from "./records.ts";
import { statusOf, viewsOf } from "./shown.ts";
import { createServiceShare } from "./service-share.ts";
import type { ShownNode } from "./shown.ts";
import { createTeller } from "./teller.ts";
import { watchStruckOut } from "./struck-out.ts";
import type { Behind, PeersDoorOptions } from "./types.ts";
import { openView } from "./view.ts";
import { createWriteBudget } from "./write-budget.ts";

/** Milliseconds. How long the start waits for the store. */
const firstView = 4000;
/** How long a container's start waits until the others know of it. */
const announcement = 300;
const firstCachePause = 1000;

/** @throws HawserError BAD_CONFIG when the node's name is none that others can write down. */
export function openSharedDoor(options: PeersDoorOptions, probes: Probes, store: SharedStore): Behind {
  const { node, pool, commands, own, cacheFile, clock, random, log } = options;
  if (!nodeName.test(node.name)) {
    throw new HawserError("BAD_CONFIG", `node.name: "${node.name}" is no name of 1 to 63 letters, digits, dots, dashes or underscores; set one`);
  }
  const startedAt = clock.now();
  const families: readonly Family[] = pool.ipv6 === null ? [4] : [4, 6];
  const first = Promise.withResolvers<void>();
  const firstLoss = Promise.withResolvers<void>();
  let machine = "";
  /** Why the store is not heard, and since when; undefined: it is. */
  let lost: { readonly why: string; readonly since: number } | undefined = { why: "it was not heard yet", since: startedAt };
  let changedSinceSaved = false;
  /** Nothing is written before the start knows that it may be. */
  let open = false;
  let remembered: Promise<void> = Promise.resolve();

  const view = openView({
    self: node.name, pool, log, addresses: () => node.addresses(),
    answers: (name) => {
      const { state, lastSeen } = probes.seen(name);
      return state === "ready" && lastSeen > 0;
    },
  });
  const teller = createTeller(() => view.cluster(), (cluster, signal) => commands.syncCluster(cluster, signal), clock, log);

  const slice = (family: Family) => view.registry.sliceOf(node.name, family);
  const ownComplaints = createComplaints(log);
  const told = (): Pick<NodeRecord, "names" | "networks"> => {
    const all = own();
    const names = all.names.filter(isName).slice(0, mostNames);
    const networks = all.networks.filter(({ name }) => isName(name)).slice(0, mostNetworks);
    if (names.length < all.names.length) ownComplaints(nodeKey(node.name), `${all.names.length - names.length} of the names that policies here refer to are too long or too many for the others to know`);
    return { names, networks };
  };
  const record = (): NodeRecord => ({
    name: node.name, addresses: node.addresses(), ipv4: slice(4), ipv6: pool.ipv6 === null ? null : slice(6), mtu: node.mtu(), ...told(),
    version: node.version ?? "", machine, startedAt,
  });

  const follow = (): void => probes.follow(view.nodes().values(), node.addresses());
  const viewChanged = (): void => {
    changedSinceSaved = true;
    follow();
    teller.nudge();
  };

  const serviceTeller = createTeller(() => services.known(), (now) => commands.syncServices(now), clock, log);
  const services = createServiceShare({ self: node.name, store, tell: (signal) => serviceTeller.tell(signal), clock, random, complain: createComplaints(log) });
  const claims = createClaims({ self: node.name, pool, store, view, learned: viewChanged });
  const publisher = createPublisher({
    self: node.name, families, store, view, claims, own, node: record, heard: () => open && lost === undefined, clock, random, log,
    complain: ownComplaints,
    learned: viewChanged,
  });

  const heard = (event: SharedEvent): void => {
    if (event.kind === "lost") {
      if (lost === undefined) {
        log.warn("the store is not heard; what is known of the other nodes stays", { why: event.why });
        // From now on a start has only this file to go by.
        void save();
      }
      lost = { why: event.why, since: lost?.since ?? clock.now() };
      firstLoss.resolve();
      return;
    }
    if (event.kind === "snapshot") {
      if (lost !== undefined) log.info("the store is heard", { records: event.entries.size });
      // What waited for the store is tried again.
      if (services.takeAll(event.entries) || lost !== undefined) serviceTeller.nudge();
      lost = undefined;
      const changed = view.takeAll(event.entries);
      if (changed) viewChanged();
      publisher.compare();
      first.resolve();
      return;
    }
    const values = new Map(event.changes.map(({ key, value }) => [key, value]));
    if (services.take(values)) serviceTeller.nudge();
    if (view.take(values)) viewChanged();
    // Claims that others took away are made again.
    if (event.changes.some(({ key, value }) => value === undefined && /^(?:slices|identit)/.test(key))) publisher.nudge();
    publisher.observed(new Map([...values].filter(([key]) => key === nodeKey(node.name) || isPartOf(node.name, key))));
  };

  const listen = async (signal: AbortSignal): Promise<void> => {
    remembered = loadCache(cacheFile, log).then(({ machine: known, entries }) => {
      machine = known;
      view.takeAll(entries);
    });
    await remembered;
    while (!signal.aborted) {
      const events = store.watch("", signal)[Symbol.asyncIterator]();
      // A function of its own: what a loop holds while it waits stays in memory, and a snapshot is large.
      const next = async (): Promise<boolean> => {
        const { value, done } = await events.next();
        if (done !== true) heard(value);
        return done === true;
      };
      try {
        while (!(await next()));
      } catch (error) {
        if (signal.aborted) return;
        heard({ kind: "lost", why: messageOf(error) });
      }
      await events.return?.();
      await clock.sleep(1000, signal).catch(() => undefined);
    }
  };

  const budget = createWriteBudget(clock);
  let saving: Promise<void> = Promise.resolve();
  const save = (): Promise<void> => (saving = saving.then(saveNow));
  const saveNow = async (): Promise<void> => {
    if (!changedSinceSaved) return;
    changedSinceSaved = false;
    await saveCache(cacheFile, machine, view.records()).then(budget.spent).catch((error: unknown) => {
      changedSinceSaved = true;
      log.warn("what is known of the other nodes was not remembered", { file: cacheFile, error });
    });
  };

  const remember = async (signal: AbortSignal): Promise<void> => {
    for (let pause = firstCachePause; !signal.aborted; pause = budget.pause()) {
      await clock.sleep(pause, signal).catch(() => undefined);
      await save();
    }
  };

  const nodes = (): readonly NodeView[] => {
    const counts = new Map<string, number>();
    for (const { node } of view.cluster().endpoints.values()) counts.set(node, (counts.get(node) ?? 0) + 1);
    const self: ShownNode = { ...record(), more: view.registry.moreOf(node.name), endpoints: own().endpoints.length };
    return viewsOf(self, [...view.nodes().values()].map((one) => ({ ...one, endpoints: counts.get(one.name) ?? 0 })), probes, clock.now());
  };

  return {
    nodes, listen,
    known: async (signal) => {
      await remembered;
      await Promise.race([first.promise, firstLoss.promise, aborted(AbortSignal.any([signal, clock.deadline(firstView)]))]);
      return view.cluster();
    },
    start: async (signal, life) => {
      await remembered;
      const limit = AbortSignal.any([signal, life, clock.deadline(firstView)]);
      await Promise.race([first.promise, aborted(limit)]);
      if (lost === undefined) {
        await publisher.register(limit).catch((error: unknown) => {
          if (error instanceof HawserError && error.code === "ALREADY_EXISTS") throw error;
          log.warn("this node could not be registered at start; it is tried again", { error });
        });
      } else {
        log.warn("the store was not heard at start; what was remembered of the other nodes holds", { why: lost.why, nodes: view.members.size });
      }
      follow();
      await teller.tell(life);
      if (lost === undefined) await serviceTeller.tell(life);
      open = true;
      publisher.nudge();
    },
    work: (signal) => {
      const lease = store.onLeaseLost(() => {
        publisher.forget();
        services.forget();
        serviceTeller.nudge();
      });
      const struckOut = watchStruckOut({
        store, clock, someoneIsSilent: () => [...view.nodes().keys()].some((name) => probes.seen(name).state === "unreachable"),
        told: () => {
          log.warn("the other nodes have taken this one for dead: its lease has ended, and some do not answer it");
          void commands.ownWereGone();
        },
      }, signal);
      const working = remembered.then(() => Promise.allSettled([struckOut, publisher.run(signal), teller.run(signal), serviceTeller.run(signal), remember(signal)]));
      return [working.then(save).finally(() => lease[Symbol.dispose]())];
    },
    changed: () => {
      follow();
      publisher.nudge();
    },
    announced: async (signal) => {
      if (lost !== undefined || signal.aborted) return;
      const done = new AbortController();
      const limit = clock.sleep(announcement, AbortSignal.any([signal, done.signal])).catch(() => undefined);
      await Promise.race([publisher.settled(), limit]);
      done.abort();
    },
    claimSlice: async (family, signal) => {
      if (lost !== undefined) throw new HawserError("STORE", `the store is not heard: ${lost.why}`);
      const slice = await claims.another(family, signal);
      log.info("this node claimed one more slice of the pool, because those that it had are full; a routing daemon that announces them must know it", { slice });
      await teller.tell(signal);
    },
    shareServices: async (decide, signal) => {
      if (lost !== undefined) throw new HawserError("STORE", `the store is not heard: ${lost.why}`);
      await services.change(decide, signal);
    },
    answersChanged: (name) => {
      if (probes.seen(name).state === "unreachable" && view.fellSilent(name)) {
        log.info("a node is gone: its lease has ended, and it does not answer", { name });
        viewChanged();
      }
    },
    status: () => {
      const kept = [...view.members].filter(([, { registered, node }]) => node !== undefined && !registered).map(([name]) => name);
      const health = store.health();
      const wrong = [
        ...(lost === undefined ? [] : [`the store is not heard since ${new Date(lost.since).toISOString()}: ${lost.why}; what is known stays, changes wait`]),
        ...(lost === undefined && health.state === "degraded" ? [health.detail] : []),
        ...[publisher.trouble(), probes.trouble(), teller.trouble(), serviceTeller.trouble()].filter((one) => one !== undefined),
      ];
      return statusOf(nodes(), wrong, kept.length === 0 ? [] : [`kept although their leases have ended, because they answer: ${kept.toSorted().join(", ")}`]);
    },
  };
}
