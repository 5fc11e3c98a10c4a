// Ports as written: `80`, `8000-8100/udp`, `icmp`, `icmp(echo, 3/4)`.
import { nearest, slip } from "../std/nearest.ts";
import { quoted } from "../yaml/render.ts";
import { call, slice, split, wrong } from "../yaml/text.ts";
import type { Text } from "../yaml/text.ts";
import type { PortRange } from "./types.ts";

const protocols: readonly string[] = ["tcp", "udp", "sctp"];

/** Types of ICMP (RFC 792) and ICMPv6 (RFC 4443, 4861) that have a name; one family may lack it. A pair is a type and its only code. */
const icmpNames: Readonly<Record<string, { readonly icmp?: number | readonly [number, number]; readonly icmpv6?: number }>> = {
  echo: { icmp: 8, icmpv6: 128 },
  "echo-request": { icmp: 8, icmpv6: 128 },
  "echo-reply": { icmp: 0, icmpv6: 129 },
  unreachable: { icmp: 3, icmpv6: 1 },
  "too-big": { icmp: [3, 4], icmpv6: 2 },
  "time-exceeded": { icmp: 11, icmpv6: 3 },
  "parameter-problem": { icmp: 12, icmpv6: 4 },
  redirect: { icmp: 5, icmpv6: 137 },
  timestamp: { icmp: 13 },
  "timestamp-reply": { icmp: 14 },
  "router-solicitation": { icmp: 10, icmpv6: 133 },
  "router-advertisement": { icmp: 9, icmpv6: 134 },
  "neighbor-solicitation": { icmpv6: 135 },
  "neighbor-advertisement": { icmpv6: 136 },
};

/** Whether an item between commas goes on with the ports before it, and is no peer. */
export function looksLikePort(word: string): boolean {
  return /^\d+(?:-\d*)?(?:\/[a-z]\w*)?$/i.test(word) || isIcmp(word);
}

