// Who may ask services: which lines of hw_lb_sources (bpf/abi/lb.h) lists of clients have. Services of the same sources share their lines.
import { u32 } from "../abi/codec.ts";
import { LbSourceLayout } from "../abi/generated.ts";
import type { KernelMap } from "../kernel/types.ts";
import type { ServicePlan, Sources } from "../lb/types.ts";
import type { Family } from "../std/ip.ts";
import { lineCount, lineSize, listOf } from "./source-lists.ts";
import { createStretches } from "./stretches.ts";

/** Where packets look: the list's first line, and how it is laid out. Depth 0: everybody may. */
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
  /** The change is over, and what is reserved no more so. @returns whether lines are to be given back */
  done(): boolean;
  /** Gives back lines that no service has any more; nobody looks there now, nor is about to. */
  release(): void;
}

export const noSources: SourcePlace = { first: 0, depth: 0 };

interface Held extends SourcePlace {
  readonly content: string;
  /** What is to be written before anybody looks there. */
  unwritten: Uint8Array | undefined;
  users: number;
}

/** `inherited`: by service, with its family, where packets look since an earlier agent. */
export function openServiceSources(map: KernelMap, inherited: ReadonlyMap<number, SourcePlace & { readonly family: Family }>): ServiceSources {
  const places = new Map<number, Held>();
  const lengths = new Map<number, number>();
  for (const [first, { content, length, depth }] of inheritedLists(map, [...inherited.values()])) {
    places.set(first, { first, depth, content, unwritten: undefined, users: 0 });
    lengths.set(first, length);
  }
  const row = createStretches(map.info.valueSize / lineSize - LbSourceLayout.BEYOND, Array.from(lengths, ([first, length]) => ({ first, length })));
  const held = new Map<number, Held>();
  const byContent = new Map(Array.from(places.values(), (one) => [one.content, one]));
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
  const setApart = (depth: number, bytes: Uint8Array, content: string): Held | undefined => {
    const stretch = row.take(bytes.length / lineSize);
    if (stretch === undefined) return undefined;
    const one: Held = { first: stretch.first, depth, content, unwritten: bytes, users: 0 };
    byContent.set(content, one);
    left.add(one);
    return one;
  };
  const write = (one: Held): void => {
    if (one.unwritten === undefined) return;
    map.store(one.first * (lineSize / 8), one.unwritten);
    one.unwritten = undefined;
  };
  return {
    reserve: (plan) => {
      const { family, sources } = plan;
      if (!asksSources(sources) || reserved.has(plan)) return true;
      const { depth, bytes } = listOf(sources, family);
      const content = contentOf(family, depth, bytes);
      const one = byContent.get(content) ?? setApart(depth, bytes, content);
      if (one === undefined) return false;
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
    done: () => {
      reserved.clear();
      for (const one of left) if (one.users > 0) left.delete(one);
      return left.size > 0;
    },
    release: () => {
      for (const one of left) {
        if (one.users > 0) continue;
        if (byContent.get(one.content) === one) byContent.delete(one.content);
        row.give(one.first);
      }
      left.clear();
    },
  };
}

export function asksSources({ allow, deny }: Sources): boolean {
  return allow !== null || deny.length > 0;
}

/** What an earlier agent wrote, by first lines. */
function inheritedLists(map: KernelMap, places: readonly (SourcePlace & { readonly family: Family })[]): ReadonlyMap<number, { readonly depth: number; readonly length: number; readonly content: string }> {
  const asking = places.filter(({ depth }) => depth > 0);
  const lines = (asking.length === 0 ? undefined : map.get(u32.encode(0))) ?? new Uint8Array();
  return new Map(asking.map(({ first, depth, family }) => {
    const length = lineCount(depth, lines.subarray(lineSize * first), family);
    return [first, { depth, length, content: contentOf(family, depth, lines.subarray(lineSize * first, lineSize * (first + length))) }];
  }));
}

function contentOf(family: Family, depth: number, bytes: Uint8Array): string {
  return `${family} ${depth} ${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("base64")}`;
}
