// One peer as written: a name, NETWORK/NAME, label(…), net(…), addresses, @SET or an entity.
import { nearest, slip } from "../std/nearest.ts";
import { looksLikeAddress, parseRange } from "./addresses.ts";
import { meantEntity, parseEntity } from "./entities.ts";
import { quoted } from "../yaml/render.ts";
import { call, slice, wrong } from "../yaml/text.ts";
import type { Text } from "../yaml/text.ts";
import type { AddressRange, Peer } from "./types.ts";

export interface PeerContext {
  /** The policy's sets, written out. */
  readonly sets: ReadonlyMap<string, readonly AddressRange[]>;
  /** What a bare name's network is; null: the policy's own network or project. */
  readonly network: string | null;
}

/** The words of one peer, at least one: several only for `A except B and C`. */
export function parsePeer(parts: readonly Text[], context: PeerContext): Peer {
  const [first, second] = parts;
  if (first === undefined) throw new RangeError("parsePeer needs a word");
  const place = first.place(first.offset);
  if (second !== undefined && second.text !== "except") {
    throw wrong(second, `${quoted(second.text)} after ${quoted(first.text)}: several peers are separated by commas`);
  }
  if (looksLikeAddress(first.text)) return { kind: "addresses", ranges: [parseRange(parts)], set: null, place };
  if (second !== undefined) throw wrong(second, `"except" follows an address, and ${quoted(first.text)} is none; write what is not meant as a deny rule`);
  if (first.text.startsWith("@")) return { kind: "addresses", ...parseSet(first, context), place };
  const label = call(first, "label");
  if (label !== null) return { kind: "labels", labels: parseLabels(ended(label)), place };
  const net = call(first, "net");
  if (net !== null) return { kind: "network", name: parseNetwork(ended(net)), place };
  if (/[()]/.test(first.text)) throw wrong(first, `${quoted(first.text)} is no peer; with parentheses there are label(k=v) and net(NAME)`);
  const entity = parseEntity(first.text);
  if (entity !== null) return { kind: "entity", entity, place };
  return { kind: "name", ...parseName(first, context.network), place };
}

function ended({ inside, rest }: { readonly inside: Text; readonly rest: Text }): Text {
  if (rest.text !== "") throw wrong(rest, `${quoted(rest.text)} after the ")"`);
  return inside;
}

function parseSet(word: Text, { sets }: PeerContext): { readonly ranges: readonly AddressRange[]; readonly set: string } {
  const set = word.text.slice(1);
  const ranges = sets.get(set);
  if (ranges !== undefined) return { ranges, set };
  const meant = nearest(set, [...sets.keys()], slip);
  const offer = meant !== undefined ? `did you mean @${meant}?` : sets.size === 0 ? 'this policy has no "sets"' : `there are ${[...sets.keys()].slice(0, 20).map((name) => name.slice(0, 64)).join(", ")}`;
  throw wrong(word, `there is no set ${quoted(set)}; ${offer}`);
}

/** The inside of `label(k=v, other)`: several with commas, a key alone is there with any value. A value may be quoted. */
export function parseLabels(inside: Text): Readonly<Record<string, string | null>> {
  const labels = new Map<string, string | null>();
  for (const item of splitQuoted(inside)) {
    const equals = item.text.indexOf("=");
    const key = (equals < 0 ? item.text : item.text.slice(0, equals)).trim();
    if (key === "" || /[\s"]/.test(key)) throw wrong(item, `${quoted(item.text)} is no label; labels are written key=value, or key alone for any value`);
    if (labels.has(key)) throw wrong(item, `the label ${quoted(key)} is here twice`);
    labels.set(key, equals < 0 ? null : unquoted(slice(item, equals + 1)));
  }
  return Object.fromEntries(labels);
}

function splitQuoted(inside: Text): readonly Text[] {
  const parts: Text[] = [];
  let [start, inQuote] = [0, false];
  for (let i = 0; i < inside.text.length; i++) {
    if (inside.text[i] === '"') inQuote = !inQuote;
    else if (inside.text[i] === "," && !inQuote) {
      parts.push(slice(inside, start, i));
      start = i + 1;
    }
  }
  if (inQuote) throw wrong(inside, `a quote is not closed in ${quoted(inside.text)}`);
  return [...parts, slice(inside, start)];
}

function unquoted(value: Text): string {
  const found = /^"([^"]*)"$/.exec(value.text);
  if (found === null && value.text.includes('"')) throw wrong(value, `quotes stand around the whole value: "${value.text.replaceAll('"', "").slice(0, 80)}"`);
  return found?.[1] ?? value.text;
}

export function parseNetwork(text: Text): string {
  if (!isName(text.text)) throw wrong(text, `${quoted(text.text)} is no network's name`);
  return text.text;
}

/** What Docker takes as the name of a container or network, and Compose as a service's. */
export function isName(text: string): boolean {
  return /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}$/.test(text);
}

export function parseName(word: Text, network: string | null): { readonly network: string | null; readonly name: string } {
  const { text } = word;
  if (text.includes("/")) {
    const [net, name, more] = text.split("/", 3);
    if (more === undefined && isName(net ?? "") && isName(name ?? "")) return { network: net ?? "", name: name ?? "" };
    throw wrong(word, `${quoted(text)} is no peer: a container on another network is written NETWORK/NAME`);
  }
  if (/^(?:\*\.)?(?:[\w-]+\.)+[\w-]+\.?$/.test(text)) {
    throw wrong(word, `${quoted(text)} is a domain name, and this build has no rules for those; name addresses, or a container as NETWORK/NAME`);
  }
  const meant = meantEntity(text);
  if (meant !== undefined) {
    throw wrong(word, `${quoted(text)}: did you mean the entity "${meant}"? A container of that name is written NETWORK/NAME`);
  }
  if (/^\d+(?:-\d+)?$/.test(text)) throw wrong(word, `${text.slice(0, 20)} is a number and no peer: ports follow a peer and a ":"`);
  if (isName(text)) return { network, name: text };
  throw wrong(word, `${quoted(text)} is no peer: write a name, NETWORK/NAME, label(k=v), net(NAME), an address, @SET or an entity such as any or world`);
}
