// After a restart: what the state claims is made so, what it does not claim goes.
import type { Kernel, LinkInfo } from "../kernel/types.ts";
import type { Doers, Step } from "../network/types.ts";
import { asHawserError } from "../std/errors.ts";
import { accelerator } from "./acceleration.ts";
import { detachFilter } from "./attachments.ts";
import { claimsOf } from "./claims.ts";
import type { Claims } from "./claims.ts";
import { isOurDevice } from "./host.ts";
import type { Host } from "./host.ts";
import { hostDevice } from "./host-device.ts";
import type { LinkPin } from "./pins.ts";
import { isGuestPin, sweepUnclaimed } from "./sweep.ts";
import { tunnelDevice } from "./tunnel.ts";
import type { AdoptReport, SweepReport } from "./types.ts";

export interface AdoptContext {
  readonly kernel: Kernel;
  readonly bpffs: string;
  readonly host: Host;
  readonly doers: Doers;
  readonly cgroup: string;
  readonly uplinks: readonly string[];
}

const nothingSwept: SweepReport = { links: [], pins: [], routes: [], entries: {} };

/**
 * Leftovers go first: an address or port may have a new owner. Programs of endpoints are swapped last, when the maps say all
 * that they ask. One step's failure keeps no other from being done.
 */
export async function adopt(context: AdoptContext, steps: readonly Step[], unclaimed: "sweep" | "keep" = "sweep"): Promise<AdoptReport> {
  const { kernel, bpffs, host } = context;
  const links = await host.netlink.links();
  const existing = new Set(links.map((link) => link.name));
  const missing = missingOf(steps, new Map(links.map((link) => [link.name, link.index])));
  const wanted = withoutMissing(steps, new Set(missing));
  const claims = claimsOf(wanted);
  // What is to go must not be restored by the next look at the host.
  for (const number of [...host.networks.keys()]) if (!claims.networks.has(number)) host.networks.delete(number);
  const keeps = (pin: LinkPin): boolean => keepsPin(pin, claims, existing, context);
  const removed = unclaimed === "keep"
    ? nothingSwept
    : await sweepUnclaimed({ kernel, bpffs, netlink: host.netlink, tables: host.tables, conntrack: host.conntrack }, claims, keeps);
  if (unclaimed === "sweep" && host.attachments.mode === "clsact") sweepFilters(kernel, links, context.uplinks, claims);
  // A cable that went with its container took its links along, and their pins were swept above.
  for (const pin of host.attachments.lost()) if (!keeps(pin)) host.attachments.forget(pin);
  const failed: { readonly step: Step; readonly error: Error }[] = [];
  for (const step of inOrder(wanted)) {
    try {
      await perform(context.doers, step);
    } catch (error) {
      failed.push({ step, error: asHawserError(error) });
    }
  }
  return { removed, missing, failed };
}

/** What comes before or after the others. */
const ranks: Partial<Record<Step["kind"], number>> = { policy: -1, cluster: 1, services: 2, attach: 3 };

/** Whoever is known is judged, so the policy goes first. A backend whose node is not known is none, and would lose its flows until it is. */
export function inOrder(steps: readonly Step[]): Step[] {
  return steps.toSorted((a, b) => (ranks[a.kind] ?? 0) - (ranks[b.kind] ?? 0));
}

/** Names of cables and guests' devices; a guest's device that was made anew is another's. */
function missingOf(steps: readonly Step[], devices: ReadonlyMap<string, number>): string[] {
  const claims = claimsOf(steps);
  const guests = [...claims.guests.values()].filter((guest) => devices.get(guest.device) !== guest.ifindex).map((guest) => guest.device);
  return [...[...claims.interfaces].filter((name) => !devices.has(name)), ...guests];
}

/** A cable that is gone took its container's end with it: a new one would lead nowhere, and what hangs on it is dead. */
function withoutMissing(steps: readonly Step[], missing: ReadonlySet<string>): Step[] {
  if (missing.size === 0) return [...steps];
  const dead = new Set<string>(
    steps
      .filter((step) => step.kind === "endpoint" && missing.has(step.endpoint.hostInterface))
      .flatMap((step) => (step.kind === "endpoint" ? [step.endpoint.ipv4, step.endpoint.ipv6] : []))
      .filter((address) => address !== null),
  );
  return steps.filter((step) => {
    if (step.kind === "cable" || step.kind === "attach") return !missing.has(step.cable.hostInterface);
    if (step.kind === "endpoint") return !missing.has(step.endpoint.hostInterface);
    if (step.kind === "guest") return !missing.has(step.guest.device);
    return step.kind !== "port" || !dead.has(step.port.address);
  });
}

function keepsPin(pin: LinkPin, claims: Claims, existing: ReadonlySet<string>, context: AdoptContext): boolean {
  if (pin.device.startsWith("/")) return pin.device === context.cgroup;
  if (pin.device === hostDevice || pin.device === tunnelDevice) return existing.has(pin.device);
  if (pin.program === accelerator) return context.host.acceleration.holds(pin);
  if (pin.program === "netdev") return context.uplinks.includes(pin.device);
  return isGuestPin(pin) ? claims.guests.has(pin.device) : claims.interfaces.has(pin.device);
}

/** Filters have no pins to be found by: whatever device is no uplink and no guest's has none of ours. */
function sweepFilters(kernel: Kernel, links: readonly LinkInfo[], uplinks: readonly string[], claims: Claims): void {
  for (const link of links) {
    if (isOurDevice(link.name) || uplinks.includes(link.name) || claims.guests.has(link.name)) continue;
    for (const hook of ["ingress", "egress"] as const) detachFilter(kernel, link.index, hook);
  }
}

/** TypeScript cannot see that the doer found by a step's kind takes that very step. */
function perform(doers: Doers, step: Step): Promise<void> {
  const doer = doers[step.kind] as { do(step: Step): Promise<void> };
  return doer.do(step);
}
