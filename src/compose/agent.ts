// The agent: builds every part, hands them to each other, runs until told to stop, and leaves the packets flowing.
import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { serveMetrics } from "../api/metrics-server.ts";
import { startApi } from "../api/server.ts";
import type { Config } from "../config/schema.ts";
import { openDatapath } from "../datapath/bootstrap.ts";
import { hostDevice } from "../datapath/host-device.ts";
import { readHostFacts } from "../datapath/host-sync.ts";
import type { AdoptReport, Datapath, HostFacts } from "../datapath/types.ts";
import { openContainerd } from "../containerd/client.ts";
import { createContainerdDoor } from "../containerd/door.ts";
import type { ContainerdDoor, DockerTask } from "../containerd/door.ts";
import { openDocker } from "../docker/client.ts";
import { createDockerDoor } from "../docker/door.ts";
import type { DockerDoor } from "../docker/door.ts";
import { createEngine } from "../engine/engine.ts";
import type { Engine } from "../engine/engine.ts";
import type { ShareServices } from "../engine/service-sharing.ts";
import type { PartStatus } from "../engine/types.ts";
import { createKernel, inspectNamespaces, openNetlink } from "../kernel/index.ts";
import type { Kernel, Netlink } from "../kernel/types.ts";
import { serveLibnetwork } from "../libnetwork/server.ts";
import type { PoolConfig } from "../network/types.ts";
import type { Election, PeersDoor, Seat } from "../peers/door.ts";
import { systemClock } from "../std/clock.ts";
import { HawserError, messageOf } from "../std/errors.ts";
import { addressOf, networkOf, parseCidr } from "../std/ip.ts";
import type { Log } from "../std/log.ts";
import { openEmbedded } from "../store/embedded.ts";
import type { Store } from "../store/types.ts";
import { apiCommands } from "./api-commands.ts";
import { otherNodes, type OtherNodes } from "./cluster.ts";
import { openHealth } from "./health.ts";
import { identify } from "./identity.ts";
import { objectDirectory, stateFile, version } from "./installation.ts";
import { watchIpsec } from "./ipsec.ts";
import { lockFolder } from "./lock.ts";
import { configuredParts } from "./parts.ts";
import { hostServices } from "./policy-settings.ts";
import { stayLean } from "./resident.ts";
import { makeRounds } from "./rounds.ts";
import type { Duty } from "./rounds.ts";
import { createServiceReader } from "./service-reader.ts";
import { sweptOf } from "./sweep.ts";
import { inheritedSocket, tellSystemd } from "./systemd.ts";
import { openWatchedDirectory } from "./watched-directory.ts";
import type { WatchedDirectory } from "./watched-directory.ts";

export interface AgentOptions {
  readonly config: Config;
  readonly log: Log;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborting it stops the agent. */
  readonly signal: AbortSignal;
}

/** Milliseconds. */
const roundPause = 30_000;
/** How long the start waits for Docker, which may itself be waiting for our plugin socket. */
const firstReconcile = 1000;
/** While other nodes change services, too. */
const longestSharing = 20_000;
/** How often it is looked whether somebody took programs or devices away (R25 asks for 5 s). */
const guardPause = 3000;

