// Changes of services: what a candidate must stand before it is in force.
import { edgeAmong } from "../lb/addresses.ts";
import { findChained } from "../lb/chained.ts";
import { ServiceProblems } from "../lb/problems.ts";
import { Taken, findTwice, frontendText, readingServices } from "../lb/read.ts";
import type { StoredService } from "../lb/stored.ts";
import type { Service, WrittenFrontend } from "../lb/types.ts";
import { gatewaysOf, nameOfEndpoint, nameOfNetwork } from "../network/state.ts";
import { longestRecord } from "../network/cluster.ts";
import type { PoolConfig, State } from "../network/types.ts";
import { HawserError } from "../std/errors.ts";
import { addressOf, contains } from "../std/ip.ts";
import type { Cidr, Ip } from "../std/ip.ts";
import type { Sliced } from "../std/sliced.ts";
import type { Problem } from "../yaml/problems.ts";
import { poolsOf } from "./cluster-desk.ts";
import type { Beside, Written } from "./document-changes.ts";
import type { ServiceBook } from "./service-book.ts";
import type { ServiceTexts } from "./service-texts.ts";

/** Bytes of a record beside its text and its file's name: a node's name and its own, and numbers. */
const besides = 512;

export const serviceDocuments = { table: "services", one: "service" } as const;

export interface ServiceJudge {
  readonly book: Pick<ServiceBook, "candidates" | "meant">;
  readonly texts: ServiceTexts;
  /** Why this node cannot carry it out; undefined: it can. */
  refusal(service: Service): string | undefined;
  /** Whether other nodes have to take them. */
  readonly shared: boolean;
  readonly pool: PoolConfig;
  /** The host's own. */
  hostPrefixes(): readonly Cidr[];
}

/** With what judges services one by one. */
export type ServicesWritten = Written & Required<Pick<Written, "beside">>;

export function writtenServices(judge: ServiceJudge): ServicesWritten {
  return {
    ...serviceDocuments, code: "BAD_SERVICE",
    *read(documents) {
      const services = yield* readingServices(documents, judge.texts.one);
      const problems: Problem[] = [];
      for (const service of services) {
        const message = judge.refusal(service);
        if (message !== undefined) problems.push({ place: service.place, message });
        yield;
      }
      if (problems.length > 0) throw new ServiceProblems(problems);
      return services;
    },
    parts: judge.texts.parts,
    *verify(candidate, names) {
      const services = yield* judge.book.candidates(candidate);
      const changed: Service[] = [];
      const addresses = new Set<Ip>();
      for (const service of services) {
        yield;
        if (!names.has(service.name)) continue;
        changed.push(service);
        for (const { address } of service.frontends) addresses.add(address);
      }
      const problems: Problem[] = [];
      const beside: Service[] = [];
      for (const service of services) {
        yield;
        if (!names.has(service.name) && service.frontends.some(({ address }) => addresses.has(address))) beside.push(service);
      }
      // What is new is told of what stands, not the other way round.
      yield* findTwice([...beside, ...changed], problems);
      for (const service of changed) {
        problems.push(...ownProblems(service, candidate.services.get(service.name), candidate, judge));
        yield;
      }
      if (problems.length > 0) throw new ServiceProblems(problems);
      return [];
    },
    *verifyNew(candidate, names) {
      const nodes = new Set([...judge.hostPrefixes().map(addressOf), ...[...candidate.cluster.nodes.values()].flatMap(({ addresses }) => addresses)]);
      const problems = yield* findChained(yield* judge.book.candidates(candidate), names, (address) => nodes.has(address));
      if (problems.length > 0) throw new ServiceProblems(problems);
    },
    *beside(state): Sliced<Beside> {
      const taken = new Taken();
      for (const service of yield* judge.book.candidates(state)) {
        taken.add(service);
        yield;
      }
      return {
        problemsOf: (row) => judge.book.meant(row).flatMap((service) => [...taken.inTheWayOf(service), ...ownProblems(service, row, state, judge)]),
        take: (row) => judge.book.meant(row).forEach((service) => taken.add(service)),
      };
    },
  };
}

