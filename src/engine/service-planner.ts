// From a state to the plans of its services: gives the balancer's thread what is new, remembers what it answers, and wakes when time alone changes something.
import type { Datapath } from "../datapath/types.ts";
import { probed } from "../lb/backends.ts";
import type { Backend, Service, ServiceMode, ServicePlan } from "../lb/types.ts";
import type { State } from "../network/types.ts";
import { changesOf, inOrder } from "../std/changes.ts";
import type { Clock } from "../std/clock.ts";
import { HawserError } from "../std/errors.ts";
import type { Log } from "../std/log.ts";
import { inTurns } from "../std/sliced.ts";
import type { Sliced } from "../std/sliced.ts";
import type { Json, Store, Tables } from "../store/types.ts";
import { backendsIn, restingKey } from "./balancing-rows.ts";
import { balancingTable, containerKey, planKey } from "./balancer.ts";
import type { Difference, Outcome } from "./balancer.ts";
import { startBalancer } from "./balancer-thread.ts";
import type { BalancerThread } from "./balancer-thread.ts";
import { KeptRows } from "./kept-rows.ts";
import type { ServiceBook } from "./service-book.ts";
import { asksClients, between, nothingKnown, sayHealth, toldBy } from "./planner-news.ts";
import type { Known } from "./planner-news.ts";
import type { HeardHealth } from "./service-types.ts";

export interface ServiceSettings {
  /** Of services that say none. */
  readonly mode: ServiceMode;
  /** Slots of a table at most; left out: as the model has it. */
  readonly largestTable?: number;
  /** The first file of the balancer's thread, as `startBalancer` has it. */
  readonly thread?: URL;
  /** Milliseconds that an answer of it may take; left out: two minutes. */
  readonly answerTime?: number;
}

export interface ServicePlannerOptions {
  /** This node. */
  readonly node: string;
  readonly services: ServiceSettings;
  readonly store: Pick<Store, "load" | "write">;
  readonly datapath: Pick<Datapath, "elsewhere">;
  readonly clock: Clock;
  readonly log: Log;
}

const noRows: ReadonlyMap<string, Json> = new Map();
/** Milliseconds for which what was started early waits. */
const earlyTime = 30_000;
/** Milliseconds from one look at which slots may settle to the next; they do hours after their change. */
const lookTime = 600_000;
/** Services that are planned for the first time in one turn, so that they are carried out while the next are planned; fewer at first, so that this begins soon. */
export const portion = { first: 500, next: 2000 };

export class ServicePlanner {
  readonly #options: ServicePlannerOptions;
  readonly #book: ServiceBook;
  readonly #wake: () => void;
  readonly #heard: HeardHealth[] = [];
  /** Heard while it plans. */
  readonly #unsure: HeardHealth[] = [];
  #planning = false;
  /** What a thread starts with; undefined: what is kept. */
  #rows: ReadonlyMap<string, Json> | undefined = noRows;
  /** While there are services. */
  #thread: BalancerThread | undefined;
  readonly #kept: KeptRows;
  /** While it runs. */
  #timer: AbortController | undefined;
  #plannedAt = 0;
  #again: number | null = null;
  /** When to look at which slots may settle; null: all have. */
  #lookAt: number | null = null;
  readonly #plans = new Map<string, ServicePlan>();
  /** It was started before anything was to be planned. */
  #early = false;
  /** The thread has said nothing yet: what it says first is all that there is. */
  #afresh = false;
  /** What the thread was told. */
  #told: Known = nothingKnown;
  /** The services of it. */
  readonly #toldByName = new Map<string, Service>();
  readonly #changed = new Set<string>();
  /** How many of them ask who their clients are. */
  #asking = 0;
  /** How many lists of backends have one of that `id`, */
  readonly #serving = new Map<string, number>();
  /** and how many services a list. */
  readonly #crowds = new Map<readonly Backend[], number>();
  #ownWereGone = false;
  /** What it starts with tells of services: those that it is not told of at first are no more. */
  #recalling = false;
  /** It was told what it could not plan. */
  #failed = false;
  /** Those of the `plans`. */
  services: readonly Service[] = [];
  /** Others wait to be planned. */
  more = false;
  /** By the service's name. */
  readonly backends = new Map<string, readonly Backend[]>();
  /** Why a service is not planned as it is, by its name: there are no numbers left. */
  refused: ReadonlyMap<string, HawserError> = new Map();
  /** In order of names, IPv4 before IPv6. */
  plans: readonly ServicePlan[] = [];

  /** `wake`: something changes though nothing happens. */
  constructor(options: ServicePlannerOptions, book: ServiceBook, wake: () => void) {
    this.#options = options;
    this.#kept = new KeptRows(options.store);
    this.#book = book;
    this.#wake = wake;
  }

