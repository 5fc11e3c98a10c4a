// Services, containers and problems as tests write and read them.
import { ServiceProblems } from "../../../src/lb/problems.ts";
import { readServices } from "../../../src/lb/read.ts";
import type { Service, ServingContainer } from "../../../src/lb/types.ts";
import type { Ip } from "../../../src/std/ip.ts";

/** The contract's example. */
export const example = `service: web
frontends: ["203.0.113.10:80/tcp", "[2001:db8::10]:80/tcp"]
backends:
  - { select: { network: shop, label: "app=web" }, port: 8080 }    # containers, on every node, as they come and go
  - { address: 192.0.2.7:8080, weight: 2 }                         # any other server
mode: auto                     # auto | dsr | snat; the default is the configuration's
algorithm: maglev
affinity: { by: client, timeout: 3h }      # left out: none
sources: { allow: [0.0.0.0/0], deny: [198.51.100.0/24] }
health: { kind: http, path: /healthz, interval: 2s, timeout: 1s, rise: 2, fall: 3 }   # tcp | http | none
drain: 30s                     # established flows keep going to a backend that leaves, for this long
`;

/** A service of the lines, below a name, a frontend and a selector of which each may be replaced. */
export function serviceWith(...lines: readonly string[]): string {
  const given = new Set(lines.map((line) => /^\w+/.exec(line)?.[0]));
  const usual = ["service: web", 'frontends: ["203.0.113.10:80"]', "backends: [{ select: { network: shop }, port: 8080 }]"];
  return [...usual.filter((line) => !given.has(/^\w+/.exec(line)?.[0])), ...lines, ""].join("\n");
}

export function read(text: string): Service {
  const [service, ...more] = readServices([{ file: "web.yaml", text }]);
  if (service === undefined || more.length > 0) throw new Error("not one service");
  return service;
}

/** `line:column: message` of every problem of one file; throws when there is none. */
export function problemsOf(text: string): readonly string[] {
  return problemsIn(() => readServices([{ file: "web.yaml", text }])).map((line) => line.slice("web.yaml:".length));
}

export function problemsIn(work: () => unknown): readonly string[] {
  try {
    work();
  } catch (error) {
    if (!(error instanceof ServiceProblems)) throw error;
    return error.problems.map(({ place: { file, line, column }, message }) => `${file}:${line}:${column}: ${message}`);
  }
  throw new Error("no problem was found");
}

/** An address that containers alone can have, as an engine tells of it: nobody's, or on a node that tells nothing. */
export function place(address: string, node: string | null = null): ServingContainer {
  const six = address.includes(":");
  return {
    node, id: address, name: null, network: null, project: null, service: null, labels: {}, stopping: node === null,
    ipv4: six ? null : (address as Ip), ipv6: six ? (address as Ip) : null,
  };
}

/** `name` as `NODE/NAME`; its address is made of `last`. */
export function container(name: string, last: number, more: Partial<ServingContainer> = {}): ServingContainer {
  const [node = "", own = ""] = name.split("/");
  return {
    node, id: `${name}#1`, name: own, network: "shop", project: null, service: null, labels: { app: "web" }, stopping: false,
    ipv4: `10.44.${last >> 8}.${last & 255}` as Ip, ipv6: `fd44::${last.toString(16)}` as Ip, ...more,
  };
}
