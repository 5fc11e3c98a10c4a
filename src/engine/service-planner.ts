// From a state to the plans of its services: gives the balancer's thread what is new, remembers what it answers, and wakes when time alone changes something.
import type { Datapath } from "../datapath/types.ts";
import type { Backend, Service, ServiceMode, ServicePlan, ServingContainer } from "../lb/types.ts";
import type { State } from "../network/types.ts";
import type { Clock } from "../std/clock.ts";
import type { Change, Json, Store, Tables } from "../store/types.ts";
import { backendsIn } from "./balancing-rows.ts";
import { balancingTable, containerKey, planKey } from "./balancer.ts";
import type { Difference, Outcome } from "./balancer.ts";
import { startBalancer } from "./balancer-thread.ts";
import type { BalancerThread } from "./balancer-thread.ts";
import { within } from "./commit.ts";
import type { ServiceBook } from "./service-book.ts";
import type { HeardHealth } from "./service-types.ts";

export interface ServiceSettings {
  /** Of services that say none. */
  readonly mode: ServiceMode;
  /** Slots of a table at most; left out: as the model has it. */
  readonly largestTable?: number;
}

export interface ServicePlannerOptions {
  readonly services: ServiceSettings;
  readonly store: Pick<Store, "load" | "write">;
  readonly datapath: Pick<Datapath, "elsewhere">;
  readonly clock: Clock;
}

const noRows: ReadonlyMap<string, Json> = new Map();
/** Milliseconds. */
const storeTime = 10_000;
/** Milliseconds from one look at which slots may settle to the next; they do hours after their change. */
const lookTime = 600_000;

export class ServicePlanner {
  readonly #options: ServicePlannerOptions;
  readonly #book: ServiceBook;
  readonly #wake: () => void;
  readonly #heard: HeardHealth[] = [];
  /** As an earlier agent left them, until a thread has them. */
  #rows = noRows;
  #thread: BalancerThread | undefined;
  readonly #unwritten = new Map<string, Change>();
  #timer: AbortController | undefined;
  #again: number | null = null;
  /** When to look at which slots may settle; null: all have. */
  #lookAt: number | null = null;
  #plans: ReadonlyMap<string, ServicePlan> = new Map();
  /** What the thread was told. */
  #told: { readonly services: ReadonlyMap<string, Service>; readonly containers: ReadonlyMap<string, ServingContainer> } = { services: new Map(), containers: new Map() };
  /** It was told what it could not plan. */
  #failed = false;
  /** Those of the `plans`. */
  services: readonly Service[] = [];
  /** By the service's name. */
  backends: ReadonlyMap<string, readonly Backend[]> = new Map();
  /** In order of names, IPv4 before IPv6. */
  plans: readonly ServicePlan[] = [];

  /** `wake`: something changes though nothing happens. */
  constructor(options: ServicePlannerOptions, book: ServiceBook, wake: () => void) {
    this.#options = options;
    this.#book = book;
    this.#wake = wake;
  }

  /** Before the first plan. */
  recall(tables: Tables): void {
    this.#rows = tables.get(balancingTable) ?? noRows;
    this.backends = backendsIn(this.#rows);
  }

  /** Taken into the next plan. */
  hear(heard: readonly HeardHealth[]): void {
    this.#heard.push(...heard);
  }

  /**
   * One at a time. True: `plans` are not what they were. What a later start must know is remembered before they are carried out.
   * @throws HawserError TABLE_FULL, INTERNAL; the plans are then as before.
   */
  async plan(state: State): Promise<boolean> {
    const { clock } = this.#options;
    const services = this.#book.services(state);
    if (services.length === 0 && this.#thread === undefined && this.#rows.size === 0) {
      this.services = services;
      return false;
    }
    const containers = this.#book.containers(state, services, new Set([...this.backends.values()].flatMap((all) => all.map(({ id }) => id))));
    const now = clock.now();
    if (this.#thread?.alive !== true) await this.#start();
    const after = { services: new Map(services.map((one) => [one.name, one])), containers: new Map(containers.map((one) => [containerKey(one), one])) };
    const elsewhere = this.#lookAt !== null && now >= this.#lookAt ? await this.#options.datapath.elsewhere() : null;
    const turn = { services: between(this.#told.services, after.services), containers: between(this.#told.containers, after.containers), heard: this.#heard.splice(0), elsewhere, now };
    const news = [turn.services, turn.containers].some(({ set, gone }) => set.length + gone.length > 0) || turn.heard.length > 0 || elsewhere !== null;
    if (!news && !this.#failed && (this.#again === null || now < this.#again)) return false;
    this.#told = after;
    this.#failed = true;
    const outcome = await (this.#thread as BalancerThread).turn(turn);
    await this.#keep(outcome.rows);
    this.#failed = false;
    this.services = services;
    this.#take(outcome);
    if (elsewhere !== null || !outcome.unsettled) this.#lookAt = null;
    if (outcome.unsettled) this.#lookAt ??= now + lookTime;
    this.#wakeAt(outcome.again);
    return outcome.plans.set.length + outcome.plans.gone.length > 0;
  }

  async close(): Promise<void> {
    this.#timer?.abort();
    await this.#thread?.end();
  }

  /** One that died has forgotten everything but what was kept. */
  async #start(): Promise<void> {
    const { services, store } = this.#options;
    const rows = this.#thread === undefined ? this.#rows : (await store.load()).get(balancingTable) ?? noRows;
    this.#rows = noRows;
    this.#plans = new Map();
    this.#told = { services: new Map(), containers: new Map() };
    this.#thread = startBalancer({ ...services, rows });
  }

  /** A store that cannot write says so itself, and keeps no service from following its containers: the rows wait. */
  async #keep(rows: readonly Change[]): Promise<void> {
    for (const row of rows) this.#unwritten.set(row.key, row);
    if (this.#unwritten.size === 0) return;
    const writing = [...this.#unwritten.values()];
    await within(storeTime, "the store's write", this.#options.store.write(writing)).then(() => this.#unwritten.clear(), () => undefined);
  }

  #take({ plans: { set, gone }, backends }: Outcome): void {
    const plans = new Map(this.#plans);
    for (const key of gone) plans.delete(key);
    for (const plan of set) {
      const slots = plan.slots ?? plans.get(planKey(plan))?.slots;
      if (slots !== undefined) plans.set(planKey(plan), { ...plan, slots });
    }
    this.#plans = plans;
    this.plans = [...plans].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, plan]) => plan);
    const all = new Map(this.backends);
    for (const [name, those] of backends) {
      if (those.length === 0) all.delete(name);
      else all.set(name, those);
    }
    this.backends = all;
  }

  #wakeAt(again: number | null): void {
    this.#again = again;
    this.#timer?.abort();
    if (again === null && this.#lookAt === null) return;
    const timer = (this.#timer = new AbortController());
    const { clock } = this.#options;
    void clock.sleep(Math.max(0, Math.min(again ?? Infinity, this.#lookAt ?? Infinity) - clock.now()), timer.signal).then(this.#wake, () => undefined);
  }
}

/** Equal are those that are the same object. */
function between<T>(before: ReadonlyMap<string, T>, after: ReadonlyMap<string, T>): Difference<T> {
  return { set: [...after].filter(([key, one]) => before.get(key) !== one).map(([, one]) => one), gone: [...before.keys()].filter((key) => !after.has(key)) };
}
