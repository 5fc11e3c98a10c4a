// The desk's side for policy: what a decision means for the tables, changes of policy, and everything that people ask about it.
import type { Datapath } from "../datapath/types.ts";
import { isDead } from "../network/dead.ts";
import type { RemoteEndpoint } from "../network/cluster.ts";
import type { Decision, PoolConfig, State, Step } from "../network/types.ts";
import { messageOf } from "../std/errors.ts";
import type { Clock } from "../std/clock.ts";
import type { Log } from "../std/log.ts";
import { atOnce } from "../std/sliced.ts";
import { poolsOf } from "./cluster-desk.ts";
import { enforce } from "./enforce.ts";
import { FlowLog } from "./flow-log.ts";
import type { AddressBook } from "./flow-log.ts";
import { PolicyBook } from "./policy-book.ts";
import type { PolicySettings } from "./policy-book.ts";
import { applyDocuments, deleteDocument, readDirectory, unknownName } from "./document-changes.ts";
import type { Written } from "./document-changes.ts";
import { policyDocuments, writtenPolicies } from "./policy-changes.ts";
import { addressBook, identityViews, labelText, policyPart, policyViews, traceView } from "./policy-views.ts";
import type { ServiceView } from "./service-types.ts";
import type { ApplyDocuments, DirectoryReading, PartStatus, PolicyReport, Queries } from "./types.ts";

export interface PolicyDeskOptions {
  readonly datapath: Pick<Datapath, "facts" | "policy" | "standing" | "rawEvents" | "decodeEvent" | "deviceName">;
  readonly policy: PolicySettings;
  readonly pool: PoolConfig;
  readonly node: string;
  readonly clock: Clock;
  readonly log: Log;
}

export class PolicyDesk {
  readonly #options: PolicyDeskOptions;
  readonly book: PolicyBook;
  readonly #flows: FlowLog;
  readonly #state: () => State;
  #addresses: { readonly of: readonly unknown[]; readonly book: AddressBook } | undefined;
  #waiting = false;
  #problems: ReadonlyMap<string, string> = new Map();
  #files: ReadonlySet<string> = new Set();

