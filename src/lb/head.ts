// What a service's document alone tells of its plans, before there are any.
import { reconcile } from "./backends.ts";
import { createContainers } from "./containers.ts";
import { families, reachedBy } from "./reach.ts";
import { familyOf } from "../std/ip.ts";
import type { PlanHead, Service, ServiceMode } from "./types.ts";

const nobody = createContainers([]);

/** One for each family in which it has servers, without containers, which come and go. `mode`: of services that say none. */
export function headsOf(service: Service, mode: ServiceMode): readonly PlanHead[] {
  const servers = reconcile([], service, nobody, 0);
  if (servers.length === 0) return [];
  return families.flatMap((family) => {
    const reached = reachedBy(service, servers, family, service.mode ?? mode);
    const frontends = service.frontends.filter(({ address }) => familyOf(address) === family);
    return reached === null ? [] : [{ name: service.name, frontends, backends: reached.map(({ way, backend: { identity, node } }) => ({ identity, node, way })) }];
  });
}
