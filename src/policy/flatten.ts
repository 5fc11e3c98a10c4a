// Makes of rules that overlap one function of protocol and port, written as few prefixes as can be.
import type { PortRange, PortRow, Protocol, Verdict } from "./types.ts";

/** A rule as ports see it. In lists of these the stronger stands first: the first that matches decides. */
export interface FlatRule {
  /** Its number in the tables. */
  readonly number: number;
  readonly verdict: Verdict;
  /** Empty: every port of every protocol. */
  readonly ports: readonly PortRange[];
}

export type FlatRow = Omit<PortRow, "ruleset">;

export const protocolNumbers: Readonly<Record<Protocol, number>> = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132 };
const protocols = Object.entries(protocolNumbers) as readonly (readonly [Protocol, number])[];

/** Ports, and types × 256 + codes. */
const portBits = 16;
const portCount = 2 ** portBits;
const none = -1;

/** Rows for the longest prefix to decide; what no row covers no rule speaks of. */
export function flatten(rules: readonly FlatRule[]): FlatRow[] {
  const widest = rules.findIndex(({ ports }) => ports.length === 0);
  // What is weaker than a rule for everything never decides.
  const specific = widest < 0 ? rules : rules.slice(0, widest);
  const rows: FlatRow[] = [];
  const emit = (protocol: number | null, port: number, bits: number, rule: number): void => {
    const { number, verdict, ports } = rules[rule] as FlatRule;
    rows.push({ protocol, port, bits, verdict, wide: ports.length === 0, rule: number });
  };
  if (widest >= 0) emit(null, 0, 0, widest);
  for (const [name, number] of protocols) {
    const segments = paint(specific, name, widest);
    if (segments.length === 1 && segments[0]?.rule === widest) continue;
    assign(plan(segments, 0, segments.length - 1, 0, portCount), widest, 0, 0, (port, bits, rule) => emit(number, port, bits, rule));
  }
  return rows;
}

/** From `first` to the next segment's one rule decides, or none. */
interface Segment {
  readonly first: number;
  readonly rule: number;
}

/** Every port of one protocol, each given to the first rule that names it. */
function paint(rules: readonly FlatRule[], protocol: Protocol, widest: number): readonly Segment[] {
  const ranges: { readonly first: number; readonly end: number; readonly rule: number }[] = [];
  for (const [rule, { ports }] of rules.entries()) {
    for (const range of ports) if (range.protocol === protocol) ranges.push({ first: range.first, end: range.last + 1, rule });
  }
  if (ranges.length === 0) return [{ first: 0, rule: widest }];
  const bounds = [...new Set([0, portCount, ...ranges.flatMap(({ first, end }) => [first, end])])].toSorted((a, b) => a - b);
  const cellAt = new Map(bounds.map((bound, cell) => [bound, cell]));
  const owners = new Int32Array(bounds.length - 1).fill(widest);
  /** The cell itself while nobody owns it, else a later one: a cell is painted once, however many rules name it. */
  const next = Int32Array.from(bounds, (_, cell) => cell);
  const free = (start: number): number => {
    let cell = start;
    while ((next[cell] as number) !== cell) {
      next[cell] = next[next[cell] as number] as number;
      cell = next[cell] as number;
    }
    return cell;
  };
  for (const { first, end, rule } of ranges) {
    const last = cellAt.get(end) as number;
    for (let cell = free(cellAt.get(first) as number); cell < last; cell = free(cell)) {
      owners[cell] = rule;
      next[cell] = cell + 1;
    }
  }
  const segments: Segment[] = [];
  for (const [cell, rule] of owners.entries()) {
    if (segments.at(-1)?.rule !== rule) segments.push({ first: bounds[cell] as number, rule });
  }
  return segments;
}

/** A node of the prefix tree: which rules may stand at it so that fewest rows are needed (Draves et al., ORTC). */
interface Node {
  /** Ascending. Exactly `none` where some port below is nobody's: a row here would cover it. */
  readonly wants: readonly number[];
  readonly halves: readonly [Node, Node] | null;
}

function plan(segments: readonly Segment[], from: number, to: number, first: number, size: number): Node {
  if (from === to) return { wants: [(segments[from] as Segment).rule], halves: null };
  const middle = first + size / 2;
  let [low, high] = [from, to];
  while (low < high) {
    const probe = (low + high + 1) >> 1;
    if ((segments[probe] as Segment).first <= middle) low = probe;
    else high = probe - 1;
  }
  // `low` is the segment that holds the middle; when it begins there, the lower half ends with the one before.
  const before = (segments[low] as Segment).first === middle ? low - 1 : low;
  const halves = [plan(segments, from, before, first, size / 2), plan(segments, low, to, middle, size / 2)] as const;
  return { wants: join(halves[0].wants, halves[1].wants), halves };
}

function join(a: readonly number[], b: readonly number[]): readonly number[] {
  if (a[0] === none || b[0] === none) return [none];
  const both = new Set(b);
  const common = a.filter((rule) => both.has(rule));
  return common.length > 0 ? common : [...new Set([...a, ...b])].toSorted((x, y) => x - y);
}

function assign(node: Node, inherited: number, first: number, bits: number, emit: (port: number, bits: number, rule: number) => void): void {
  const rule = node.wants.includes(inherited) ? inherited : (node.wants[0] as number);
  if (rule !== inherited) emit(first, bits, rule);
  if (node.halves === null) return;
  assign(node.halves[0], rule, first, bits + 1, emit);
  assign(node.halves[1], rule, first + portCount / 2 ** (bits + 1), bits + 1, emit);
}
