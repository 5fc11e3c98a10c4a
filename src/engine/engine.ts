// The desk: takes one command at a time, decides, applies, saves, then answers.
import { EventEmitter } from "node:events";
import { HawserError, messageOf } from "../std/errors.ts";
import type { AdoptReport } from "../datapath/types.ts";
import { createEndpoint } from "../network/create-endpoint.ts";
import { createNetwork } from "../network/create-network.ts";
import { deleteEndpoint } from "../network/delete-endpoint.ts";
import { deleteNetwork } from "../network/delete-network.ts";
import { identify } from "../network/identify.ts";
import { join } from "../network/join.ts";
import { leave } from "../network/leave.ts";
import { desired } from "../network/plan.ts";
import { publishPorts } from "../network/publish-ports.ts";
import { reconcile } from "../network/reconcile.ts";
import { releaseAddress } from "../network/release-address.ts";
import { releasePool } from "../network/release-pool.ts";
import { requestAddress } from "../network/request-address.ts";
import { requestPool } from "../network/request-pool.ts";
import { revokePorts } from "../network/revoke-ports.ts";
import { noCluster } from "../network/cluster.ts";
import type { OwnRecords } from "../network/cluster.ts";
import { emptyState } from "../network/types.ts";
import type { Context, Decision, State, StepOf } from "../network/types.ts";
import type { Change } from "../store/types.ts";
import { createAnotherSlice } from "./another-slice.ts";
import { StepFailure, describe, perform, within } from "./commit.ts";
import { ClusterDesk } from "./cluster-desk.ts";
import { takeGuests } from "./guests.ts";
import { sameTables } from "./enforce.ts";
import type { Engine, EngineOptions } from "./options.ts";
import { PolicyDesk } from "./policy-desk.ts";
import { createQueue } from "./queue.ts";
import { ServiceDesk } from "./service-desk.ts";
import { changesBetween, stateOf } from "./remember.ts";
import { hostPart, statusOf, sweepParts } from "./status.ts";
import type { Commands, EndpointRef, PartStatus, Queries } from "./types.ts";
import { endpointViews, guestViews, networkViews, portViews, remoteViews } from "./views.ts";

export type { Engine, EngineOptions } from "./options.ts";

/** How often an ephemeral port found taken by another program is exchanged for another before giving up. */
const mostPortTries = 32;
/** Milliseconds. */
const storeTime = 10_000;
const adoptTime = 60_000;
/** How long removals are remembered, far longer than any reading of Docker's truth takes. Milliseconds. */
const removalsKept = 600_000;
/** Every IPv6 link has that much (RFC 8200, 5). Bytes. */
const leastMtu = 1280;

export function createEngine(options: EngineOptions): Engine {
  return new Desk(options);
}

type Decide<Reply> = (state: State, context: Context) => Decision<Reply>;

class Desk implements Engine {
  readonly commands: Commands;
  readonly queries: Queries;
  readonly #options: EngineOptions;
  readonly #queue = createQueue();
  readonly #events = new EventEmitter<{ joined: [EndpointRef] }>();
  readonly #startedAt: number;
  readonly #policy: PolicyDesk;
  readonly #cluster: ClusterDesk;
  readonly #services: ServiceDesk;
  #state: State = emptyState;
  #started = false;
  #needsHealing = false;
  #unclaimed: "sweep" | "keep" = "sweep";
  readonly #removed = new Map<string, number>();
  #missing: readonly string[] = [];

  constructor(options: EngineOptions) {
    this.#options = options;
    this.#startedAt = options.clock.now();
    this.#policy = new PolicyDesk(options, () => this.#state, (address) => this.#cluster.ownerOf(address));
    this.#cluster = new ClusterDesk(options, this.#policy.book, () => this.#state);
    this.#services = new ServiceDesk(options, () => this.#state, (decide, signal, before) => this.#make((state, { now }) => decide(state, now), signal, before), () => this.#cluster.tell());
    this.commands = this.#commands();
    this.queries = this.#queries();
  }

  get needsHealing(): boolean {
    return this.#needsHealing;
  }

