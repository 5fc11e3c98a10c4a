// Adds to a decision what it means for policy: identities chosen, tables written before who needs them, endpoints told who they are.
import type { Cluster } from "../network/cluster.ts";
import { endpointPlan, guestPlan } from "../network/plan.ts";
import type { Decision, Endpoint, State, Step } from "../network/types.ts";
import type { PolicyTables } from "../policy/types.ts";
import type { HostView, PolicyBook } from "./policy-book.ts";

export interface Enforcement {
  readonly book: PolicyBook;
  readonly host: HostView;
  /** In the kernel now; null: nothing of this agent's. */
  readonly standing: PolicyTables | null;
  /** Whether nothing is left of an endpoint on the host: then there is nobody to tell who it is. */
  readonly isDead: (endpoint: Endpoint) => boolean;
}

/**
 * When policies change and identities with them (a name counts from the moment that a rule refers to it), the new numbers are
 * first made known under the old policies, then carried, and only then the policies change: no packet is judged by half of it.
 */
export function enforce<Reply>(before: State, decision: Decision<Reply>, { book, host, standing, isDead }: Enforcement): Decision<Reply> {
  const { next: decided, steps, reply } = decision;
  if (standing !== null && sameForPolicy(before, decided)) return decision;
  const next = book.identified(decided);
  const carried = identitySteps(before, decided, next, isDead);
  const writing: Step[] = [];
  let current = standing;
  const write = (tables: PolicyTables): readonly Step[] => {
    if (sameTables(tables, current)) return [];
    const step: Step = { kind: "policy", tables, before: current };
    current = tables;
    return [step];
  };
  const policiesChange = before.policies !== next.policies;
  if (policiesChange && carried.length > 0 && standing !== null) {
    writing.push(...write(book.tables(before, [before, next], host)), ...carried, ...write(book.tables(next, [next], host)));
  } else {
    // What a decision does not change is not written for it: tables that once did not fit keep nobody from joining, closed.
    const was = standing === null ? null : book.tables(before, [before], host);
    const tables = book.tables(next, [before, next], host);
    writing.push(...(sameTables(tables, was) ? [] : write(tables)), ...carried);
    // What a number meant before it must not mean any more once all carry theirs.
    if (book.ambiguous([before, next]).size > 0) writing.push(...write(book.tables(next, [next], host)));
  }
  return { next, steps: [...withoutStale(steps, next), ...writing], reply };
}

export function sameTables(a: PolicyTables, b: PolicyTables | null): boolean {
  return b !== null && (a === b || (a.classes === b.classes && a.prefixes === b.prefixes && a.pairs === b.pairs && a.ports === b.ports && a.rules === b.rules));
}

function sameForPolicy(a: State, b: State): boolean {
  return a.endpoints === b.endpoints && a.networks === b.networks && a.policies === b.policies && a.guests === b.guests && sameCluster(a.cluster, b.cluster);
}

function sameCluster(a: Cluster, b: Cluster): boolean {
  return a === b || (a.kind === b.kind && a.nodes === b.nodes && a.endpoints === b.endpoints && a.numbers === b.numbers);
}

/** A decision that publishes an endpoint knew it without its number. */
function withoutStale(steps: readonly Step[], next: State): readonly Step[] {
  return steps.map((step) => {
    if (step.kind !== "endpoint") return step;
    const endpoint = [...next.endpoints.values()].find(({ hostInterface }) => hostInterface === step.endpoint.hostInterface);
    return endpoint === undefined || endpoint.identity === step.endpoint.identity ? step : { ...step, endpoint: { ...step.endpoint, identity: endpoint.identity } };
  });
}

/** Endpoints that were there before: those that this decision restores are adopted as a whole. */
function identitySteps(before: State, decided: State, next: State, isDead: Enforcement["isDead"]): readonly Step[] {
  const steps: Step[] = [];
  for (const endpoint of next.endpoints.values()) {
    const known = decided.endpoints.get(endpoint.id);
    const network = next.networks.get(endpoint.network);
    if (!endpoint.joined || !network || !known || known.identity === endpoint.identity || before.endpoints.get(endpoint.id)?.joined !== true) continue;
    if (isDead(endpoint)) continue;
    steps.push({ kind: "endpoint", endpoint: endpointPlan(endpoint, network), before: endpointPlan(known, network) });
  }
  for (const guest of next.guests.values()) {
    const known = before.guests.get(guest.id);
    const plan = guestPlan(guest);
    if (known && JSON.stringify(guestPlan(known)) === JSON.stringify(plan)) continue;
    const moved = known === undefined || known.device !== guest.device || known.ifindex !== guest.ifindex;
    steps.push({ kind: "guest", guest: plan, ...(moved ? {} : { before: guestPlan(known) }) });
  }
  return steps;
}