  /** `state`: the one in force. `ownerOf`: the container elsewhere that has an address. */
  constructor(options: PolicyDeskOptions, state: () => State, ownerOf: (address: string) => RemoteEndpoint | undefined) {
    const { datapath, clock, policy, pool } = options;
    this.#options = options;
    this.#state = state;
    this.book = new PolicyBook(policy, poolsOf(pool));
    this.#flows = new FlowLog({
      decode: (bytes) => datapath.decodeEvent(bytes), rulesOf: (revision) => datapath.policy().rulesOf(revision), deviceName: (ifindex) => datapath.deviceName(ifindex),
      epoch: BigInt(clock.now()) * 1_000_000n - process.hrtime.bigint(),
    });
    datapath.rawEvents((bytes) => this.#flows.add(bytes, this.#addressBook(), clock.now(), ownerOf));
  }

  recall(state: State): void {
    this.book.recall(state, this.#options.datapath.standing().identities?.values());
  }

  /**
   * With the state lost nobody knows who carries the numbers that the kernel knows: what an earlier agent wrote stays until Docker has told,
   * because tables without them would cut off everything that lives (R24).
   */
  waitFor(state: State): void {
    const known = new Set([...state.endpoints.values(), ...state.guests.values()].map(({ identity }) => identity));
    this.#waiting = [...(this.#options.datapath.standing().identities?.values() ?? [])].some((identity) => !known.has(identity));
  }

  /** True: it did wait, and everything is to be written now. */
  endWaiting(): boolean {
    const waited = this.#waiting;
    this.#waiting = false;
    return waited;
  }

  enforced<Reply>(decision: Decision<Reply>): Decision<Reply> {
    if (this.#waiting) return decision;
    const { datapath, clock } = this.#options;
    const around = { now: clock.now(), standing: () => datapath.standing() };
    return enforce(this.#state(), decision, {
      book: this.book, host: datapath.facts, standing: datapath.policy().tables, isDead: (endpoint) => isDead(endpoint, around),
    });
  }

  /** Writes what the state in force means; undefined while it waits. */
  step(): Extract<Step, { readonly kind: "policy" }> | undefined {
    if (this.#waiting) return undefined;
    const { datapath } = this.#options;
    const state = this.#state();
    return { kind: "policy", tables: this.book.tables(state, [state], datapath.facts), before: datapath.policy().tables };
  }

  apply(state: State, command: ApplyDocuments, now: number): Decision<Omit<PolicyReport, "revision">> {
    const { next, ...reply } = atOnce(applyDocuments(state, command, now, this.#written()));
    return { next, steps: [], reply };
  }

  remove(state: State, name: string): Decision<void> {
    return { next: deleteDocument(state, name, this.#files, policyDocuments), steps: [], reply: undefined };
  }

  /** `make` takes the decision in the queue. Rejects when the kernel refuses the whole. */
  async syncDirectory(reading: DirectoryReading, make: (decide: (state: State, now: number) => Decision<void>) => Promise<void>): Promise<void> {
    let problems: ReadonlyMap<string, string> = new Map();
    try {
      await make((state, now) => {
        const change = atOnce(readDirectory(state, reading, now, this.#written()));
        problems = change.problems;
        return { next: change.next, steps: [], reply: undefined };
      });
    } catch (error) {
      problems = new Map([[reading.directory, `${messageOf(error)}; what was in force stays`]]);
      throw error;
    } finally {
      for (const [file, problem] of problems) {
        if (this.#problems.get(file) !== problem) this.#options.log.warn("a policy file is not in force", { file, problem });
      }
      this.#problems = problems;
      this.#files = new Set([...(reading.documents ?? []).map(({ file }) => file), ...Object.keys(reading.unreadable)]);
    }
  }

  part(): PartStatus {
    if (this.#waiting) return { part: "policy", state: "ok", detail: "as an earlier agent left it, because the state was lost; changes wait until Docker has answered once" };
    return policyPart(this.#state(), this.book, this.#problems, this.#options.datapath.policy().revision);
  }

  queries(services: () => readonly ServiceView[]): Pick<Queries, "identities" | "policies" | "policy" | "trace" | "flows" | "flowCounts"> {
    const views = (): ReturnType<typeof policyViews> => policyViews(this.#state(), this.book, this.#problems);
    return {
      identities: () => identityViews(this.#state(), this.book),
      policies: views,
      policy: (name) => {
        const row = this.#state().policies.get(name);
        const view = views().find((one) => one.name === name);
        if (view === undefined) throw unknownName(this.#state(), name, policyDocuments);
        return { ...view, text: row?.text ?? labelText(this.#state(), this.book, view.source) };
      },
      trace: (from, to) => traceView(this.#state(), this.book, this.#options.datapath.facts, from, to, services()),
      flows: (query, signal) => this.#flows.read(query, signal),
      flowCounts: () => this.#flows.counts,
    };
  }

  #written(): Written {
    const { facts } = this.#options.datapath;
    return writtenPolicies({ policies: (state) => this.book.policies(state), facts: (state) => this.book.facts([this.book.identified(state)], facts) });
  }

  #addressBook(): AddressBook {
    const { datapath: { facts }, node } = this.#options;
    const state = this.#state();
    // Of what may be large and changes often elsewhere a book holds nothing.
    const of = [state.endpoints, state.networks, state.guests, state.policies, state.cluster.nodes, facts.hostPrefixes];
    if (this.#addresses === undefined || this.#addresses.of.some((one, i) => one !== of[i])) this.#addresses = { of, book: addressBook(state, this.book, facts, node) };
    return this.#addresses.book;
  }
}
