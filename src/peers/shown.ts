// Nodes as lists and the status show them.
import { slicesOf } from "../engine/shared.ts";
import type { NodeView, PartStatus } from "../engine/types.ts";
import { familyOf } from "../std/ip.ts";
import type { Cidr, Family, Ip } from "../std/ip.ts";
import type { Probes } from "./probes.ts";

export interface ShownNode {
  readonly name: string;
  readonly addresses: readonly Ip[];
  readonly ipv4: Cidr | null;
  readonly ipv6: Cidr | null;
  readonly more?: readonly Cidr[];
  readonly mtu: number;
  readonly endpoints: number;
}

const namesShown = 5;

export function viewOf(node: ShownNode, { state, lastSeen, rttMs }: Pick<NodeView, "state" | "lastSeen" | "rttMs">): NodeView {
  const { name, addresses, mtu, endpoints } = node;
  const slices = (family: Family): string => slicesOf(node).filter((slice) => familyOf(slice) === family).join(", ");
  return { name, address: addresses[0] ?? "", ipv4: slices(4), ipv6: slices(6), state, lastSeen, rttMs, mtu, endpoints };
}

/** This node first, the others by name. */
export function viewsOf(self: ShownNode, others: readonly ShownNode[], probes: Probes, now: number): readonly NodeView[] {
  const sorted = others.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  return [viewOf(self, { state: "self", lastSeen: now, rttMs: null }), ...sorted.map((node) => viewOf(node, probes.seen(node.name)))];
}

/** `wrong` comes first; without it, a node that does not answer is what is wrong. */
export function statusOf(nodes: readonly NodeView[], wrong: readonly string[], notes: readonly string[]): PartStatus {
  const others = nodes.filter(({ state }) => state !== "self");
  const silent = others.filter(({ state }) => state === "unreachable");
  const answering = others.filter(({ rttMs, state }) => rttMs !== null && state === "ready");
  const counted = `${others.length} other ${others.length === 1 ? "node" : "nodes"}`;
  const times = shorten(answering.map(({ name, rttMs }) => `${name} ${(rttMs ?? 0).toFixed(1)} ms`));
  const detail = [
    ...wrong, times === "" ? counted : `${counted}: ${times}`,
    ...(silent.length === 0 ? [] : [`without an answer: ${shorten(silent.map(({ name, lastSeen }) => `${name} (${lastSeen === 0 ? "never" : `last ${new Date(lastSeen).toISOString()}`})`))}`]),
    ...notes,
  ].join("; ");
  return { part: "peers", state: wrong.length + silent.length > 0 ? "degraded" : "ok", detail };
}

function shorten(texts: readonly string[]): string {
  return `${texts.slice(0, namesShown).join(", ")}${texts.length > namesShown ? `, and ${texts.length - namesShown} more` : ""}`;
}
