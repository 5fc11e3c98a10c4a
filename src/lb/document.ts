// One service as a map of YAML: its keys, each read into its value.
import { known } from "../yaml/keys.ts";
import type { Node, Page } from "../yaml/page.ts";
import { attempt, problem } from "../yaml/problems.ts";
import type { Problem } from "../yaml/problems.ts";
import { parsePrefix } from "../yaml/prefixes.ts";
import { quoted } from "../yaml/render.ts";
import { wrong } from "../yaml/text.ts";
import { impossibleServer } from "./addresses.ts";
import { endText, parseChoice, parseEnd, parseFrontend, parsePort, parseTime, parseWhole, timeText } from "./fields.ts";
import { readSelector } from "./selector.ts";
import type { BackendRule, Health, Service, Sources, WrittenFrontend } from "./types.ts";

const keys = ["service", "frontends", "backends", "mode", "algorithm", "affinity", "sources", "health", "drain"] as const;
const second = 1000;
const hour = 3600 * second;
const day = 24 * hour;

/** What a service is that does not say so itself. Probes are of the kind `tcp` where every frontend is, else there are none. */
export const defaults = {
  drain: 30 * second,
  affinity: 3 * hour,
  health: { path: "/", interval: 2 * second, timeout: second, rise: 2, fall: 3 },
  weight: 1,
} as const;
const heaviest = 1000;

/** undefined when it has problems, which then are among `problems`. */
export function readService(page: Page, problems: Problem[]): Service | undefined {
  const before = problems.length;
  const service = attempt(problems, (): Service | undefined => {
    const values = known(page, page.root, "a service", keys, problems);
    const given = values.get("service");
    if (given === undefined) throw problem(page.placeOf(page.root), "a service needs a name: service: NAME. Is this a service file?");
    const name = attempt(problems, () => readName(page, given));
    const items = <T>(key: "frontends" | "backends", read: (node: Node) => T): readonly T[] => readItems(page, values.get(key), key, read, problems);
    const frontends = items("frontends", (node): WrittenFrontend => ({ ...parseFrontend(page.text(node, "a frontend")), place: page.placeOf(node) }));
    const backends = items("backends", (node) => readBackend(page, node, problems));
    const read = <T>(key: (typeof keys)[number], work: (node: Node) => T, absent: T): T => {
      const node = values.get(key);
      return node === undefined ? absent : attempt(problems, () => work(node)) ?? absent;
    };
    const probes = frontends.length > 0 && frontends.every(({ protocol }) => protocol === "tcp") ? "tcp" : "none";
    const service: Service = {
      name: name ?? "", place: page.placeOf(given), frontends, backends: backends.filter((one) => one !== undefined),
      mode: read("mode", (node): Service["mode"] => parseChoice(page.text(node, '"mode"'), "mode", ["auto", "dsr", "snat"]), null),
      algorithm: read("algorithm", (node): Service["algorithm"] => parseChoice(page.text(node, '"algorithm"'), "algorithm", ["maglev"]), null),
      affinity: read("affinity", (node) => readAffinity(page, node, problems), null),
      sources: read("sources", (node) => readSources(page, node, problems), { allow: null, deny: [] }),
      health: read("health", (node) => readHealth(page, node, problems), { kind: probes, ...defaults.health }),
      drain: read("drain", (node) => parseTime(page.text(node, '"drain"'), 0, day), defaults.drain),
    };
    checkWhole(service, problems);
    return service;
  });
  return problems.length > before ? undefined : service;
}

function readName(page: Page, node: Node): string {
  const text = page.text(node, '"service"');
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/.test(text.text)) {
    throw wrong(text, `${quoted(text.text)} is no name of a service: 1 to 63 letters, digits, dots, dashes or underscores, of which the first is a letter or a digit`);
  }
  return text.text;
}

const examples = { frontends: '["203.0.113.10:80/tcp"]', backends: '[{ select: { network: shop, label: "app=web" }, port: 8080 }]' };