/** @throws HawserError when a part cannot be built; what was built is taken down again, pins stay. */
export async function runAgent({ config, log, env, signal }: AgentOptions): Promise<void> {
  const clock = systemClock;
  // Two stacks, because the doors close first: then what they asked for is finished, then its ground is taken away.
  await using ground = new AsyncDisposableStack();
  await using doors = new AsyncDisposableStack();
  const started = clock.now();

  ground.use(lockFolder(config.paths.run));
  const store = openEmbedded({ file: stateFile(config.paths.state), log, clock });
  ground.defer(() => store.close());

  const ready = Promise.withResolvers<void>();
  ready.promise.catch(() => undefined);
  const late = lateEngine();
  if (config.docker.enabled) {
    // Before everything that takes time: dockerd may be starting, and waits 15 s for a socket that is not there.
    const fd = inheritedSocket(env, process.pid);
    doors.use(await serveLibnetwork({
      commands: late.commands, queries: late.queries, log: log.with({ part: "plugin" }), pluginDirectory: config.docker.pluginDirectory, ready: ready.promise,
      ...(fd === undefined ? {} : { fd }),
    }));
  }
  try {
    const kernel = createKernel();
    const netlink = ground.use(await openNetlink());
    const others = await otherNodes(config, nameOf(config), poolOf(config), clock, log, ground);
    const early = await readHostFacts(netlink, config.node.devices, others.named);
    let facts = (): HostFacts => early;
    const door = doors.use(others.open(late.commands, late.ownRecords, () => facts()));
    // The store is read while the kernel looks through the programs, which takes as long.
    const known = door.known(signal);
    known.catch(() => undefined);
    const datapath = await buildDatapath(config, others, store, kernel, netlink, log, ground);
    facts = () => datapath.facts;
    let docker: DockerDoor | undefined;
    let containerd: ContainerdDoor | undefined;
    const peers: PeersDoor[] = [];
    const elections: Election[] = [];
    const standing = configuredParts(config);
    const metrics: PartStatus[] = [];
    const ipsec = watchIpsec(others.routing, () => peers.flatMap((one) => one.nodes()), log);
    const engine = createEngine({
      store, datapath, node: nameOf(config), version: version(), pool: poolOf(config), masquerade: config.routing.masquerade,
      mtu: config.routing.mtu === "auto" ? null : config.routing.mtu, overhead: others.overhead(datapath.facts),
      cluster: await known, nodes: () => peers.flatMap((one) => one.nodes()),
      holders: () => elections[0]?.holders() ?? new Map(),
      claimSlice: async (family, signal) => {
        await peers[0]?.claimSlice?.(family, signal ?? AbortSignal.timeout(firstReconcile));
        return peers[0]?.claimSlice !== undefined;
      },
      ...(others.kind === "etcd" ? { shareServices: shareBy(peers) } : {}),
      announced: async (signal) => peers[0]?.announced(signal ?? AbortSignal.timeout(firstReconcile)),
      policy: { ...config.policy, hostServices: hostServices(config) },
      services: { mode: config.loadBalancer.mode, largestTable: config.loadBalancer.maglevTable, thread: new URL("./balancer.ts", import.meta.url) }, readServices: createServiceReader(),
      whose: (ref, aborted = AbortSignal.timeout(firstReconcile)) => docker?.whose(ref, aborted) ?? Promise.resolve(null),
      parts: (): readonly PartStatus[] => [
        ...[docker, containerd, health, ...peers].flatMap((door) => (door === undefined ? [] : [door.status()])), ...elections.map((one) => one.status()),
        ...others.parts(), ...ipsec.parts(), ...standing, ...metrics,
      ],
      clock, random: Math.random, log: log.with({ part: "engine" }),
    });
    ground.defer(() => engine.close());
    const health = openHealth(engine, clock, log.with({ part: "health" }));
    sayRemoved(log, "swept at start", await engine.start(config.docker.enabled ? "keep" : "sweep"));
    late.become(engine);
    doors.use(datapath.onHostChange(() => void engine.hostChanged().catch((error: unknown) => log.error("the policy could not follow the host's addresses", { error }))));
    const policies = openWatchedDirectory(config.policy.directory, "policy", (reading) => engine.commands.syncPolicyDirectory(reading), log.with({ part: "policy" }));
    const services = openWatchedDirectory(config.services.directory, "service", (reading) => engine.commands.syncServiceDirectory(reading, signal), log.with({ part: "services" }));
    // Before anything is answered: what a file forbids is forbidden from a container's first packet on.
    await policies.read();
    await services.read();

    if (config.docker.enabled) {
      docker = openDoor(config, engine, log);
      // R16, R17: what changed while nobody looked is known before anything is answered.
      await docker.sync("start", AbortSignal.timeout(firstReconcile)).catch((error: unknown) => log.warn("Docker could not be asked at start", { error }));
    }
    if (config.containerd.enabled) {
      containerd = doors.use(openContainerdDoor(config, engine, log));
      await containerd.sync("start", AbortSignal.timeout(firstReconcile)).catch((error: unknown) => log.info("containerd could not be asked at start", { error }));
    } else {
      await engine.commands.syncGuests({ guests: [] });
    }
    // What Docker has is read, so that nothing of this node's is taken for gone; and its part of the pool is known before Docker is answered.
    await door.start(signal);
    peers.push(door);
    doors.use(engine.onOwnChange(() => door.changed()));
    const election = door.elect(seatOf(engine, datapath));
    elections.push(election);
    doors.use(engine.queries.onServiceAddresses(() => election.changed()));
    doors.use(datapath.onHostChange(() => {
      door.changed();
      election.changed();
    }));
    ready.resolve();
    // What stands in the directory can be told to the others from now on.
    await services.read();
    await ipsec.run().catch((error: unknown) => log.warn("IPsec's policies could not be read", { error }));

    doors.use(await startApi({
      queries: engine.queries, commands: apiCommands(engine, docker, { policies, services }), socket: config.api.socket, group: config.api.group, log: log.with({ part: "api" }),
    }));
    metrics.push(await openMetrics(config, engine, log, doors));
    doors.use(tellSystemd(kernel, env, process.pid));
    log.info("the agent is ready", { node: nameOf(config), version: version(), startedInMs: clock.now() - started });
    if (docker !== undefined) {
      const told = docker;
      doors.use(engine.onJoined(() => told.nudge("a container joined")));
      // The second witness: a container that ended is seen even when Docker's events are not.
      if (containerd !== undefined) doors.use(containerd.onDockerTask((task) => witnessed(task, told, engine, log)));
    }
    await Promise.all([
      docker?.run(signal),
      containerd?.run(signal),
      policies.follow(signal),
      services.follow(signal),
      health.run(signal),
      election.run(signal),
      makeRounds([...duties({ engine, datapath, store, docker, containerd, policies, services, log }), ipsec], roundPause, clock, log, signal),
      makeRounds([guard(engine, datapath, log), stayLean(kernel)], guardPause, clock, log, signal),
      stopped(signal),
    ]);
    log.info("the agent stops; packets keep flowing", { reason: String(signal.reason) });
  } catch (error) {
    ready.reject(error);
    throw error;
  }
}

