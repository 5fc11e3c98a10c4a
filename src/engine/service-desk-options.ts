// What the desk of services needs of its surroundings.
import type { Datapath } from "../datapath/types.ts";
import type { PoolConfig } from "../network/types.ts";
import type { ReadElsewhere } from "./documents.ts";
import type { ServicePlannerOptions } from "./service-planner.ts";
import type { ShareServices } from "./service-sharing.ts";

export interface ServiceDeskOptions extends ServicePlannerOptions {
  readonly datapath: Pick<Datapath, "doers" | "facts" | "traffic" | "elsewhere" | "services">;
  readonly pool: PoolConfig;
  /** Left out: this node shares its services with nobody. */
  readonly shareServices?: ShareServices;
  /** Of many documents at once; left out: the engine reads them itself. */
  readonly readServices?: ReadElsewhere;
  /** As `EngineOptions`. */
  readonly holders?: () => ReadonlyMap<string, string>;
}