  start(unclaimed: "sweep" | "keep" = "sweep"): Promise<AdoptReport> {
    return this.#queue.run(async () => {
      this.#unclaimed = unclaimed;
      const tables = await this.#options.store.load();
      this.#state = { ...stateOf(tables), cluster: this.#options.cluster ?? noCluster };
      this.#services.recall(tables);
      this.#policy.recall(this.#state);
      if (unclaimed === "keep") this.#policy.waitFor(this.#state);
      const report = await this.#services.adopt((services) => this.#adopt(services));
      this.#started = true;
      return report;
    });
  }

  heal(signal?: AbortSignal): Promise<AdoptReport> {
    return this.#queue.run(() => this.#adopt(), signal);
  }

  hostChanged(): Promise<void> {
    return this.#queue.run(async () => {
      if (!this.#started) return;
      const step = this.#policy.step();
      if (step !== undefined && !sameTables(step.tables, step.before)) await perform([step], this.#options.datapath.doers);
    });
  }

  onJoined(listener: (ref: EndpointRef) => void): Disposable {
    this.#events.on("joined", listener);
    return { [Symbol.dispose]: () => void this.#events.off("joined", listener) };
  }

  ownRecords(): OwnRecords {
    return { ...this.#cluster.ownRecords(), ...this.#services.ownRecords() };
  }

  onOwnChange(listener: () => void): Disposable {
    return this.#cluster.onOwnChange(listener);
  }

  onProbeTargets(listener: () => void): Disposable {
    return this.#services.onTargets(listener);
  }

  async idle(): Promise<void> {
    await this.#queue.idle();
    await this.#services.idle();
  }

  async close(): Promise<void> {
    await this.#queue.idle();
    await this.#services.close();
  }

  #commands(): Commands {
    const withAnotherSlice = createAnotherSlice(this.#options.claimSlice);
    return {
      createNetwork: (command, signal) => this.#make((s, c) => createNetwork(s, this.#withDefaults(command), c), signal),
      deleteNetwork: (id) => this.#remove((s) => deleteNetwork(s, id)),
      createEndpoint: (command, signal) => this.#make((s, c) => createEndpoint(s, command, c), signal),
      deleteEndpoint: (ref) => this.#remove((s) => deleteEndpoint(s, ref)),
      join: async (command, signal) => {
        const first = await this.#make((s, c) => join(s, command, c), signal);
        await this.#askWhose(command, signal);
        // One that is on several networks needs routes, which only Docker can put there before its first packet.
        const several = this.#state.endpoints.get(command.id)?.container?.several === true;
        const reply = several ? await this.#make((s, c) => join(s, command, c), signal).catch(() => first) : first;
        await this.#options.announced?.(signal).catch((error: unknown) => this.#options.log.warn("other nodes could not be told of a container yet", { endpoint: command.id, error }));
        setImmediate(() => this.#events.emit("joined", { id: command.id, network: command.network }));
        return reply;
      },
      leave: (ref) => this.#remove((s) => leave(s, ref)),
      publishPorts: (command, signal) => this.#make((s, c) => publishPorts(s, command, c), signal),
      revokePorts: (ref) => this.#remove((s) => revokePorts(s, ref)),
      requestPool: (command, signal) => withAnotherSlice(command, () => this.#make((s, c) => requestPool(s, command, c), signal), signal),
      releasePool: (id) => this.#remove((s) => releasePool(s, id)),
      requestAddress: (command, signal) => this.#make((s, c) => requestAddress(s, command, c), signal),
      releaseAddress: (command) => this.#remove((s) => releaseAddress(s, command)),
      reconcile: (truth, signal) => this.#remove((s, c) => reconcile(s, truth, c), signal, async ({ restored }) => {
        if (restored.length === 0 && this.#unclaimed === "sweep") return;
        this.#unclaimed = "sweep";
        if (this.#policy.endWaiting()) await this.#apply(this.#enforced({ next: this.#state, steps: [], reply: undefined }));
        await this.#adopt();
      }),
      applyPolicy: async (command, signal) => {
        const reply = await this.#make((state, { now }) => this.#policy.apply(state, command, now), signal);
        return { ...reply, revision: this.#options.datapath.policy().revision };
      },
      deletePolicy: (name, signal) => this.#make((state) => this.#policy.remove(state, name), signal),
      syncPolicyDirectory: (reading, signal) => this.#policy.syncDirectory(reading, (decide) => this.#make((state, { now }) => decide(state, now), signal)),
      syncCluster: (cluster, signal) => this.#make((state) => ({ next: state.cluster === cluster ? state : { ...state, cluster }, steps: [], reply: undefined }), signal),
      ...this.#services.commands(),
      syncGuests: (truth, signal) => takeGuests(truth.guests, (decide) => this.#make(decide, signal)),
    };
  }

  #queries(): Queries {
    const { datapath, node } = this.#options;
    return {
      status: async () => statusOf({
        ...this.#options, state: this.#state, started: this.#started, startedAt: this.#startedAt,
        kernel: datapath.inspect(), counters: datapath.counters(), parts: this.#parts(), nodes: this.#cluster.nodes(),
      }),
      endpoints: () => [...endpointViews(this.#state, node, datapath.policy().tables), ...guestViews(this.#state, node, datapath.policy().tables)],
      remoteEndpoints: () => remoteViews(this.#state, datapath.policy().tables),
      nodes: () => this.#cluster.nodes(),
      networks: () => networkViews(this.#state),
      ports: () => portViews(this.#state),
      network: (id) => this.#state.networks.get(id),
      maps: async () => datapath.maps(),
      dumpMap: async (name, limit) => datapath.dumpMap(name, limit),
      ...this.#policy.queries(() => this.queries.services()),
      ...this.#services.queries(),
    };
  }

  /** Makes something: all of it, or nothing and an error. `before`: first, in the same turn of the queue. */
  #make<Reply>(decide: Decide<Reply>, signal?: AbortSignal, before?: () => Promise<void>): Promise<Reply> {
    return this.#queue.run(async () => {
      await before?.();
      for (const takenPorts = new Set<string>(); ;) {
        const decision = this.#enforced(this.#decide(decide, takenPorts));
        try {
          await this.#apply(decision, signal);
          return decision.reply;
        } catch (error) {
          if (!this.#mayChooseAnotherPort(error, decide, takenPorts)) throw error;
        }
      }
    }, signal);
  }

  /**
   * Takes something away. Docker only logs a failure here and forgets the thing, so the state forgets it too; what a failing
   * step left on the host is then claimed by nothing, and swept. For the same reason Docker's calls are given no signal: one
   * whose caller has stopped waiting is done all the same when its turn comes.
   */
  #remove<Reply>(decide: Decide<Reply>, signal?: AbortSignal, then?: (reply: Reply) => Promise<void>): Promise<Reply> {
    return this.#queue.run(async () => {
      const decision = this.#enforced(this.#decide(decide, new Set()));
      try {
        await this.#apply(decision);
      } catch (error) {
        if (!(error instanceof StepFailure)) throw error;
        this.#options.log.warn("a removal failed; sweeping instead", { step: error.step === null ? null : describe(error.step), error });
        await this.#save(decision.next);
        await this.#adopt();
      }
      await then?.(decision.reply);
      return decision.reply;
    }, signal);
  }

  #enforced<Reply>(decision: Decision<Reply>): Decision<Reply> {
    return this.#cluster.planned(this.#policy.enforced(decision));
  }

  async #apply({ next, steps }: Decision<unknown>, signal?: AbortSignal): Promise<void> {
    let undo;
    try {
      undo = await perform(steps, this.#options.datapath.doers, signal);
    } catch (error) {
      if (error instanceof StepFailure && error.unclean) this.#needsHealing = true;
      throw error;
    }
    try {
      await this.#save(next);
    } catch (error) {
      const leftovers = await undo();
      if (leftovers.length > 0) this.#needsHealing = true;
      throw new StepFailure(null, error instanceof HawserError ? error : new HawserError("STORE", messageOf(error), { cause: error }), leftovers);
    }
    this.#cluster.done(steps);
  }

  async #save(next: State): Promise<void> {
    const before = this.#state;
    const changes = changesBetween(before, next);
    // What is known of other nodes is not ours to keep, and comes often.
    if (changes.length > 0) await within(storeTime, "the store's write", this.#options.store.write(changes));
    this.#noteRemovals(changes);
    this.#state = next;
    this.#cluster.changed(before, next);
    this.#services.changed(before, next);
  }

  #noteRemovals(changes: readonly Change[]): void {
    const now = this.#options.clock.now();
    for (const { key, value } of changes) if (value === undefined) this.#removed.set(key, now);
    for (const [key, at] of this.#removed) if (now - at > removalsKept) this.#removed.delete(key);
  }

  async #adopt(services: readonly StepOf<"services">[] = []): Promise<AdoptReport> {
    const policy = this.#policy.step();
    const cluster = this.#cluster.steps();
    const steps = [...(policy === undefined ? [] : [policy]), ...cluster, ...desired(this.#state)];
    const report = await within(adoptTime, "adopting what stands on the host", this.#options.datapath.adopt([...steps, ...services], this.#unclaimed));
    for (const { step, error } of report.failed) this.#options.log.error("the host could not be made what the state says", { step: describe(step), error });
    this.#needsHealing = report.failed.length > 0;
    this.#cluster.done(cluster);
    this.#missing = report.missing;
    if (this.#started) this.#services.mend();
    return report;
  }

  /** Before Docker hears that the container may start, so that its first packet is judged as its own (R3, R4). */
  async #askWhose(ref: EndpointRef, signal?: AbortSignal): Promise<void> {
    const { whose, log } = this.#options;
    if (whose === undefined || this.#state.endpoints.get(ref.id)?.identity !== 0) return;
    try {
      const container = await whose(ref, signal);
      if (container !== null) await this.#make((state) => identify(state, ref, container), signal);
      else log.warn("Docker did not say in time whose an endpoint is; it stays as policy.untilIdentified says until it does", { endpoint: ref.id });
    } catch (error) {
      log.warn("an endpoint could not be told whose it is yet", { endpoint: ref.id, error });
    }
  }

  #decide<Reply>(decide: Decide<Reply>, takenPorts: ReadonlySet<string>): Decision<Reply> {
    const { clock, random, datapath, pool } = this.#options;
    return decide(this.#state, {
      now: clock.now(), random, uplinkMtu: this.#mtu(), hostPrefixes: datapath.facts.hostPrefixes,
      ipv6: pool.ipv6 !== null, pool, takenPorts, frontends: this.#services.frontends, removed: this.#removed, standing: () => datapath.standing(),
    });
  }

  #mtu(): number {
    const { mtu, overhead = 0, datapath: { facts: { uplinkMtu } } } = this.#options;
    return mtu ?? (overhead === 0 ? uplinkMtu : Math.max(leastMtu, uplinkMtu - overhead));
  }

  /** True when a claimed port turned out to be another program's and the model, told so, chooses a different one. */
  #mayChooseAnotherPort(error: unknown, decide: Decide<unknown>, takenPorts: Set<string>): boolean {
    if (!(error instanceof StepFailure) || error.code !== "PORT_IN_USE" || error.step?.kind !== "claimPort") return false;
    takenPorts.add(portKey(error.step.port));
    if (takenPorts.size > mostPortTries) return false;
    try {
      const { steps } = this.#decide(decide, takenPorts);
      return !steps.some((step) => step.kind === "claimPort" && takenPorts.has(portKey(step.port)));
    } catch {
      return false;
    }
  }

  #withDefaults<C extends { readonly options: Readonly<Record<string, string>> }>(command: C): C {
    const said = ["hawser.masquerade", "com.docker.network.bridge.enable_ip_masquerade"].some((key) => key in command.options);
    return this.#options.masquerade || said ? command : { ...command, options: { ...command.options, "hawser.masquerade": "false" } };
  }

  #parts(): readonly PartStatus[] {
    const { store, parts } = this.#options;
    const missing = this.#missing.filter((name) => [...this.#state.endpoints.values()].some((endpoint) => endpoint.hostInterface === name));
    return [
      { part: "store", ...store.health() },
      ...sweepParts(this.#unclaimed),
      this.#policy.part(),
      this.#services.part(),
      hostPart(this.#needsHealing, missing),
      ...parts(),
    ];
  }
}

const portKey = ({ protocol, hostIp, hostPort }: StepOf<"claimPort">["port"]): string => `${protocol} ${hostIp} ${hostPort}`;