/** What is wrong with it whatever other services there are. */
function ownProblems({ place, frontends }: Service, row: StoredService | undefined, state: State, judge: ServiceJudge): readonly Problem[] {
  const size = judge.shared ? sizeOf(row) : 0;
  const tooLong = size > longestRecord ? [{ place, message: `the service takes ${size} bytes in the store that nodes share, and ${longestRecord} are the most; make lists of it shorter, or several services of it` }] : [];
  return [...tooLong, ...frontends.flatMap((frontend) => {
    const message = takenBy(frontend, state, judge);
    return message === undefined ? [] : [{ place: frontend.place, message }];
  })];
}

/**
 * The state in which a change that cannot be in force is taken back, row by row, unless it was changed again meanwhile. What finds its frontends taken by
 * now is not there again.
 */
export function* takenBack(state: State, before: State["services"], after: State["services"], { verify }: Pick<Written, "verify">): Sliced<State> {
  const names = new Set([...before.keys(), ...after.keys()].filter((name) => before.get(name) !== after.get(name) && state.services.get(name) === after.get(name)));
  const kept = new Map([...state.services].filter(([name]) => !names.has(name) || before.has(name)));
  for (let going = [...before].filter(([name]) => names.has(name)); ;) {
    const back = { ...state, services: new Map([...kept, ...going]) };
    const refused = new Set(yield* refusedOf(back, going.map(([name]) => name), verify));
    if (refused.size === 0) return back;
    // What stays instead may be in the way of others.
    going = going.filter(([name]) => !refused.has(name));
  }
}

function* refusedOf(candidate: State, names: readonly string[], verify: Written["verify"]): Sliced<readonly string[]> {
  try {
    yield* verify(candidate, new Set(names), false);
    return [];
  } catch (error) {
    if (!(error instanceof HawserError)) throw error;
    const half = names.length >> 1;
    return half === 0 ? names : [...yield* refusedOf(candidate, names.slice(0, half), verify), ...yield* refusedOf(candidate, names.slice(half), verify)];
  }
}

/** Bytes of the record, at most. It is JSON, where each quote and the end of each line are two. */
function sizeOf(row: StoredService | undefined): number {
  return row === undefined ? 0 : Buffer.byteLength(JSON.stringify([row.file, row.text])) + besides;
}

/** Whose a frontend's address is already: a service must not take what a container has, or may be given (R79). */
function takenBy(frontend: WrittenFrontend, state: State, { pool, hostPrefixes }: ServiceJudge): string | undefined {
  const { address, port, protocol } = frontend;
  const other = "; a service's address is one that no container can have";
  const network = [...state.networks.values()].find(({ ipv4, ipv6 }) => [ipv4, ipv6].some((subnet) => subnet !== null && contains(subnet.prefix, address)));
  if (network !== undefined) return `${address} ${gatewaysOf(state).has(address) ? "is the gateway" : "lies in the subnet"} of network ${nameOfNetwork(network)}${other}`;
  const within = poolsOf(pool).find((prefix) => contains(prefix, address));
  if (within !== undefined) return `${address} lies in ${within}, of which containers get their addresses${other}`;
  const edge = edgeAmong(hostPrefixes(), address);
  if (edge !== undefined) return `${address} is ${edge}, which this host is on; give the service another`;
  const own = hostPrefixes().some((prefix) => addressOf(prefix) === address);
  for (const endpoint of state.endpoints.values()) {
    const published = endpoint.ports.find(({ hostIp, hostPort, protocol: through }) =>
      hostPort === port && through === protocol && (hostIp === address || (own && hostIp === (address.includes(":") ? "::" : "0.0.0.0"))));
    if (published !== undefined) return `${frontendText(frontend)} is published already, by ${nameOfEndpoint(endpoint)}; give the service another port, or publish that one on another`;
  }
  return undefined;
}
