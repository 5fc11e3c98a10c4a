// Whether the balancer's maps have room for what plans would write, counted before anything is written.
import type { BackendPlan, ServicePlan } from "../lb/types.ts";
import { HawserError } from "../std/errors.ts";
import type { FrontendEntry } from "./lb-frontends.ts";
import type { ServiceSources } from "./lb-sources.ts";
import { isAsked, refusalOf } from "./service-entries.ts";

/** What a plan would have in the map of frontends, by the keys there. */
export interface Claim {
  readonly plan: ServicePlan;
  readonly frontends: readonly (readonly [string, FrontendEntry])[];
}

export interface RoomSurroundings {
  /** What the map holds, and how many more entries it takes. */
  readonly frontends: { readonly written: ReadonlyMap<string, unknown>; readonly room: number };
  readonly sources: Pick<ServiceSources, "reserve">;
  /** By number: of those that are asked from a port of this node's it is kept beside the frontends where they answer. */
  readonly backends: ReadonlyMap<number, unknown>;
  /** As `EntrySurroundings` has it now. */
  readonly translates: boolean;
}

/** For claims one after another: room is given to who asks first. What is in the maps and would go is not counted as free. @throws HawserError UNSUPPORTED, TABLE_FULL */
export function createRoom({ frontends, sources, backends, translates }: RoomSurroundings): (claim: Claim) => void {
  const taken = new Set<string>();
  /** Services with the same backends share the list of them. */
  const asked = new Map<readonly BackendPlan[], readonly BackendPlan[]>();
  return ({ plan, frontends: own }) => {
    const those = asked.get(plan.backends) ?? plan.backends.filter(isAsked);
    asked.set(plan.backends, those);
    const refusal = refusalOf({ name: plan.name, frontends: plan.frontends, backends: those }, translates);
    if (refusal !== undefined) throw refusal;
    const addresses = own.flatMap(([key]) => (frontends.written.has(key) ? [] : [key]));
    const answering = those.flatMap(({ number }) => (backends.has(number) ? [] : [`${number}`]));
    const fresh = new Set([...addresses, ...answering].filter((key) => !taken.has(key)));
    if (taken.size + fresh.size > frontends.room) throw new HawserError("TABLE_FULL", `service ${plan.name}: no room is left for its addresses; delete services that nobody asks`);
    if (!sources.reserve(plan)) throw new HawserError("TABLE_FULL", `service ${plan.name}: no room is left for the ranges of its sources; name fewer prefixes, or join neighbouring ones`);
    for (const key of fresh) taken.add(key);
  };
}
