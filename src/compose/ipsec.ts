// IPsec policies between nodes that the overlay's packets pass by: they leave in clear text, which is said until it ends.
import type { Routing } from "../datapath/types.ts";
import type { NodeView, PartStatus } from "../engine/types.ts";
import { listIpsecPolicies } from "../kernel/index.ts";
import { parseIp } from "../std/ip.ts";
import { policiesFor } from "../std/ipsec.ts";
import type { Log } from "../std/log.ts";
import type { Duty } from "./rounds.ts";

export interface IpsecWatch extends Duty {
  parts(): readonly PartStatus[];
}

const namesShown = 5;

/** `routing` null: there are no other nodes. */
export function watchIpsec(routing: Routing | null, nodes: () => readonly NodeView[], log: Log): IpsecWatch {
  let problem = "";
  return {
    name: "look for IPsec",
    run: async () => {
      if (routing?.mode !== "overlay" || !routing.direct) return;
      const policies = await listIpsecPolicies();
      const bare = nodes().filter(({ state, address }) => state !== "self" && address !== "" && policiesFor(policies, routing.port, parseIp(address)).length > 0).map(({ name }) => name);
      const names = `${bare.slice(0, namesShown).join(", ")}${bare.length > namesShown ? ` and ${bare.length - namesShown} more` : ""}`;
      const now = bare.length === 0 ? "" : `IPsec policies of this host are for packets to ${names}, but the overlay's pass them by and leave unencrypted; set routing.direct: false on every node and restart the agent`;
      if (now !== "" && now !== problem) log.warn("IPsec does not see what goes to other nodes", { problem: now });
      problem = now;
    },
    parts: () => (problem === "" ? [] : [{ part: "ipsec", state: "degraded", detail: problem }]),
  };
}
