// The desk's side for services: what is written of them, who serves, and a lane beside the queue in which changes reach the datapath.
import type { AdoptReport } from "../datapath/types.ts";
import type { SharedServices } from "../lb/stored.ts";
import type { HeldFrontend, Service, ServicePlan } from "../lb/types.ts";
import { containerEnds } from "../network/container-ends.ts";
import type { OwnRecords } from "../network/cluster.ts";
import type { State, StepOf } from "../network/types.ts";
import { messageOf } from "../std/errors.ts";
import type { HawserError } from "../std/errors.ts";
import { familyOf } from "../std/ip.ts";
import { inTurns } from "../std/sliced.ts";
import type { Tables } from "../store/types.ts";
import { ClientsTold } from "./clients-told.ts";
import { perform } from "./commit.ts";
import { decideWholly } from "./decide-in-turns.ts";
import type { Deciding, Make } from "./decide-in-turns.ts";
import { applyDocuments, deleteDocument, readDirectory, unknownName } from "./document-changes.ts";
import { OwnHealth } from "./own-health.ts";
import { PossibleServices } from "./possible-services.ts";
import { ProbeList } from "./probe-list.ts";
import { createQueue } from "./queue.ts";
import { Refusals, standing } from "./refusals.ts";
import { ServiceBook, sameForServices } from "./service-book.ts";
import { serviceDocuments, writtenServices } from "./service-changes.ts";
import type { ServicesWritten } from "./service-changes.ts";
import { ServicePlanner, portion } from "./service-planner.ts";
import type { ServiceDeskOptions } from "./service-desk-options.ts";
import { serviceTraffic } from "./service-traffic.ts";
import { refuseFile, servicePart, serviceViews } from "./service-views.ts";
import type { ServicesKnown } from "./service-views.ts";
import { ServiceTexts } from "./service-texts.ts";
import { ServiceSharing } from "./service-sharing.ts";
import type { DirectoryReading, PartStatus, ServiceCommands, ServiceQueries } from "./types.ts";

export class ServiceDesk {
  readonly #options: ServiceDeskOptions;
  readonly #state: () => State;
  readonly #texts: ServiceTexts;
  readonly #book: ServiceBook;
  readonly #planner: ServicePlanner;
  readonly #sharing: ServiceSharing | undefined;
  readonly #make: Make;
  readonly #deciding: Deciding;
  readonly #lane = createQueue();
  readonly #listeners = new Set<() => void>();
  readonly #addressListeners = new Set<() => void>();
  readonly #possible: PossibleServices;
  readonly #health: OwnHealth;
  readonly #refusals: Refusals;
  readonly #refusal = (service: Service): HawserError | undefined => this.#possible.refusal(service);
  #closed = false;
  /** As `mend`. */
  #amiss = false;
  /** A turn that has not begun. */
  #waiting: Promise<void> | undefined;
  /** What the datapath was given last, and what services those were; null: nothing by this agent. */
  #inForce: { readonly plans: readonly ServicePlan[]; readonly services: readonly Service[] } | null = null;
  readonly #probes: ProbeList;
  readonly #clients: ClientsTold;
  #trouble: string | undefined;
  #problems: ReadonlyMap<string, string> = new Map();
  #files: ReadonlySet<string> = new Set();
  /** What the directory holds stays read until it is looked at again. */
  #reading: Disposable = { [Symbol.dispose]: () => undefined };
  readonly frontends = (): readonly HeldFrontend[] => this.#book.frontends(this.#state());