  /** Before the first plan. */
  recall(tables: Tables): void {
    const rows = tables.get(balancingTable) ?? noRows;
    this.#rows = rows;
    for (const [name, those] of backendsIn(rows)) {
      if (those === null) {
        this.#options.log.warn("what is remembered of a service cannot be read: its flows are balanced as if it were new", { service: name });
        continue;
      }
      this.backends.set(name, those);
      this.#serves(those, 1);
    }
  }

  /** Many services are about to come: starts what takes its time. One at a time with `plan`, which ends it again when none came. */
  async expect(): Promise<void> {
    if (this.#thread?.alive === true) return;
    await this.#start();
    this.#early = true;
    this.#wakeAt(this.#options.clock.now() + earlyTime);
  }

  /** As `ServiceCommands.ownWereGone`; with the next plan. */
  ownWereGone(): void {
    this.#ownWereGone = true;
  }

  /** Taken into the next plan. False: there is nothing to plan for it, as with nearly every answer of backends that are well, or it wakes when there is. */
  hear(heard: readonly HeardHealth[]): boolean {
    // What is planned meanwhile may make a difference of an answer that makes none to what was; where thousands answer there always is one.
    if (this.#planning) {
      for (const one of heard) this.#unsure.push(one);
      return false;
    }
    const before = this.#heard.length;
    for (const one of heard) if (this.#heard.length > 0 || this.#tellsNews(one)) this.#heard.push(one);
    return this.#heard.length > before;
  }

  #tellsNews({ service: name, backend, port, passed }: HeardHealth): boolean {
    const service = this.#toldByName.get(name);
    const known = this.backends.get(name) ?? [];
    return service !== undefined && known.some((one) => one.id === backend && one.port === port && probed(one, passed, service.health, 0) !== one);
  }

  /**
   * One at a time; `all` are those of the state that are to be planned, of which so many that are new may do. True: `plans` are not what they were. What a
   * later start must know is remembered before they are carried out. @throws HawserError INTERNAL; the plans are then as before.
   */
  async plan(state: State, all: readonly Service[], most = Infinity): Promise<boolean> {
    this.#planning = true;
    try {
      return await this.#planned(state, all, most);
    } finally {
      this.#planning = false;
      if (this.hear(this.#unsure.splice(0))) this.#wake();
    }
  }

  async #planned(state: State, all: readonly Service[], most: number): Promise<boolean> {
    const { clock } = this.#options;
    this.more = false;
    if (this.#early && all.length === 0 && !this.#recalling) await this.#rest();
    this.#early = false;
    if (all.length === 0 && this.#thread === undefined && [...this.#rows?.keys() ?? []].every((key) => key === restingKey)) {
      this.services = all;
      return false;
    }
    const containers = await inTurns(this.#book.containers(state, all, this.#serving));
    const now = clock.now();
    if (this.#thread?.alive !== true) await this.#start();
    const services = this.#recalling ? all : await inTurns(this.#withNew(all, most));
    this.more = services.length < all.length;
    const after = { services, containers: new Map(containers.map((one) => [containerKey(one), one])), health: state.cluster.health };
    const looks = this.#lookAt !== null && now >= this.#lookAt;
    // There may be nothing to look at yet: also then it is looked for no sooner.
    if (looks) this.#lookAt = now + lookTime;
    const elsewhere = looks ? await this.#options.datapath.elsewhere() : null;
    const wereGone = this.#ownWereGone;
    const turn = { wereGone, services: await inTurns(this.#newsOf(services)), containers: between(this.#told.containers, after.containers), heard: this.#heard.splice(0), told: after.health === this.#told.health ? null : toldBy(after.health), elsewhere, now };
    const news = [turn.services, turn.containers].some(({ set, gone }) => set.length + gone.length > 0) || turn.heard.length > 0 || turn.told !== null || wereGone || elsewhere !== null;
    const setBack = now < this.#plannedAt;
    if (!news && !setBack && !this.#failed && this.refused.size === 0 && (this.#again === null || now < this.#again)) {
      // Sleep is measured by another clock, and may end before its time.
      if (this.#timer === undefined) this.#wakeAt(this.#again);
      return false;
    }
    this.#told = after;
    this.#plannedAt = now;
    this.#failed = true;
    const outcome = await (this.#thread as BalancerThread).turn(turn);
    await new Promise(setImmediate);
    await this.#kept.keep(outcome.rows);
    [this.#failed, this.#recalling] = [false, false];
    if (wereGone) this.#ownWereGone = false;
    [this.services, this.refused] = [services, new Map(Array.from(outcome.refused, ([name, why]) => [name, new HawserError("TABLE_FULL", why)] as const))];
    sayHealth(this.#options.log, turn.heard, this.backends, outcome.backends);
    await inTurns(this.#take(outcome));
    this.#lookAt = outcome.unsettled ? Math.min(this.#lookAt ?? Infinity, now + lookTime) : null;
    this.#wakeAt(outcome.again);
    if (services.length === 0 && this.#kept.allWritten) await this.#rest();
    return outcome.plans.set.length + outcome.plans.gone.length > 0;
  }

  async close(): Promise<void> {
    this.#timer?.abort();
    await this.#thread?.end();
  }

  /** A thread takes 15 MiB. */
  async #rest(): Promise<void> {
    await this.#thread?.end();
    this.#thread = undefined;
    this.backends.clear();
    this.#serving.clear();
    this.#crowds.clear();
    this.#forget();
  }

  /** One that died has forgotten everything but what was kept. */
  async #start(): Promise<void> {
    const { services: { thread, answerTime, ...settings }, node } = this.#options;
    const rows = this.#rows ?? await this.#kept.load();
    this.#rows = undefined;
    [this.#afresh, this.#recalling] = [true, [...rows.keys()].some((key) => key !== restingKey)];
    this.#forget();
    this.#thread = startBalancer({ ...settings, node, rows }, thread, answerTime);
  }

  #forget(): void {
    this.#told = nothingKnown;
    this.#toldByName.clear();
    this.#asking = 0;
  }

  /** Names of services that are not what they were, they or their backends, since this was asked last; and what they are by their names. */
  changes(): { readonly names: readonly string[]; readonly services: ReadonlyMap<string, Service> } {
    const names = [...this.#changed];
    this.#changed.clear();
    return { names, services: this.#toldByName };
  }

  /** Whether a service asks who its clients are. */
  get asks(): boolean {
    return this.#asking > 0;
  }

  /** Those that the thread knows, and so many that are new. */
  *#withNew(all: readonly Service[], most: number): Sliced<readonly Service[]> {
    const fresh: Service[] = [];
    for (const service of all) {
      if (!this.#toldByName.has(service.name)) fresh.push(service);
      yield;
    }
    if (fresh.length <= most) return all;
    const later = new Set(fresh.slice(most));
    return all.filter((service) => !later.has(service));
  }

  /** And takes note of it. */
  *#newsOf(services: readonly Service[]): Sliced<Difference<Service>> {
    const { left, came } = changesOf(this.#told.services, services);
    for (const service of left) {
      this.#toldByName.delete(service.name);
      this.#changed.add(service.name);
      if (asksClients(service)) this.#asking--;
      yield;
    }
    for (const service of came) {
      this.#toldByName.set(service.name, service);
      this.#changed.add(service.name);
      if (asksClients(service)) this.#asking++;
      yield;
    }
    return { set: came, gone: left.map(({ name }) => name).filter((name) => !this.#toldByName.has(name)) };
  }

  *#take({ plans: { set, gone }, backends }: Outcome): Sliced<void> {
    const afresh = this.#afresh;
    this.#afresh = false;
    if (afresh) this.#plans.clear();
    const fresh: ServicePlan[] = [];
    for (const plan of set) {
      const slots = "of" in plan.slots ? this.#plans.get(plan.slots.of)?.slots : plan.slots;
      if (slots !== undefined) fresh.push({ ...plan, slots });
      yield;
    }
    const left = new Set<ServicePlan>();
    for (const [key, plan] of [...gone.map((key) => [key, undefined] as const), ...fresh.map((plan) => [planKey(plan), plan] as const)]) {
      const before = this.#plans.get(key);
      if (before !== undefined) left.add(before);
      if (plan === undefined) this.#plans.delete(key);
      else this.#plans.set(key, plan);
      yield;
    }
    const before = afresh ? [] : this.plans;
    if (afresh || left.size + fresh.length > 0) this.plans = inOrder(left.size === 0 ? before : before.filter((plan) => !left.has(plan)), fresh, planKey);
    yield;
    const unsaid = afresh ? [...this.backends.keys()].filter((name) => !backends.has(name)) : [];
    for (const [name, those] of [...backends, ...unsaid.map((name) => [name, []] as const)]) {
      this.#changed.add(name);
      const before = this.backends.get(name);
      if (those.length > 0) this.#serves(those, 1);
      if (before !== undefined) this.#serves(before, -1);
      if (those.length === 0) this.backends.delete(name);
      else this.backends.set(name, those);
      yield;
    }
  }

  #serves(backends: readonly Backend[], by: 1 | -1): void {
    const crowds = (this.#crowds.get(backends) ?? 0) + by;
    if (crowds === 0) this.#crowds.delete(backends);
    else this.#crowds.set(backends, crowds);
    if (crowds !== (by > 0 ? 1 : 0)) return;
    for (const { id } of backends) {
      const users = (this.#serving.get(id) ?? 0) + by;
      if (users === 0) this.#serving.delete(id);
      else this.#serving.set(id, users);
    }
  }

  #wakeAt(again: number | null): void {
    this.#again = again;
    this.#timer?.abort();
    this.#timer = undefined;
    if (again === null && this.#lookAt === null) return;
    const timer = (this.#timer = new AbortController());
    const { clock } = this.#options;
    void clock.sleep(Math.max(0, Math.min(again ?? Infinity, this.#lookAt ?? Infinity) - clock.now()), timer.signal).then(() => {
      if (this.#timer === timer) this.#timer = undefined;
      this.#wake();
    }, () => undefined);
  }
}