function shareBy(peers: readonly PeersDoor[]): ShareServices {
  return async (decide, signal) => {
    const share = peers[0]?.shareServices;
    if (share === undefined) throw new HawserError("STORE", "the agent is starting");
    await share(decide, AbortSignal.any([AbortSignal.timeout(longestSharing), ...(signal === undefined ? [] : [signal])]));
  };
}

async function buildDatapath(config: Config, { routing, named }: OtherNodes, store: Store, kernel: Kernel, netlink: Netlink, log: Log, ground: AsyncDisposableStack): Promise<Datapath> {
  const standing = await netlink.link(hostDevice);
  const { mac } = await identify({ store, name: nameOf(config), standing: standing?.mac, randomBytes, log });
  return ground.use(await openDatapath({
    node: nameOf(config), bpffs: config.paths.bpffs, objectDirectory, cgroup: config.paths.cgroup, devices: config.node.devices, addresses: named, acceleration: config.loadBalancer.acceleration, routing, ipv6: config.pool.ipv6 !== null,
    betweenNetworks: config.policy.betweenNetworks === "allow", published: config.policy.published === "allow",
    untilIdentified: config.policy.untilIdentified === "allow", kernel, netlink, log: log.with({ part: "datapath" }), clock: systemClock, nodeMac: mac,
  }));
}

function seatOf({ queries }: Engine, datapath: Datapath): Seat {
  return {
    wanted: () => queries.serviceAddresses(),
    isOwn: (address) => datapath.facts.hostPrefixes.some((prefix) => addressOf(prefix) === address),
    answered: () => datapath.holding.answered(),
    hold: (addresses) => datapath.holding.hold(addresses),
    announce: () => datapath.holding.announce(),
    taken: () => datapath.holding.taken(), rivals: () => datapath.holding.rivals(),
    get linked() {
      return datapath.holding.linked;
    },
    get linkedSince() {
      return datapath.holding.linkedSince;
    },
  };
}

function openContainerdDoor({ containerd, docker }: Config, engine: Engine, log: Log): ContainerdDoor & Disposable {
  const client = openContainerd(containerd.socket);
  const door = createContainerdDoor({
    containerd: client, namespaces: containerd.namespaces, docker: docker.enabled, inspect: inspectNamespaces, commands: engine.commands, clock: systemClock,
    log: log.with({ part: "containerd" }),
  });
  return { ...door, [Symbol.dispose]: () => client[Symbol.dispose]() };
}

