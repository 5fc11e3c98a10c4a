// Services that this node cannot carry out are kept apart from the others: what such a one was before goes on in its stead.
import type { Datapath } from "../datapath/types.ts";
import { headsOf } from "../lb/head.ts";
import { frontendText } from "../lb/read.ts";
import type { StoredService } from "../lb/stored.ts";
import type { PlanHead, Service, ServiceMode } from "../lb/types.ts";
import type { State } from "../network/types.ts";
import { changesOf } from "../std/changes.ts";
import type { HawserError } from "../std/errors.ts";
import type { Log } from "../std/log.ts";
import type { Sliced } from "../std/sliced.ts";
import type { Store, Tables } from "../store/types.ts";
import { within } from "./commit.ts";
import { rowsBetween, serviceRows } from "./remember.ts";
import { ServiceBook } from "./service-book.ts";
import { ServiceTexts } from "./service-texts.ts";

export interface PossibleOptions {
  readonly node: string;
  /** Of services that say none. */
  readonly mode: ServiceMode;
  readonly datapath: Pick<Datapath, "services">;
  readonly store: Pick<Store, "write">;
  readonly log: Log;
}

/** What goes on in the stead of a service. */
interface Former {
  readonly row: StoredService;
  readonly service: Service;
}

const formerTable = "former services";
/** Milliseconds. */
const storeTime = 10_000;

export class PossibleServices {
  readonly #options: PossibleOptions;
  readonly #heads = new WeakMap<Service, readonly PlanHead[]>();
  /** Of the last look. */
  #of: readonly Service[] = [];
  #rows: State["services"] = new Map();
  #those: readonly Service[] = [];
  #former: ReadonlyMap<string, Former> = new Map();
  /** Rows of them as the store has them. */
  #kept: ReadonlyMap<string, StoredService> = new Map();
  /** Why a service is not in force as it is written, by its name. */
  refused: ReadonlyMap<string, HawserError> = new Map();

  constructor(options: PossibleOptions) {
    this.#options = options;
  }

  /** What an earlier agent let go on. */
  recall(tables: Tables): void {
    this.#kept = serviceRows(tables, formerTable);
    const services = new ServiceBook(this.#options.node, new ServiceTexts()).services({ services: this.#kept });
    this.#former = new Map(services.map((service) => [service.name, { row: this.#kept.get(service.name) as StoredService, service }]));
  }

  /** undefined: this node can carry it out, if there is room. */
  refusal(service: Service): HawserError | undefined {
    let heads = this.#heads.get(service);
    if (heads === undefined) {
      heads = headsOf(service, this.#options.mode);
      this.#heads.set(service, heads);
    }
    for (const head of heads) {
      const why = this.#options.datapath.services.refusal(head);
      if (why !== undefined) return why;
    }
    return undefined;
  }

  /** What of `services` is to be planned: all that are possible, and for each other what it was when it was. The same array as long as nothing changes. */
  *of(services: readonly Service[], rows: State["services"]): Sliced<readonly Service[]> {
    // What was possible once stays so.
    if (services === this.#of && this.refused.size === 0) return this.#those;
    const refused = new Map<string, HawserError>();
    for (const service of changesOf(this.#those, services).came) {
      const why = this.refusal(service);
      if (why !== undefined) refused.set(service.name, why);
      yield;
    }
    const former = this.#formerOf(refused);
    const those = refused.size === 0 ? services : withFormer(services, refused, former);
    [this.#of, this.#rows, this.#former, this.refused] = [services, rows, former, refused];
    const { left, came } = changesOf(this.#those, those);
    if (left.length + came.length > 0) this.#those = those;
    return this.#those;
  }

  #formerOf(refused: ReadonlyMap<string, HawserError>): ReadonlyMap<string, Former> {
    if (refused.size === 0) return new Map();
    const standing = new Map(this.#those.map((service) => [service.name, service] as const));
    return new Map([...refused.keys()].flatMap((name): readonly (readonly [string, Former])[] => {
      const known = this.#former.get(name);
      if (known !== undefined) return [[name, known]];
      const [row, service] = [this.#rows.get(name), standing.get(name)];
      return row === undefined || service === undefined ? [] : [[name, { row, service }]];
    }));
  }

  /** So that after a start the same goes on. Never rejects. */
  async remember(): Promise<void> {
    const { store, log } = this.#options;
    const rows = new Map(Array.from(this.#former, ([name, { row }]) => [name, row] as const));
    const changes = rowsBetween(formerTable, this.#kept, rows);
    if (changes.length === 0) return;
    await within(storeTime, "the store's write", store.write(changes)).then(() => {
      this.#kept = rows;
    }, (error: unknown) => log.warn("what services were before could not be kept", { error }));
  }
}

/** In the same order. A frontend that another service has by now is not had by what goes on. */
function withFormer(services: readonly Service[], refused: ReadonlyMap<string, unknown>, former: ReadonlyMap<string, Former>): readonly Service[] {
  const taken = new Set(services.filter(({ name }) => !refused.has(name)).flatMap(({ frontends }) => frontends.map(frontendText)));
  return services.flatMap((service) => {
    if (!refused.has(service.name)) return [service];
    const instead = former.get(service.name)?.service;
    if (instead === undefined || instead.frontends.some((one) => taken.has(frontendText(one)))) return [];
    for (const one of instead.frontends) taken.add(frontendText(one));
    return [instead];
  });
}
