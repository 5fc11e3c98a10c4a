// The two programs on the host end of one container's cable.
import type { CablePlan } from "../network/types.ts";
import type { Host } from "./host.ts";

export const cablePrograms = [
  { program: "from_container", hook: "ingress" },
  { program: "to_container", hook: "egress" },
] as const;

export async function attachCable(host: Host, plan: CablePlan): Promise<void> {
  const link = await host.link(plan.hostInterface);
  for (const { program, hook } of cablePrograms) host.attachments.attach(program, link.name, link.index, hook);
}

export async function detachCable(host: Host, plan: CablePlan): Promise<void> {
  const index = (await host.netlink.link(plan.hostInterface))?.index;
  for (const { program, hook } of cablePrograms.toReversed()) host.attachments.detach(program, plan.hostInterface, index, hook);
}