/** A port that somebody else has is a problem to be seen, and no reason to leave containers without an agent. */
async function openMetrics({ metrics: { listen } }: Config, { queries }: Engine, log: Log, doors: AsyncDisposableStack): Promise<PartStatus> {
  if (listen === null) return { part: "metrics", state: "off", detail: "metrics.listen is null" };
  try {
    const { address, port } = doors.use(await serveMetrics({ listen, queries, log: log.with({ part: "metrics" }) }));
    return { part: "metrics", state: "ok", detail: `on ${address.includes(":") ? `[${address}]` : address}:${port}` };
  } catch (error) {
    log.warn("the metrics are not served", { error });
    return { part: "metrics", state: "degraded", detail: messageOf(error) };
  }
}

function openDoor(config: Config, engine: Engine, log: Log): DockerDoor {
  return createDockerDoor({ docker: openDocker(config.docker.socket), commands: engine.commands, clock: systemClock, log: log.with({ part: "docker" }) });
}

interface Parts {
  readonly engine: Engine;
  readonly datapath: Datapath;
  readonly store: Store;
  readonly docker: DockerDoor | undefined;
  readonly containerd: ContainerdDoor | undefined;
  readonly policies: WatchedDirectory;
  readonly services: WatchedDirectory;
  readonly log: Log;
}

function duties({ engine, datapath, store, docker, containerd, policies, services, log }: Parts): readonly Duty[] {
  return [
    { name: "read the policy directory", run: () => policies.read() },
    { name: "read the service directory", run: () => services.read() },
    { name: "ask Docker", run: async () => void (await docker?.sync("every 30 s", AbortSignal.timeout(roundPause / 2))) },
    { name: "ask containerd", run: async () => void (await containerd?.sync("every 30 s", AbortSignal.timeout(roundPause / 2))) },
    { name: "read the host", run: async () => void (await datapath.syncHost()) },
    { name: "sweep", run: async () => sayRemoved(log, "swept", await engine.heal()) },
    { name: "forget dead flows", run: () => forgetDeadFlows(datapath) },
    { name: "back up the state", run: () => store.backup() },
  ];
}

/** A Docker that hangs or is stopped tells nobody that a container ended: its services must not wait for it (R76). */
function witnessed({ containerId, what, at }: DockerTask, docker: DockerDoor, { commands }: Engine, log: Log): void {
  docker.nudge(`containerd: a container ${what}`);
  if (what === "started") return;
  void commands.containerEnds({ containerId, ending: "ended", at }).catch((error: unknown) => log.warn("the end of a container could not be noted", { containerId, error }));
}

function guard(engine: Engine, datapath: Datapath, log: Log): Duty {
  return {
    name: "guard what stands",
    run: async () => {
      if (datapath.intact()) return;
      log.warn("somebody took programs, maps or a device of Hawser's away; making them again");
      sayRemoved(log, "mended", await engine.heal());
    },
  };
}

/** In pieces, so that Docker's calls have their turns in between. */
async function forgetDeadFlows(datapath: Datapath): Promise<void> {
  for (let piece = 0; piece < 32 && !datapath.gc().finished; piece++) await new Promise(setImmediate);
}

function sayRemoved(log: Log, message: string, { removed, missing, failed }: AdoptReport): void {
  const count = sweptOf(removed).length;
  if (count + failed.length > 0) log.info(message, { removed, missing, failed: failed.length });
}

function poolOf({ pool }: Config): PoolConfig {
  return {
    ipv4: networkOf(parseCidr(pool.ipv4)), ipv4NodePrefix: pool.ipv4NodePrefix,
    ipv6: pool.ipv6 === null ? null : networkOf(parseCidr(pool.ipv6)), ipv6NodePrefix: pool.ipv6NodePrefix,
  };
}

function nameOf(config: Config): string {
  return config.node.name ?? hostname();
}

function stopped(signal: AbortSignal): Promise<void> {
  return signal.aborted ? Promise.resolve() : new Promise((resolve) => {
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

/** What doors use of an engine that is built after them; they wait until it is there. */
function lateEngine(): Pick<Engine, "commands" | "queries" | "ownRecords"> & { become(engine: Engine): void } {
  let engine: Engine | undefined;
  const there = (): Engine => {
    if (engine === undefined) throw new HawserError("UNSUPPORTED", "the agent is still starting; try again in a moment");
    return engine;
  };
  const through = <Part extends "commands" | "queries">(part: Part): Engine[Part] =>
    new Proxy({} as Engine[Part], { get: (_, name) => Reflect.get(there()[part], name) as unknown });
  return { commands: through("commands"), queries: through("queries"), ownRecords: () => there().ownRecords(), become: (built) => void (engine = built) };
}