  /** `state`: the one in force. `tell`: `ownRecords` are others; called a few times a second at most. */
  constructor(options: ServiceDeskOptions, state: () => State, make: Make, tell: () => void) {
    this.#make = make;
    const { readServices } = options;
    this.#texts = new ServiceTexts(readServices && ((...asked) => {
      void this.#lane.run(() => turn().then(() => (this.#closed ? undefined : this.#planner.expect()))).catch(() => undefined);
      return readServices(...asked);
    }), (error) => options.log.warn("services are read by the agent itself, which takes longer", { error }));
    // Every look at the host makes others of the same.
    this.#deciding = { state, make, now: () => options.clock.now(), written: () => this.#written(), around: () => options.datapath.facts.hostPrefixes.join(" ") };
    this.#options = options;
    this.#state = state;
    this.#book = new ServiceBook(options.node, this.#texts, [options.pool.ipv4, options.pool.ipv6]);
    this.#probes = new ProbeList(options.node);
    this.#clients = new ClientsTold(options.datapath);
    this.#possible = new PossibleServices({ ...options, mode: options.services.mode });
    this.#health = new OwnHealth(options.node, options.clock, tell);
    this.#refusals = new Refusals({ ...options, again: () => this.#soon() });
    this.#planner = new ServicePlanner(options, this.#book, () => void this.#soon());
    options.datapath.services.onRefused(() => void this.#soon());
    const { shareServices: share, node: self, clock, log } = options;
    this.#sharing = share === undefined ? undefined : new ServiceSharing({
      self, share, texts: this.#texts, state, written: (book) => this.#written(book), now: () => clock.now(), inForce: (names) => this.#enforced(names), retake: () => this.#retake(), log,
    });
  }

  /** What an earlier agent remembered; before anything else. */
  recall(tables: Tables): void {
    this.#planner.recall(tables);
    this.#possible.recall(tables);
  }

  /** What the state means for services may have changed: it is looked at soon, behind the queue's back. */
  changed(before: State, after: State): void {
    if (before.services.size + after.services.size === 0 || sameForServices(before, after)) return;
    void this.#soon();
  }

  /** At the start: does what stands on the host anew, with the step for services before containers' programs. None: nobody knows what is to be in force. */
  adopt(work: (steps: readonly StepOf<"services">[]) => Promise<AdoptReport>): Promise<AdoptReport> {
    return this.#lane.run(async () => {
      await this.#texts.prepare(this.#book.documents(this.#state().services));
      const trouble = await this.#plan().then(() => undefined, (error: unknown) => error);
      const { plans, services } = this.#planner;
      if (services.length > 0) await this.#clients.tell(services, this.#state(), this.#planner.asks);
      const unknown = trouble !== undefined && this.#inForce === null && plans.length === 0;
      const report = await work(unknown ? [] : [{ kind: "services", plans, before: this.#inForce?.plans ?? null }]);
      const failed = trouble ?? report.failed.find(({ step }) => step.kind === "services")?.error;
      if (failed !== undefined) {
        this.#say(failed);
        return report;
      }
      if (services.length === 0) await this.#clients.tell(services, this.#state(), this.#planner.asks);
      this.#done(plans, services);
      return report;
    });
  }

  /** Puts services in force though they are what they were; later, in the lane, because thousands take seconds, in which the queue would stand. */
  mend(): void {
    this.#amiss = true;
    void this.#soon();
  }

  /** Resolves when everything asked for so far is in force, or could not be. */
  idle(): Promise<void> {
    return this.#lane.idle();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#texts.end();
    this.#health.close();
    this.#refusals.close();
    await this.#lane.idle();
    await this.#planner.close();
  }

  /** Calls back when `probeTargets` is another. */
  onTargets(listener: () => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  /** What this node's probes found of its own containers. */
  ownRecords(): Pick<OwnRecords, "health"> {
    return this.#health.known.size === 0 ? {} : { health: this.#health.known };
  }

  commands(): ServiceCommands {
    const [make, sharing] = [this.#make, this.#sharing];
    return {
      applyService: async ({ documents }, signal) => {
        using _ = this.#texts.hold(documents);
        await this.#texts.prepare(documents, this.#refusal, signal);
        const applied = sharing !== undefined ? await sharing.apply(documents, signal) : await decideWholly(function* (state, now, written) {
          const { next: { services }, applied: reply } = yield* applyDocuments(state, { documents, strict: false }, now, written);
          return { services, reply };
        }, (names) => this.#enforced(names), this.#deciding, signal);
        return { applied, warnings: await this.#texts.warnings(documents, this.#book.known(this.#state(), this.#options.datapath.facts.hostPrefixes)) };
      },
      deleteService: async (name, signal) => {
        refuseFile(name, this.#state().services, this.#known());
        if (sharing !== undefined) return sharing.delete(name, this.#files, signal);
        await make((state) => ({ next: deleteDocument(state, name, this.#files, serviceDocuments), steps: [], reply: undefined }), signal);
        await this.#soon();
      },
      syncServiceDirectory: (reading, signal) => this.#syncDirectory(reading, signal),
      syncServices: (known) => this.#retake(known),
      healthHeard: async (heard) => {
        if (this.#planner.hear(heard)) await this.#soon().catch(() => undefined);
      },
      ownWereGone: async () => {
        this.#planner.ownWereGone();
        await this.#soon().catch(() => undefined);
      },
      containerEnds: (end) => make((state) => containerEnds(state, end)),
    };
  }

  queries(): ServiceQueries {
    const views = (): ReturnType<ServiceQueries["services"]> => serviceViews(this.#state().services, this.#known());
    return {
      services: views,
      service: (name) => {
        const view = views().find((one) => one.name === name);
        if (view === undefined) throw unknownName(this.#state(), name, serviceDocuments);
        return { ...view, text: this.#state().services.get(name)?.text ?? "" };
      },
      serviceTraffic: async () => serviceTraffic(this.#inForce?.plans ?? [], await this.#options.datapath.traffic()),
      probeTargets: () => this.#probes.targets,
      serviceAddresses: () => {
        if (this.#inForce === null) return null;
        const others = this.#nodesByAddress();
        return new Set(this.#inForce.plans.flatMap(({ frontends }) => frontends.map(({ address }) => address)).filter((address) => !others.has(address) && (familyOf(address) === 4 || this.#options.pool.ipv6 !== null)));
      },
      onServiceAddresses: (listener) => {
        this.#addressListeners.add(listener);
        return { [Symbol.dispose]: () => void this.#addressListeners.delete(listener) };
      },
    };
  }

  part(): PartStatus {
    return servicePart(this.#known());
  }

  #known(): ServicesKnown {
    return {
      written: this.#book.balanced(this.#state()), inForce: this.#inForce ?? { plans: [], services: [] }, problems: this.#sharing?.problems ?? this.#problems,
      waiting: this.#sharing?.waiting ?? new Map(), trouble: this.#trouble, refused: this.#refusals.all, node: this.#options.node, files: this.#sharing?.known?.files ?? new Map(),
      mode: this.#options.services.mode, holders: new Map([...this.#nodesByAddress(), ...this.#options.holders?.() ?? []]),
    };
  }

  #nodesByAddress(): ReadonlyMap<string, string> {
    return new Map([...this.#state().cluster.nodes.values()].flatMap(({ name, addresses }) => addresses.map((address) => [address, name] as const)));
  }

  /** `known`: what all nodes have; left out: what was told last when its turn comes. */
  async #retake(newer?: SharedServices): Promise<void> {
    const [sharing, known] = [this.#sharing, newer ?? this.#sharing?.known];
    if (sharing === undefined || known === undefined) return;
    const documents = this.#book.documents(known.services);
    using _ = this.#texts.hold(documents);
    await this.#texts.prepare(documents);
    let { services } = this.#state();
    await this.#make((state) => ({ next: services === state.services ? state : { ...state, services }, steps: [], reply: undefined }), undefined, async () => {
      services = await inTurns(sharing.rowsAfter(newer ?? sharing.known ?? known, this.#state()));
      await inTurns(this.#book.candidates({ services }));
    });
    sharing.told(newer ?? sharing.known ?? known);
  }

  async #syncDirectory(reading: DirectoryReading, signal?: AbortSignal): Promise<void> {
    let problems: ReadonlyMap<string, string> = new Map();
    const filesOf = (): ReadonlySet<string> => new Set([...(reading.documents ?? []).map(({ file }) => file), ...Object.keys(reading.unreadable)]);
    try {
      const documents = reading.documents ?? [];
      this.#reading[Symbol.dispose]();
      this.#reading = this.#texts.hold(documents);
      await this.#texts.prepare(documents, this.#refusal, signal);
      if (this.#sharing !== undefined) {
        this.#files = filesOf();
        await this.#sharing.syncDirectory(reading);
        problems = this.#sharing.problems;
        return;
      }
      await decideWholly(function* (state, now, written) {
        const change = yield* readDirectory(state, reading, now, written);
        problems = change.problems;
        return { services: change.next.services, reply: undefined };
      }, (_, changed) => (changed ? this.#soon() : Promise.resolve()), this.#deciding, signal);
    } catch (error) {
      problems = signal?.aborted === true || this.#closed ? this.#problems : new Map([[reading.directory, `${messageOf(error)}; what was in force stays`]]);
      throw error;
    } finally {
      for (const [file, problem] of problems) {
        if (this.#problems.get(file) !== problem) this.#options.log.warn("a service file is not in force", { file, problem });
      }
      this.#problems = problems;
      this.#files = filesOf();
    }
  }

  #written(book = this.#book): ServicesWritten {
    const { pool, datapath } = this.#options;
    return writtenServices({ book, texts: this.#texts, shared: this.#sharing !== undefined, refusal: (service) => this.#refusal(service)?.message, pool, hostPrefixes: () => datapath.facts.hostPrefixes });
  }

  /** Resolves when services of these names are in force as the state has them. @throws HawserError why one of them cannot be */
  async #enforced(names: readonly string[]): Promise<void> {
    await this.#soon();
    this.#refusals.check(names);
  }

  /** One turn for all that ask before it begins. */
  #soon(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    if (this.#waiting === undefined) {
      this.#waiting = this.#lane.run(async () => {
        this.#waiting = undefined;
        await this.#turn();
      });
      this.#waiting.catch((error: unknown) => this.#say(error));
    }
    return this.#waiting;
  }

  async #turn(): Promise<void> {
    // With thousands of services each of these takes milliseconds: others have their turns between them.
    await turn();
    let amiss = this.#amiss;
    this.#amiss = false;
    for (let planning: Promise<boolean> | undefined = this.#plan(portion.first); planning !== undefined;) {
      const changed = await planning;
      const { plans, services, more } = this.#planner;
      await turn();
      planning = more ? this.#plan(portion.next) : undefined;
      const [done] = await Promise.allSettled([this.#carryOut(plans, services, changed || amiss), planning]);
      amiss = false;
      if (done.status === "rejected") throw done.reason;
      await turn();
      this.#done(plans, services);
    }
  }

  async #carryOut(plans: readonly ServicePlan[], services: readonly Service[], changed: boolean): Promise<void> {
    if (services.length > 0) await this.#clients.tell(services, this.#state(), this.#planner.asks);
    if (changed || this.#trouble !== undefined || this.#inForce?.plans !== plans) {
      await perform([{ kind: "services", plans, before: this.#inForce?.plans ?? null }], this.#options.datapath.doers);
    }
    if (services.length === 0) await this.#clients.tell(services, this.#state(), this.#planner.asks);
  }

  async #plan(most?: number): Promise<boolean> {
    const state = this.#state();
    await inTurns(this.#book.candidates(state));
    const services = await inTurns(this.#possible.of(this.#book.balanced(state), state.services));
    await this.#possible.remember();
    return this.#planner.plan(state, services, most);
  }

  #done(plans: readonly ServicePlan[], services: readonly Service[]): void {
    const notPlanned = this.#planner.refused;
    const crowded = this.#options.datapath.services.refused();
    this.#inForce = { plans: crowded.size === 0 ? plans : standing(plans, crowded, this.#inForce?.plans ?? []), services };
    this.#trouble = undefined;
    this.#refusals.become(new Map([...this.#possible.refused, ...notPlanned, ...Array.from(crowded, ([{ name }, why]) => [name, why] as const)]));
    for (const listener of this.#addressListeners) listener();
    const { names, services: byName } = this.#planner.changes();
    this.#health.follow(names, byName, this.#planner.backends);
    if (!this.#probes.follow(names, byName, this.#planner.backends)) return;
    for (const listener of this.#listeners) listener();
  }

  #say(error: unknown): void {
    const why = messageOf(error);
    if (this.#trouble !== why) this.#options.log.error("services could not be put in force; what was in force stays", { error });
    this.#trouble = why;
  }
}

const turn = (): Promise<unknown> => new Promise(setImmediate);