export function isIcmp(word: string): boolean {
  return /^icmp(?:v6)?(?:\(|$)/.test(word);
}

/** One item. Ports are numbers from 1 to 65535. */
export function parsePort(text: Text): readonly PortRange[] {
  if (isIcmp(text.text)) return parseIcmp(text);
  const found = /^(\d+)(?:-(\d+))?(?:\/(.*))?$/.exec(text.text);
  if (found === null) {
    if (protocols.includes(text.text.replace(/^\//, ""))) throw wrong(text, `every port of a protocol is written 1-65535/${text.text.replace(/^\//, "")}`);
    throw wrong(text, `${quoted(text.text)} is no port: ports are written 80, 8000-8100, 53/udp, icmp or icmp(echo)`);
  }
  const protocol = found[3] ?? "tcp";
  if (protocol !== "tcp" && protocol !== "udp" && protocol !== "sctp") {
    if (isIcmp(protocol)) throw wrong(text, `${protocol} has no ports; it is written alone: icmp, or icmp(TYPE/CODE)`, text.text.indexOf("/") + 1);
    const meant = nearest(protocol, protocols, () => 2);
    throw wrong(text, `${quoted(protocol)} is no protocol with ports; ${meant === undefined ? "there" : `did you mean ${meant}? There`} are tcp, udp and sctp`, text.text.indexOf("/") + 1);
  }
  const first = portNumber(text, found[1] ?? "", 0);
  const last = found[2] === undefined ? first : portNumber(text, found[2], text.text.indexOf("-") + 1);
  if (last < first) throw wrong(text, `the range ${first}-${last} ends before it begins`);
  return [{ protocol, first, last }];
}

function portNumber(text: Text, digits: string, at: number): number {
  const port = Number(digits);
  if (port < 1 || port > 65535) throw wrong(text, `${digits.slice(0, 12)} is no port; ports are 1 to 65535`, at);
  return port;
}

function parseIcmp(text: Text): readonly PortRange[] {
  if (text.text === "icmp") return [all("icmp"), all("icmpv6")];
  if (text.text === "icmpv6") return [all("icmpv6")];
  const family = text.text.startsWith("icmpv6") ? "icmpv6" : "icmp";
  const { inside, rest } = call(text, family) ?? { inside: text, rest: text };
  if (rest.text !== "") throw wrong(rest, `${quoted(rest.text)} after ${family}(…)`);
  return split(inside, ",").flatMap((item) => icmpItem(family, item));
}

function icmpItem(family: "icmp" | "icmpv6", item: Text): readonly PortRange[] {
  const numbers = /^(\d{1,3})(?:\/(\d{1,3}))?$/.exec(item.text);
  if (numbers !== null) {
    const [type, code] = [Number(numbers[1]), numbers[2] === undefined ? null : Number(numbers[2])];
    if (type > 255 || (code ?? 0) > 255) throw wrong(item, `${item.text} is no ICMP type and code; both are 0 to 255`);
    return [typed(family, type, code)];
  }
  const named = Object.hasOwn(icmpNames, item.text) ? icmpNames[item.text] : undefined;
  if (named === undefined) {
    const names = Object.keys(icmpNames);
    const meant = nearest(item.text, names, slip);
    const offer = meant === undefined ? `there are ${names.join(", ")}` : `did you mean ${meant}?`;
    throw wrong(item, `${quoted(item.text)} is neither a name nor a number of an ICMP message; ${offer}`);
  }
  const four = family === "icmp" && named.icmp !== undefined ? [pair(named.icmp)] : [];
  const six = named.icmpv6 === undefined ? [] : [typed("icmpv6", named.icmpv6, null)];
  if (four.length + six.length === 0) throw wrong(item, `${item.text} is no message of ICMPv6`);
  return [...four, ...six];
}

function pair(type: number | readonly [number, number]): PortRange {
  return typeof type === "number" ? typed("icmp", type, null) : typed("icmp", type[0], type[1]);
}

function all(protocol: "icmp" | "icmpv6"): PortRange {
  return { protocol, first: 0, last: 0xffff };
}

function typed(protocol: "icmp" | "icmpv6", type: number, code: number | null): PortRange {
  return { protocol, first: type * 256 + (code ?? 0), last: type * 256 + (code ?? 255) };
}

/** `web:80` as `web` and `80`, `[2001:db8::1]:443` as `2001:db8::1` and `443`; ports null when there are none. */
export function cutPorts(word: Text): { readonly head: Text; readonly ports: Text | null } {
  const { text } = word;
  const [colon, parenthesis] = [text.indexOf(":"), text.indexOf("(")];
  const called = parenthesis >= 0 && (colon < 0 || parenthesis < colon) ? call(word, text.slice(0, parenthesis)) : null;
  if (called !== null) return behind(word, slice(word, 0, called.rest.offset - word.offset), called.rest);
  if (text.startsWith("[") && text.includes("]")) return behind(word, slice(word, 1, text.indexOf("]")), slice(word, text.indexOf("]") + 1));
  if (colon < 0) return { head: word, ports: null };
  if (text.includes(":", colon + 1) && parenthesis < 0) {
    if (/\/\d+:/.test(text)) throw wrong(word, "an IPv6 prefix with a port is written in brackets: [2001:db8::/48]:443");
    return { head: word, ports: null };
  }
  return { head: slice(word, 0, colon), ports: needed(word, slice(word, colon + 1)) };
}

function behind(word: Text, head: Text, rest: Text): { readonly head: Text; readonly ports: Text | null } {
  if (rest.text === "") return { head, ports: null };
  if (!rest.text.startsWith(":")) throw wrong(rest, `${quoted(rest.text)} where a ":" and a port, or the end was expected`);
  return { head, ports: needed(word, slice(rest, 1)) };
}

function needed(word: Text, ports: Text): Text {
  if (ports.text === "") throw wrong(word, `a port is missing after the ":" of ${quoted(word.text)}`, word.text.length);
  return ports;
}