function readItems<T>(page: Page, node: Node | undefined, key: "frontends" | "backends", read: (node: Node) => T, problems: Problem[]): readonly T[] {
  if (node === undefined) {
    // Whoever misspelt it is told that alone.
    if (problems.length === 0) problems.push({ place: page.placeOf(page.root), message: `a service needs "${key}": ${examples[key]}` });
    return [];
  }
  if (!page.isList(node)) {
    problems.push({ place: page.placeOf(node), message: `"${key}" must be a list: ${examples[key]}` });
    return [];
  }
  const items = attempt(problems, () => page.list(node, `"${key}"`));
  if (items?.length === 0) problems.push({ place: page.placeOf(node), message: `"${key}" is empty; it is written so: ${examples[key]}` });
  return (items ?? []).flatMap((item) => attempt(problems, () => [read(item)]) ?? []);
}

/** undefined when it has problems, which then are among `problems`. */
function readBackend(page: Page, node: Node, problems: Problem[]): BackendRule | undefined {
  const forms = "{ select: { network: NAME, label: KEY=VALUE }, port: N } or { address: ADDRESS:PORT }";
  if (!page.isMap(node)) throw problem(page.placeOf(node), `a backend is ${forms}`);
  const before = problems.length;
  const values = known(page, node, "a backend", ["select", "port", "address", "weight"], problems);
  const place = page.placeOf(node);
  const [select, port, address, weighed] = [values.get("select"), values.get("port"), values.get("address"), values.get("weight")];
  const weight = weighed === undefined ? defaults.weight : attempt(problems, () => parseWhole(page.text(weighed, '"weight"'), 0, heaviest, "a weight"));
  if (problems.length > before) return undefined;
  if ((select === undefined) === (address === undefined)) throw problem(place, `a backend has one of "select" and "address", and this has ${select === undefined ? "none" : "both"}: ${forms}`);
  if (address !== undefined) {
    if (port !== undefined) throw problem(page.placeOf(port), 'the port of a backend with an address is written behind it: { address: 192.0.2.7:8080 }');
    const text = page.text(address, '"address"');
    const end = parseEnd(text, "a backend");
    const impossible = impossibleServer(end.address);
    if (impossible !== undefined) throw wrong(text, impossible);
    return { kind: "address", ...end, weight: weight ?? defaults.weight, place };
  }
  if (port === undefined) throw problem(place, 'a backend with "select" needs "port": the port on which the containers listen');
  const number = parsePort(page.text(port, '"port"'));
  return { kind: "select", ...readSelector(page, select as Node), port: number, weight: weight ?? defaults.weight, place };
}

/** As `known`, for what is often written as a word of its own. */
function knownOf<K extends string>(page: Page, node: Node, key: keyof typeof forms, keys: readonly K[], problems: Problem[]): ReadonlyMap<K, Node> {
  if (page.isMap(node)) return known(page, node, `"${key}"`, keys, problems);
  throw problem(page.placeOf(node), `"${key}" must be a map of keys, such as ${forms[key]}`);
}

const forms = { affinity: "{ by: client }", sources: "{ deny: [198.51.100.0/24] }", health: "{ kind: tcp } or { kind: none }" };

function readAffinity(page: Page, node: Node, problems: Problem[]): Service["affinity"] {
  const values = knownOf(page, node, "affinity", ["by", "timeout"], problems);
  const [by, timeout] = [values.get("by"), values.get("timeout")];
  if (by === undefined) throw problem(page.placeOf(node), '"affinity" needs "by": { by: client, timeout: 3h }');
  parseChoice(page.text(by, '"by"'), "by", ["client"]);
  return { by: "client", timeout: timeout === undefined ? defaults.affinity : parseTime(page.text(timeout, '"timeout"'), second, 30 * day) };
}

function readSources(page: Page, node: Node, problems: Problem[]): Sources {
  const values = knownOf(page, node, "sources", ["allow", "deny"], problems);
  const prefixes = (key: "allow" | "deny"): Sources["deny"] | null => {
    const value = values.get(key);
    if (value === undefined) return null;
    const items = page.list(value, `"${key}"`);
    if (key === "allow" && items.length === 0) throw problem(page.placeOf(value), '"allow" is empty, so that nobody could come; for everyone leave it out');
    return items.flatMap((item) => attempt(problems, () => [parsePrefix(page.text(item, "a prefix"))]) ?? []);
  };
  return { allow: prefixes("allow"), deny: prefixes("deny") ?? [] };
}

