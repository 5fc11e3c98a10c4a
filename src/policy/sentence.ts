// One sentence, `web, @office -> api:80,8000-8100, db:5432 icmp(echo)`, as the rules that it means.
import { cutPorts, isIcmp, looksLikePort, parsePort } from "./ports.ts";
import { parsePeer } from "./peers.ts";
import type { PeerContext } from "./peers.ts";
import { quoted } from "../yaml/render.ts";
import { slice, split, words, wrong } from "../yaml/text.ts";
import type { Text } from "../yaml/text.ts";
import type { Action, Peer, PortRange, Rule } from "./types.ts";

/** Whose sentence it is. */
export interface RuleContext extends PeerContext {
  readonly policy: string;
  readonly action: Action;
}

export interface Target {
  readonly peer: Peer;
  /** Empty: every port of every protocol. */
  readonly ports: readonly PortRange[];
  /** As written. */
  readonly text: string;
}

/** Targets with the same ports share a rule; all rules of a sentence have its text and place. */
export function parseSentence(text: Text, context: RuleContext): readonly Rule[] {
  const [left, right, ...more] = split(text, "->");
  if (left === undefined || right === undefined) throw noSentence(text);
  if (more[0] !== undefined) throw wrong(more[0], "a sentence has one \"->\"; write two sentences");
  const from = parseSources(left, context);
  const targets = parseTargets(right, context, false);
  return rulesOf(text, context, from, targets);
}

export function rulesOf(text: Text, { policy, action }: RuleContext, from: readonly Peer[], targets: readonly Target[]): readonly Rule[] {
  const byPorts = new Map<string, { readonly to: Peer[]; readonly ports: readonly PortRange[] }>();
  for (const { peer, ports } of targets) {
    const key = ports.map(({ protocol, first, last }) => `${protocol} ${first}-${last}`).join();
    const group = byPorts.get(key);
    if (group === undefined) byPorts.set(key, { to: [peer], ports });
    else group.to.push(peer);
  }
  const place = text.place(text.offset);
  return [...byPorts.values()].map(({ to, ports }) => ({ policy, action, place, text: text.text, from, to, ports, ends: "both" as const }));
}

function noSentence(text: Text): Error {
  const arrow = /=>|→|<-|—>|~>/.exec(text.text);
  if (arrow !== null) return wrong(text, `"${arrow[0]}" is no arrow; a sentence is written FROM -> TO`, arrow.index);
  return wrong(text, `${quoted(text.text)} is no sentence; one is written FROM -> TO, such as web -> api:8080`);
}

/** The left side: peers without ports. */
export function parseSources(left: Text, context: PeerContext): readonly Peer[] {
  return items(left).map((item) => {
    const parts = words(item);
    const tail = parts.findIndex(({ text }) => isTail(text));
    const told = parts[tail];
    if (told !== undefined) throw wrong(told, `${quoted(told.text)} belongs to the end of the sentence`);
    const { peer, ports } = cutPeer(parts);
    if (ports !== null) throw wrong(ports, `${quoted(ports.text)}: ports belong to the right side of the "->": those are the ports that are opened`);
    return parsePeer(peer, context);
  });
}

/**
 * The right side. A number after a comma goes on with the ports before it; everything else is a peer with ports of its own. With
 * `alone` every item speaks for itself, as in a label. In a sentence what stands at its end is for all of them, and either all
 * have ports or none: whoever writes `-> web, api:8080` may mean port 8080 of both, and would open every port of web.
 */
export function parseTargets(right: Text, context: PeerContext, alone: boolean): readonly Target[] {
  const targets: { readonly peer: Peer; readonly item: Text; readonly ports: PortRange[]; readonly own: boolean; text: string }[] = [];
  const all = items(right);
  let tail: readonly PortRange[] = [];
  for (const [i, item] of all.entries()) {
    const parts = words(item);
    const cut = parts.findIndex(({ text }, at) => at > 0 && isTail(text));
    const [head, ending] = cut < 0 ? [parts, []] : [parts.slice(0, cut), parts.slice(cut)];
    const first = head[0];
    if (first === undefined) throw wrong(item, "a peer is missing here");
    const previous = targets.at(-1);
    if (looksLikePort(first.text)) {
      if (previous === undefined || !previous.own) throw wrong(first, `${quoted(first.text)} is a port without a peer; ports follow a peer and a ":"`);
      if (head[1] !== undefined) throw wrong(head[1], `${quoted(head[1].text)} after a port`);
      previous.ports.push(...parsePort(first));
      previous.text += `,${item.text}`;
    } else {
      const { peer, ports } = cutPeer(head);
      targets.push({ peer: parsePeer(peer, context), item, ports: ports === null ? [] : [...parsePort(ports)], own: ports !== null, text: item.text });
    }
    const told = ending.flatMap((word) => parseTail(word));
    if (alone) targets.at(-1)?.ports.push(...told);
    else if (i === all.length - 1) tail = told;
    else if (ending[0] !== undefined) throw wrong(ending[0], `${quoted(ending[0].text)} stands at the end of a sentence and is for all its peers; write two sentences`);
  }
  if (!alone) assertClear(targets);
  return targets.map(({ peer, ports, text }) => ({ peer, ports: [...ports, ...tail], text }));
}

function assertClear(targets: readonly { readonly item: Text; readonly own: boolean }[]): void {
  const bare = targets.find(({ own }) => !own);
  if (bare === undefined || targets.every(({ own }) => !own)) return;
  throw wrong(bare.item, `it is not clear which ports of ${quoted(bare.item.text)} are meant, because others here have some; write them, or two sentences`);
}

function items(side: Text): readonly Text[] {
  const parts = split(side, ",");
  const empty = parts.find(({ text }) => text === "");
  if (empty !== undefined) throw wrong(empty, parts.length === 1 ? "a peer is missing here" : "a peer is missing beside this comma");
  return parts;
}

/** The words of one peer, without the ports that its last one may carry. */
export function cutPeer(parts: readonly Text[]): { readonly peer: readonly Text[]; readonly ports: Text | null } {
  const last = parts.at(-1);
  if (last === undefined) return { peer: [], ports: null };
  const { head, ports } = cutPorts(last);
  if (head.text === "") throw wrong(last, `a peer is missing in ${quoted(last.text)}`);
  // Brackets may hold a whole `A except B`.
  return { peer: [...parts.slice(0, -1), ...words(head)], ports };
}

/** What comes behind the peers and is no peer. */
function isTail(word: string): boolean {
  return isIcmp(word) || unsupported(word) !== undefined;
}

function parseTail(word: Text): readonly PortRange[] {
  if (isIcmp(word.text)) return parsePort(word);
  const kind = unsupported(word.text);
  throw wrong(word, kind === undefined ? `${quoted(word.text)} is not understood behind ${quoted("icmp(…)")}` : notSupported(kind));
}

const applicationRules: readonly string[] = ["http", "grpc", "kafka", "tls", "limit"];

/** `tls`, or `http(` and what follows. */
export function unsupported(word: string): string | undefined {
  return applicationRules.find((kind) => word.startsWith(`${kind}(`) || (word === kind && kind === "tls"));
}

export function notSupported(kind: string): string {
  return kind === "limit"
    ? "this build has no limit(…) yet; it would not be enforced, so it is refused"
    : `this build has no application rules such as ${kind === "tls" ? "tls" : `${kind}(…)`} yet; it would not be enforced, so it is refused`;
}

/** One item of the long form's `ports`. */
export function parsePortItems(text: Text): readonly PortRange[] {
  return items(slice(text, 0)).flatMap((item) => parsePort(item));
}
