// Who may ask services: ranges of clients' addresses in the lines of hw_lb_sources (bpf/abi/lb.h). Services of the same sources share their lines.
import { LbSourceLayout } from "../abi/generated.ts";
import type { KernelMap } from "../kernel/types.ts";
import type { ServicePlan, Sources } from "../lb/types.ts";
import { bitsOf, cidrOf, familyOf, firstOf, lastOf } from "../std/ip.ts";
import type { Cidr, Family, Ip } from "../std/ip.ts";
import { createStretches } from "./stretches.ts";
import type { Stretch } from "./stretches.ts";

/** Where packets look: the first line, and how many of them one after the other. Depth 0: everybody may. */
export interface SourcePlace {
  readonly first: number;
  readonly depth: number;
}

export type AskingPlan = Pick<ServicePlan, "number" | "family" | "sources">;

export interface ServiceSources {
  /** Sets lines apart for what a plan asks, until `release`. @returns whether there is room for them */
  reserve(plan: AskingPlan): boolean;
  /** Where the lines of a plan are that is reserved for; they are written where nobody looks yet unless they are there. */
  take(plan: AskingPlan): SourcePlace;
  /** The service asks nothing any more. */
  leave(service: number): void;
  /** Gives back lines that no service has any more; nobody looks there now. */
  release(): void;
}

export const noSources: SourcePlace = { first: 0, depth: 0 };

interface Held extends SourcePlace {
  /** undefined: an earlier agent's, which may be any. */
  content: string | undefined;
  /** What is to be written before anybody looks there. */
  unwritten: Uint8Array | undefined;
  users: number;
}

/** Bytes. */
const lineSize = 64;
const startsOf: Readonly<Record<Family, number>> = { 4: LbSourceLayout.SOURCES4, 6: LbSourceLayout.SOURCES6 };

/** `inherited`: by service, with its family, where packets look since an earlier agent. */
export function openServiceSources(map: KernelMap, inherited: ReadonlyMap<number, SourcePlace & { readonly family: Family }>): ServiceSources {
  const places = new Map<number, Held>();
  const taken = new Map<number, Stretch>();
  for (const { first, depth, family } of inherited.values()) {
    if (depth === 0) continue;
    places.set(first, { first, depth, content: undefined, unwritten: undefined, users: 0 });
    taken.set(first, { first, length: linesFrom(map, first, depth, startsOf[family]) });
  }
  const row = createStretches(map.info.maxEntries, [...taken.values()]);
  const held = new Map<number, Held>();
  const byContent = new Map<string, Held>();
  const left = new Set<Held>(places.values());
  const reserved = new Map<AskingPlan, Held>();
  const use = (service: number, one: Held): void => {
    one.users++;
    held.set(service, one);
  };
  for (const [service, { first, depth }] of inherited) {
    const one = depth === 0 ? undefined : places.get(first);
    if (one !== undefined) use(service, one);
  }
  const leave = (service: number): void => {
    const one = held.get(service);
    if (one === undefined) return;
    one.users--;
    left.add(one);
    held.delete(service);
  };
  const setApart = (depth: number, bytes: Uint8Array): Held | undefined => {
    const stretch = row.take(bytes.length / lineSize);
    if (stretch === undefined) return undefined;
    const one: Held = { first: stretch.first, depth, content: undefined, unwritten: bytes, users: 0 };
    left.add(one);
    return one;
  };
  const write = (one: Held): void => {
    if (one.unwritten === undefined) return;
    const keys = Uint32Array.from({ length: one.unwritten.length / lineSize }, (_, line) => one.first + line);
    map.setPacked(new Uint8Array(keys.buffer), one.unwritten);
    one.unwritten = undefined;
  };
  return {
    reserve: (plan) => {
      const { number, family, sources } = plan;
      if (!asksSources(sources) || reserved.has(plan)) return true;
      const before = held.get(number);
      const { depth, bytes } = linesOf(rangeStarts(sources, family), family);
      const content = `${depth} ${Buffer.from(bytes).toString("base64")}`;
      const one = byContent.get(content) ?? (before?.content === undefined && before?.depth === depth && holds(map, before.first, bytes) ? before : setApart(depth, bytes));
      if (one === undefined) return false;
      one.content = content;
      byContent.set(content, one);
      reserved.set(plan, one);
      return true;
    },
    take: (plan) => {
      const { number, sources } = plan;
      if (!asksSources(sources)) {
        leave(number);
        return noSources;
      }
      const one = reserved.get(plan);
      if (one === undefined) throw new RangeError(`nothing is reserved for the sources of service ${number}`);
      write(one);
      if (one !== held.get(number)) {
        leave(number);
        use(number, one);
      }
      return one;
    },
    leave,
    release: () => {
      for (const one of left) {
        if (one.users > 0) continue;
        if (one.content !== undefined) byContent.delete(one.content);
        row.give(one.first);
      }
      left.clear();
      reserved.clear();
    },
  };
}

