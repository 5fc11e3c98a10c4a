// Policy for packet tests, written as tables: every container a class of its own, and what one end's rules say of another end.
import type { ClassRow, PolicyTables, PortRow, Verdict } from "../../src/policy/types.ts";
import { familyOf, parseCidr, parseIp } from "../../src/std/ip.ts";
import type { Cidr } from "../../src/std/ip.ts";

export interface Subject {
  readonly identity: number;
}

export interface Said {
  readonly rule: number;
  readonly verdict: Verdict;
  readonly end: "in" | "out";
  readonly subject: Subject;
  /** `any`: whoever is not named. An address or a CIDR is of no container. */
  readonly peer: Subject | string;
  readonly port: string;
}

/** `port`: IANA protocol, port and how many of its bits count, `6 80/16`; none: every port of every protocol. */
export function said(rule: number, verdict: Verdict, end: "in" | "out", subject: Subject, peer: Subject | string, port = "* 0/0"): Said {
  return { rule, verdict, end, subject, peer, port };
}

/** Both ends of one sentence. */
export function sentence(rule: number, verdict: Verdict, from: Subject, to: Subject, port?: string): readonly Said[] {
  return [said(rule, verdict, "out", from, to, port), said(rule, verdict, "in", to, from, port)];
}

export type Closed = Partial<Pick<ClassRow, "denyIn" | "denyOut" | "covered">>;

const worldClass = 1001;
const hostClass = 1002;
export const hostAddresses = ["192.0.2.1", "2001:db8::1", "10.44.0.1", "fd44::1", "10.44.1.1", "10.44.2.1", "10.44.3.1"];

export function tablesOf(subjects: readonly Subject[], rows: readonly Said[] = [], closed: ReadonlyMap<Subject, Closed> = new Map()): PolicyTables {
  const classes = new Map(subjects.map((subject) => [
    subject.identity, { class: subject.identity, denyIn: false, denyOut: false, covered: false, ...closed.get(subject) },
  ]));
  const prefixes = new Map<Cidr, number>([[parseCidr("0.0.0.0/0"), worldClass], [parseCidr("::/0"), worldClass]]);
  for (const address of hostAddresses) prefixes.set(cidrOf(address), hostClass);
  const pairs = new Map<string, number>();
  const ports = new Map<string, PortRow>();
  for (const row of rows) {
    const pair = `${row.end} ${row.subject.identity} ${peerClass(prefixes, row.peer)}`;
    const ruleset = pairs.get(pair) ?? pairs.size + 1;
    pairs.set(pair, ruleset);
    const [protocol = "*", range = "0/0"] = row.port.split(" ");
    const [port, bits] = range.split("/").map(Number);
    ports.set(`${ruleset} ${row.port}`, {
      ruleset, protocol: protocol === "*" ? null : Number(protocol), port: port ?? 0, bits: bits ?? 0, verdict: row.verdict, wide: protocol === "*", rule: row.rule,
    });
  }
  return { classes, prefixes, pairs, ports, rules: [] };
}

function peerClass(prefixes: Map<Cidr, number>, peer: Subject | string): number {
  if (typeof peer !== "string") return peer.identity;
  if (peer === "any") return 0;
  if (peer === "host") return hostClass;
  if (peer === "world") return worldClass;
  const cidr = cidrOf(peer);
  const known = prefixes.get(cidr) ?? 2000 + prefixes.size;
  prefixes.set(cidr, known);
  return known;
}

function cidrOf(text: string): Cidr {
  return parseCidr(text.includes("/") ? text : `${text}/${familyOf(parseIp(text)) === 4 ? 32 : 128}`);
}
