// What a service's plan means to the balancer's maps: its frontends, its backends, what it asks of its clients.
import { LbServiceFlags } from "../abi/generated.ts";
import type { LbModeName, LbService } from "../abi/generated.ts";
import type { BackendPlan, PlanHead, ServicePlan } from "../lb/types.ts";
import { HawserError } from "../std/errors.ts";
import type { Ip } from "../std/ip.ts";
import type { BackendEntry } from "./lb-backends.ts";
import type { FrontendEntry } from "./lb-frontends.ts";
import { hashOf } from "./lb-hash.ts";
import { formedSlots } from "./lb-slots.ts";
import type { SlotRange } from "./lb-slots.ts";
import { asksSources } from "./lb-sources.ts";
import type { SourcePlace } from "./lb-sources.ts";
import { protocolNumbers } from "./port.ts";

/** Their numbers have 16 bits. */
const mostFrontends = 0xffff;

export interface EntrySurroundings {
  /** This node's name. */
  readonly node: string;
  /** Where another node's end of tunnels is, in either family; undefined: it is not known. */
  readonly nodeAddress: (node: string) => Ip | undefined;
  /** Whether the host has the address itself. */
  readonly isOwn: (address: Ip) => boolean;
  /** Whether there are ports from which servers can be asked in this node's name. */
  readonly translates: () => boolean;
}

/** Whether it would answer by way of this node, from one of whose ports it is asked. */
export function isAsked({ way, node }: Pick<BackendPlan, "way" | "node">): boolean {
  return way === "snat" && node === null;
}

/** Why this node cannot carry it out, UNSUPPORTED; undefined: it can, if there is room. */
export function refusalOf({ name, frontends, backends }: PlanHead, translates: boolean): HawserError | undefined {
  const asked = backends.find(isAsked);
  if (asked === undefined) return undefined;
  const instead = "use mode dsr, with the service's address on the server's loopback";
  if (frontends.some(({ protocol }) => protocol === "sctp")) {
    return new HawserError("UNSUPPORTED", `service ${name}: SCTP's ports cannot be translated, so that a server can answer by way of no node; ${instead}`);
  }
  return translates ? undefined : new HawserError("UNSUPPORTED", `service ${name}: ${asked.identity} would answer by way of this node, which has no ports left to ask it from; narrow net.ipv4.ip_local_port_range, or ${instead}`);
}

/** By number; without those whose node is not known, to whom nothing can be sent. Of plans that are not refused. */
export function backendEntries(backends: readonly BackendPlan[], around: EntrySurroundings): readonly (readonly [number, BackendEntry])[] {
  return backends.flatMap((backend) => {
    const entry = backendEntry(backend, around);
    return entry === undefined ? [] : [[backend.number, entry] as const];
  });
}

function backendEntry(backend: BackendPlan, { node: own, nodeAddress }: EntrySurroundings): BackendEntry | undefined {
  const { address, port, node, way } = backend;
  const entry = (mode: LbModeName): BackendEntry => ({ address, port, mode });
  if (way === "dsr") return entry("IPIP");
  if (isAsked(backend)) return entry("SNAT");
  if (node === own || node === null) return entry("LOCAL");
  const outer = nodeAddress(node);
  return outer === undefined ? undefined : { ...entry("GENEVE"), outer, returns: way === "snat" };
}

/** By `keyOf`; the address alone is among them. `table`: where the service's slots lie. `standing`: what there is by the key. @throws HawserError TABLE_FULL */
export function frontendEntries(plan: ServicePlan, { isOwn }: EntrySurroundings, table: SlotRange, standing: (key: string) => FrontendEntry | undefined): readonly (readonly [string, FrontendEntry])[] {
  const known = plan.affinity === null && !asksSources(plan.sources) ? { table } : {};
  const numbers = frontendNumbers(plan, standing);
  return plan.frontends.flatMap(({ address, port, protocol }, i) => {
    const entry: FrontendEntry = { address, port, protocol: protocolNumbers[protocol], service: plan.number, number: numbers[i] ?? 0, shared: false, ...known };
    const whole: FrontendEntry = { address, port: 0, protocol: 0, service: plan.number, number: 0, shared: isOwn(address) };
    return [entry, whole].map((one) => [keyOf(one), one] as const);
  });
}

/** From 1 to 65535, another for each; a frontend keeps its own whatever the service has beside it, because flows are known by it. @throws HawserError TABLE_FULL */
function frontendNumbers({ name, number: service, frontends }: ServicePlan, standing: (key: string) => FrontendEntry | undefined): readonly number[] {
  if (frontends.length > mostFrontends) throw new HawserError("TABLE_FULL", `service ${name} has ${frontends.length} frontends of one family; ${mostFrontends} are all that one can have`);
  const numbers: number[] = [];
  const taken = new Set<number>();
  const fresh: { readonly i: number; readonly hash: number }[] = [];
  frontends.forEach(({ address, port, protocol }, i) => {
    const end = { address, port, protocol: protocolNumbers[protocol] };
    const had = standing(keyOf(end));
    if (had?.service === service && had.number > 0 && !taken.has(had.number)) taken.add((numbers[i] = had.number));
    else fresh.push({ i, hash: hashOf(end) });
  });
  for (const { i, hash } of fresh.toSorted((a, b) => a.hash - b.hash)) {
    let number = (hash & mostFrontends) || 1;
    while (taken.has(number)) number = (number % mostFrontends) + 1;
    taken.add(number);
    numbers[i] = number;
  }
  return numbers;
}

export function keyOf({ address, port, protocol }: Pick<FrontendEntry, "address" | "port" | "protocol">): string {
  return `${address} ${port} ${protocol}`;
}

/** By which flows name it: key of hw_lb_origins. */
export function originNumber({ service, number }: FrontendEntry): number {
  return ((number << 16) | service) >>> 0;
}

/** Of an address without port any service does. */
export function sameFrontend(a: FrontendEntry, b: FrontendEntry): boolean {
  return a.number === b.number && a.shared === b.shared && (a.port === 0 || (a.service === b.service && a.table?.first === b.table?.first && a.table?.slots === b.table?.slots && a.table?.form === b.table?.form));
}

export function sameBackend(a: BackendEntry, b: BackendEntry): boolean {
  return a.address === b.address && a.port === b.port && a.mode === b.mode && (a.outer ?? a.address) === (b.outer ?? b.address) && (a.returns ?? false) === (b.returns ?? false);
}

export function serviceValue({ affinity }: ServicePlan, range: SlotRange, { first: sources, depth }: SourcePlace): LbService {
  return {
    table: range.first, slots: formedSlots(range), sources, depth, flags: affinity === null ? 0 : LbServiceFlags.AFFINITY, affinity: affinity === null ? 0 : Math.ceil(affinity / 1000),
  };
}
