// The desk's side for other nodes: what a decision means for what the datapath knows of them, what this node has to tell, and how it is shown.
import { createClusterPlanner } from "../network/cluster-plan.ts";
import type { ClusterPlanner } from "../network/cluster-plan.ts";
import type { ClusterPlan, OwnRecords, RemoteEndpoint } from "../network/cluster.ts";
import { createRoutePlanner } from "../network/container-routes.ts";
import type { ContainerRoutesPlan, Decision, EndpointId, PoolConfig, State, Step, StepOf } from "../network/types.ts";
import type { Datapath } from "../datapath/types.ts";
import type { Clock } from "../std/clock.ts";
import { addressOf } from "../std/ip.ts";
import type { Cidr, Ip } from "../std/ip.ts";
import type { Log } from "../std/log.ts";
import { ownRecords } from "./own-records.ts";
import type { PolicyBook } from "./policy-book.ts";
import type { NodeView } from "./types.ts";

export interface ClusterDeskOptions {
  readonly datapath: Pick<Datapath, "facts">;
  readonly node: string;
  readonly pool: PoolConfig;
  /** All nodes as they are now, this one first; left out, or empty: there is no other. */
  readonly nodes?: () => readonly NodeView[];
  readonly clock: Clock;
  readonly log: Log;
}

export class ClusterDesk {
  readonly #options: ClusterDeskOptions;
  readonly #book: PolicyBook;
  readonly #state: () => State;
  readonly #planner: ClusterPlanner;
  readonly #routePlanner = createRoutePlanner();
  readonly #listeners = new Set<() => void>();
  /** What the datapath was given last; null: nothing by this agent. */
  #inForce: ClusterPlan | null = null;
  #routes: ReadonlyMap<EndpointId, ContainerRoutesPlan> | null = null;

  /** `state`: the one in force. */
  constructor(options: ClusterDeskOptions, book: PolicyBook, state: () => State) {
    this.#options = options;
    this.#book = book;
    this.#state = state;
    this.#planner = createClusterPlanner(poolsOf(options.pool));
  }

  /** With the steps that it takes, last of all: who comes from elsewhere is judged by tables that know him. */
  planned<Reply>(decision: Decision<Reply>): Decision<Reply> {
    const steps = this.#steps(decision.next).filter((step) => (step.kind === "cluster" ? step.cluster !== this.#inForce : step.routes !== this.#routes));
    return steps.length === 0 ? decision : { ...decision, steps: [...decision.steps, ...steps] };
  }

  /** Gives all of it, as the state in force says. */
  steps(): readonly Step[] {
    return this.#steps(this.#state());
  }

  #steps(state: State): readonly (StepOf<"cluster"> | StepOf<"containerRoutes">)[] {
    const routes = this.#routePlanner.plan(state);
    const cluster = { kind: "cluster", cluster: this.#planner.plan(state), before: this.#inForce } as const;
    if (routes.size === 0 && (this.#routes === null || this.#routes.size === 0)) return [cluster];
    return [cluster, { kind: "containerRoutes", routes, before: this.#routes }];
  }

  /** The steps are done, and stay. */
  done(steps: readonly Step[]): void {
    for (const step of steps) {
      if (step.kind === "cluster") this.#inForce = step.cluster;
      if (step.kind === "containerRoutes") this.#routes = step.routes;
    }
  }

  /** The container elsewhere that has the address. */
  ownerOf(address: string): RemoteEndpoint | undefined {
    return this.#planner.ownerOf(address as Ip);
  }

  ownRecords(): OwnRecords {
    return ownRecords(this.#state(), this.#book, this.#options.node);
  }

  onOwnChange(listener: () => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  /** Tells those who want to know what this node has to tell. */
  changed(before: State, after: State): void {
    if (!sameToTell(before, after)) this.tell();
  }

  tell(): void {
    for (const listener of this.#listeners) {
      try {
        listener();
      } catch (error) {
        this.#options.log.error("a change could not be told to other nodes", { error });
      }
    }
  }

  nodes(): readonly NodeView[] {
    const { nodes, node, pool, datapath: { facts }, clock } = this.#options;
    const known = nodes?.() ?? [];
    if (known.length > 0) return known;
    const [own] = facts.hostPrefixes;
    return [{
      name: node, address: own === undefined ? "" : addressOf(own), ipv4: pool.ipv4, ipv6: pool.ipv6 ?? "", state: "self", lastSeen: clock.now(), rttMs: null,
      mtu: facts.uplinkMtu, endpoints: this.#state().endpoints.size,
    }];
  }
}

export function poolsOf({ ipv4, ipv6 }: PoolConfig): readonly Cidr[] {
  return ipv6 === null ? [ipv4] : [ipv4, ipv6];
}

function sameToTell(a: State, b: State): boolean {
  return a.endpoints === b.endpoints && a.networks === b.networks && a.policies === b.policies && a.guests === b.guests
    && a.cluster.numbers === b.cluster.numbers && a.cluster.nodes === b.cluster.nodes;
}