export function asksSources({ allow, deny }: Sources): boolean {
  return allow !== null || deny.length > 0;
}

/** Where ranges begin that may and that may not, in turns, from one that may at address 0 on. Denied is what any prefix denies. */
function rangeStarts({ allow, deny }: Sources, family: Family): readonly bigint[] {
  const edgesOf = (prefixes: readonly Cidr[], allowed: number, denied: number) => prefixes.flatMap((prefix) =>
    familyOf(prefix) === family ? [{ at: firstOf(prefix), allowed, denied }, { at: lastOf(prefix) + 1n, allowed: -allowed, denied: -denied }] : []);
  const all = cidrOf((family === 4 ? "0.0.0.0" : "::") as Ip, 0);
  const edges = [{ at: 0n, allowed: 0, denied: 0 }, ...edgesOf(allow ?? [all], 1, 0), ...edgesOf(deny, 0, 1)].sort((a, b) => (a.at < b.at ? -1 : Number(a.at > b.at)));
  const end = 1n << BigInt(bitsOf(family));
  const starts = [0n];
  let [may, allowed, denied] = [true, 0, 0];
  edges.forEach((edge, i) => {
    allowed += edge.allowed;
    denied += edge.denied;
    const now = allowed > 0 && denied === 0;
    if (edges[i + 1]?.at === edge.at || edge.at === end || now === may) return;
    starts.push(edge.at);
    may = now;
  });
  return starts;
}

function linesOf(starts: readonly bigint[], family: Family): { readonly depth: number; readonly bytes: Uint8Array } {
  const fan = startsOf[family];
  const leaves = Math.ceil(starts.length / fan);
  let [depth, above, span] = [1, 0, 1];
  for (; span < leaves; span *= fan, depth++) above = above * fan + 1;
  const bytes = new Uint8Array(lineSize * (above + leaves)).fill(0xff);
  const [halves, words] = [new Uint32Array(bytes.buffer), new BigUint64Array(bytes.buffer)];
  for (let line = 0; span >= 1; line = line * fan + 1, span = Math.floor(span / fan)) {
    for (let i = 0; i * span < starts.length; i++) {
      const start = starts[i * span] ?? 0n;
      if (family === 4) halves[line * fan + i] = Number(start);
      else words.set([start >> 64n, start & 0xffff_ffff_ffff_ffffn], 2 * (line * fan + i));
    }
  }
  return { depth, bytes };
}

/** How many lines a tree has, which ends where its last start does. */
function linesFrom(map: KernelMap, first: number, depth: number, fan: number): number {
  let line = 0;
  for (let level = 1; level < depth; level++) {
    const value = map.get(lineKey(first + line)) ?? new Uint8Array(lineSize);
    const size = lineSize / fan;
    let last = fan - 1;
    while (last > 0 && value.subarray(last * size, (last + 1) * size).every((byte) => byte === 0xff)) last--;
    line = line * fan + 1 + last;
  }
  return line + 1;
}

function lineKey(line: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(line).buffer);
}

function holds(map: KernelMap, first: number, bytes: Uint8Array): boolean {
  for (let line = 0; line * lineSize < bytes.length; line++) {
    const value = map.get(lineKey(first + line));
    if (value === undefined || Buffer.compare(value, bytes.subarray(line * lineSize, (line + 1) * lineSize)) !== 0) return false;
  }
  return true;
}
