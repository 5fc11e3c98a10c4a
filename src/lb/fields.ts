// The words of a service: addresses with ports, times, whole numbers, choices.
import { nearest, slip } from "../std/nearest.ts";
import { messageOf } from "../std/errors.ts";
import { parseIp } from "../std/ip.ts";
import type { Ip } from "../std/ip.ts";
import { quoted } from "../yaml/render.ts";
import { slice, wrong } from "../yaml/text.ts";
import type { Text } from "../yaml/text.ts";
import { impossibleFrontend } from "./addresses.ts";
import type { Frontend, ServiceProtocol } from "./types.ts";

const protocols: readonly ServiceProtocol[] = ["tcp", "udp", "sctp"];

/** `203.0.113.10:80/tcp`, `[2001:db8::10]:53/udp`; without a protocol it is tcp. */
export function parseFrontend(text: Text): Frontend {
  // That of a protocol; a URL's two are part of what is no address.
  const slash = text.text.includes("://") ? -1 : text.text.indexOf("/");
  const { address, port } = parseEnd(slash < 0 ? text : slice(text, 0, slash), "a frontend");
  const named = slash < 0 ? "tcp" : text.text.slice(slash + 1).trim();
  const protocol = protocols.find((one) => one === named);
  if (protocol === undefined) throw wrong(slice(text, slash + 1), `${quoted(named)} is no protocol of a frontend; there are ${protocols.join(", ")}`);
  const impossible = impossibleFrontend(address);
  if (impossible !== undefined) throw wrong(text, impossible);
  return { address, port, protocol };
}

/** `192.0.2.7:8080` or `[2001:db8::7]:8080`. */
export function parseEnd(text: Text, what: string): { readonly address: Ip; readonly port: number } {
  const found = /^(?:\[([^\]]*)\]|([^:]*)):(\d+)$/.exec(text.text);
  if (found === null) throw wrong(text, `${quoted(text.text)} is no address with a port, as ${what} is written: 192.0.2.7:8080 or [2001:db8::7]:8080${meantBy(text.text)}`);
  const inBrackets = found[1] !== undefined;
  const written = found[1] ?? found[2] ?? "";
  const address = parsedOr(slice(text, inBrackets ? 1 : 0, (inBrackets ? 1 : 0) + written.length));
  const port = parsePort(slice(text, text.text.lastIndexOf(":") + 1));
  return { address, port };
}

/** `203.0.113.10:80`, `[2001:db8::10]:80`. */
export function endText({ address, port }: { readonly address: Ip; readonly port: number }): string {
  return `${address.includes(":") ? `[${address}]` : address}:${port}`;
}

/** What was forgotten, in words behind the rule; of groups of digits behind an IPv6 address the last may be the port, or none. */
function meantBy(text: string): string {
  const bare = parsed(text);
  const behind = /^(.*):(\d{1,5})$/.exec(text);
  const address = behind === null ? null : parsed(behind[1] ?? "");
  const within = parsed(/^\[(.*)\]$/.exec(text)?.[1] ?? "");
  if (within !== null) return `; its port is missing: ${text}:80`;
  if (/:\d+-\d+$/.test(text)) return "; it has one port and no range: list one for each";
  if (bare === null) return /^\w+:\/\//.test(text) ? "; it is no URL: leave out what is before the address and behind the port" : "";
  const whole = endText({ address: bare, port: 80 });
  if (address !== null && address.includes(":")) return `; did you mean ${endText({ address, port: Number(behind?.[2]) })}, or ${whole}?`;
  return `; its port is missing: ${whole}`;
}

function parsed(text: string): Ip | null {
  try {
    return parseIp(text);
  } catch {
    return null;
  }
}

function parsedOr(text: Text): Ip {
  try {
    return parseIp(text.text);
  } catch (error) {
    const reason = messageOf(error).replace(/^address: /, "");
    throw wrong(text, reason.length < 200 ? `${reason}${unsupported(text.text)}` : `${quoted(text.text)} is no address`);
  }
}

/** Why something that looks like an address is none here. */
function unsupported(text: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(text);
  if (mapped !== null) return `: it is an IPv4 address within IPv6; write ${mapped[1]}`;
  if (/^[\da-f:.]+%/i.test(text)) return ": a zone (what is behind %) means one link of one host; write an address that means the same everywhere";
  return /[a-z]/i.test(text) && !text.includes(":") ? "; names are not looked up" : "";
}

export function parsePort(text: Text): number {
  return parseWhole(text, 1, 65_535, "a port");
}

/** @throws Problems saying what it must be */
export function parseWhole(text: Text, least: number, most: number, what: string): number {
  const value = /^\d{1,9}$/.test(text.text) ? Number(text.text) : Number.NaN;
  if (!(value >= least && value <= most)) throw wrong(text, `${quoted(text.text)} is not ${what}: a whole number from ${least} to ${most}`);
  return value;
}

const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `500ms`, `30s`, `5m`, `3h`, `1d`: milliseconds. */
export function parseTime(text: Text, least: number, most: number): number {
  const found = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text.text);
  if (found === null) {
    const meant = /^\d+$/.test(text.text) ? `; did you mean ${text.text.slice(0, 12)}s?` : "";
    throw wrong(text, `${quoted(text.text)} is no time; one is written 500ms, 30s, 5m, 3h or 1d${meant}`);
  }
  const value = Number(found[1]) * (units[found[2] ?? ""] ?? 0);
  if (value < least || value > most) throw wrong(text, `${text.text} is out of range: from ${timeText(least)} to ${timeText(most)}`);
  return value;
}

/** The shortest way to write it. */
export function timeText(milliseconds: number): string {
  const [unit, size] = Object.entries(units).toReversed().find(([, one]) => milliseconds % one === 0 && milliseconds >= one) ?? ["s", 1000];
  return `${milliseconds / size}${unit}`;
}

export function parseChoice<const T extends string>(text: Text, key: string, choices: readonly T[]): T {
  const found = choices.find((one) => one === text.text);
  if (found !== undefined) return found;
  const meant = nearest(text.text, choices, slip);
  throw wrong(text, `${quoted(key)} is ${quoted(text.text)}, but must be ${listed(choices)}${meant === undefined ? "" : `; did you mean ${meant}?`}`);
}

function listed(choices: readonly string[]): string {
  return choices.length < 2 ? choices.join("") : `${choices.slice(0, -1).join(", ")} or ${choices.at(-1)}`;
}