function readHealth(page: Page, node: Node, problems: Problem[]): Health {
  const values = knownOf(page, node, "health", ["kind", "path", "interval", "timeout", "rise", "fall"], problems);
  const read = <T>(key: "path" | "interval" | "timeout" | "rise" | "fall", work: (text: ReturnType<Page["text"]>) => T, absent: T): T => {
    const value = values.get(key);
    return value === undefined ? absent : attempt(problems, () => work(page.text(value, `"${key}"`))) ?? absent;
  };
  const given = values.get("kind");
  if (given === undefined) throw problem(page.placeOf(node), '"health" needs "kind": tcp, http or none');
  const kind = parseChoice(page.text(given, '"kind"'), "kind", ["tcp", "http", "none"]);
  const path = values.get("path");
  if (path !== undefined && kind !== "http") problems.push({ place: page.placeOf(path), message: `"path" is for probes of the kind http, and this one is ${kind}` });
  const health: Health = {
    kind,
    path: read("path", (text) => {
      if (/^\/[\x21-\x7e]{0,1023}$/.test(text.text)) return text.text;
      throw wrong(text, `${quoted(text.text)} is no path of a request: it begins with a slash, and has no spaces`);
    }, defaults.health.path),
    interval: read("interval", (text) => parseTime(text, 100, hour), defaults.health.interval),
    timeout: read("timeout", (text) => parseTime(text, 10, hour), defaults.health.timeout),
    rise: read("rise", (text) => parseWhole(text, 1, 100, "a number of answers"), defaults.health.rise),
    fall: read("fall", (text) => parseWhole(text, 1, 100, "a number of answers"), defaults.health.fall),
  };
  const [timeout, interval] = [values.get("timeout"), values.get("interval")];
  const late = timeout ?? interval;
  if (late !== undefined && health.timeout > health.interval) {
    const mend = timeout === undefined ? `write a shorter one, such as timeout: ${timeText(health.interval)}` : "shorten it";
    const of = (written: Node | undefined, time: number): string => (written === undefined ? ` (${timeText(time)} when it is left out)` : "");
    problems.push({
      place: page.placeOf(late),
      message: `the timeout${of(timeout, health.timeout)} is longer than the interval${of(interval, health.interval)}, so that probes would overlap; ${mend}, or lengthen the interval`,
    });
  }
  return health;
}

/** What no key is wrong by itself. */
function checkWhole({ frontends, backends, mode, health }: Service, problems: Problem[]): void {
  checkSctp(frontends, backends, problems);
  const families = new Set(frontends.map(({ address }) => address.includes(":")));
  for (const one of backends) {
    if (one.kind !== "address") continue;
    const six = one.address.includes(":");
    if (frontends.length > 0 && !families.has(six)) {
      problems.push({ place: one.place, message: `no frontend is ${six ? "IPv6" : "IPv4"}, so that ${one.address} would never be reached: addresses are not translated between families` });
    }
    if (frontends.some(({ address }) => address === one.address)) {
      problems.push({ place: one.place, message: `${endText(one)} is at the service's own address, so that it would ask itself; give the server's own address` });
    }
    const other = frontends.find(({ address, port }) => address.includes(":") === six && port !== one.port);
    if (mode === "dsr" && other !== undefined) {
      problems.push({
        place: one.place,
        message: `with mode dsr a server answers as the service itself, so that it must listen on the service's own port ${other.port} and not on ${one.port}; use mode auto or snat, or that port`,
      });
    }
  }
  const deaf = frontends.find(({ protocol }) => protocol !== "tcp");
  if (health.kind !== "none" && deaf !== undefined && frontends.every(({ protocol }) => protocol !== "tcp")) {
    problems.push({ place: deaf.place, message: `probes of the kind ${health.kind} need a port of TCP, and the service has none; write health: { kind: none }` });
  }
}

/** Its checksum is one over the ports and the whole packet, which the programs cannot compute anew. */
function checkSctp(frontends: readonly WrittenFrontend[], backends: readonly BackendRule[], problems: Problem[]): void {
  for (const { address, port, protocol } of frontends) {
    if (protocol !== "sctp") continue;
    const other = backends.find((one) => one.port !== port && (one.kind === "select" || one.address.includes(":") === address.includes(":")));
    if (other === undefined) continue;
    problems.push({ place: other.place, message: `an SCTP port cannot be translated, so that backends of ${port}/sctp must listen on ${port} and not on ${other.port}; give it a service of its own, with that port` });
  }
}
