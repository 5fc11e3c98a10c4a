// The last packets that the programs told of: kept as they came, made readable when somebody asks.
import type { PacketEvent } from "../datapath/types.ts";
import type { RemoteEndpoint } from "../network/cluster.ts";
import { displayLabels } from "../policy/identity.ts";
import type { Rule } from "../policy/types.ts";
import { HawserError } from "../std/errors.ts";
import { contains, parseCidr, parseIp } from "../std/ip.ts";
import type { Cidr, Ip } from "../std/ip.ts";
import type { DecidedBy, FlowEnd, FlowQuery, FlowView } from "./types.ts";

/** Who had which address at a moment. Immutable: flows keep the one of their time. */
export interface AddressBook {
  readonly ends: ReadonlyMap<string, Omit<FlowEnd, "address" | "port">>;
  /** Handed out to containers: nobody known has an address of it that is not among `ends`. */
  readonly pool: readonly Cidr[];
  readonly node: string;
}

type Owner = Omit<FlowEnd, "address" | "port">;

interface Told {
  readonly bytes: Uint8Array;
  readonly book: AddressBook;
  /** Containers on other nodes, by the flow's addresses: who had them then is kept of those two alone. */
  readonly elsewhere: ReadonlyMap<string, RemoteEndpoint> | undefined;
  readonly rules: readonly Rule[] | undefined;
}

export interface FlowSource {
  /** @throws nothing */
  decode(bytes: Uint8Array): PacketEvent;
  rulesOf(revision: number): readonly Rule[] | undefined;
  /** Of a device, for people. */
  deviceName(ifindex: number): string;
  /** Nanoseconds to add to CLOCK_MONOTONIC for the time of day. */
  readonly epoch: bigint;
}

const kept = 4096;
/** What one slow reader may have waiting. */
const queueLimit = 4096;
/** More than this in one second is counted and not decoded: it would be the agent's whole time (R34). */
const mostASecond = 5000;

const builtin: Readonly<Record<number, string>> = { 0xffff_ff01: "default:metadata", 0xffff_ff02: "default:host-services", 0xffff_ff03: "default:local-services" };
const defaults: Readonly<Record<string, string>> = {
  "policy-default-in": "default:in", "policy-default-out": "default:out", "network-isolated": "between-networks", "icc-disabled": "default:icc",
  "policy-published": "default:published",
};
const verdicts = { dropped: "DROPPED", forwarded: "FORWARDED", audit: "AUDIT" } as const;

export class FlowLog {
  readonly #source: FlowSource;
  readonly #history: Told[] = [];
  #at = 0;
  readonly #listeners = new Set<(told: Told) => void>();
  readonly #counts = { FORWARDED: 0, DROPPED: 0, AUDIT: 0 };
  #second = 0;
  #inSecond = 0;
  #skipped = 0;

  constructor(source: FlowSource) {
    this.#source = source;
  }

  get counts(): Readonly<Record<FlowView["verdict"], number>> {
    return { ...this.#counts };
  }

  /** Packets that were told to the agent and that it had no time for. */
  get skipped(): number {
    return this.#skipped;
  }

  /** `now`: milliseconds. `ownerOf`: the container on another node that has the address. */
  add(bytes: Uint8Array, book: AddressBook, now: number, ownerOf: (address: string) => RemoteEndpoint | undefined = () => undefined): void {
    const second = Math.floor(now / 1000);
    if (second !== this.#second) [this.#second, this.#inSecond] = [second, 0];
    if (++this.#inSecond > mostASecond) {
      this.#skipped++;
      return;
    }
    const event = this.#source.decode(bytes);
    this.#counts[verdicts[event.verdict]]++;
    const told: Told = { bytes: bytes.slice(), book, elsewhere: ownersOf(event, book, ownerOf), rules: event.rule === 0 ? undefined : this.#source.rulesOf(event.revision) };
    this.#history[this.#at] = told;
    this.#at = (this.#at + 1) % kept;
    for (const listener of this.#listeners) listener(told);
  }

  async *read(query: FlowQuery, signal?: AbortSignal): AsyncGenerator<FlowView> {
    const wanted = filterOf(query);
    const queue: Told[] = [];
    let wake = (): void => {};
    const end = signal ?? new AbortController().signal;
    const listener = (told: Told): void => {
      if (queue.length >= queueLimit) queue.shift();
      queue.push(told);
      wake();
    };
    const onAbort = (): void => wake();
    if (query.follow) {
      this.#listeners.add(listener);
      end.addEventListener("abort", onAbort);
    }
    try {
      const past: FlowView[] = [];
      for (const told of this.#newestFirst()) {
        if (past.length >= query.last) break;
        const view = this.#view(told);
        if (query.since > 0 && Number(view.time / 1_000_000n) < query.since) break;
        if (wanted(view)) past.push(view);
      }
      yield* past.toReversed();
      while (query.follow && !end.aborted) {
        const told = queue.shift();
        if (told === undefined) {
          await new Promise<void>((resolve) => (wake = resolve));
          continue;
        }
        const view = this.#view(told);
        if (wanted(view)) yield view;
      }
    } finally {
      this.#listeners.delete(listener);
      end.removeEventListener("abort", onAbort);
    }
  }

  *#newestFirst(): Generator<Told> {
    for (let back = 1; back <= this.#history.length; back++) {
      const told = this.#history[(this.#at - back + kept) % kept];
      if (told !== undefined) yield told;
    }
  }

  #view({ bytes, book, elsewhere, rules }: Told): FlowView {
    const event = this.#source.decode(bytes);
    const target = event.backend === "" ? event.destination : event.backend;
    return {
      time: event.time + this.#source.epoch,
      verdict: verdicts[event.verdict],
      reason: event.verdict === "dropped" ? event.reason.toUpperCase().replaceAll("-", "_") : "",
      source: endOf(event.source, event.sourcePort, event.sourceIdentity, book, elsewhere),
      destination: endOf(target, event.backend === "" ? event.destinationPort : event.backendPort, event.destinationIdentity, book, elsewhere),
      protocol: event.protocol, tcpFlags: event.tcpFlags, icmpType: event.icmpType, icmpCode: event.icmpCode, family: event.family,
      direction: event.direction,
      device: this.#source.deviceName(event.ifindex),
      length: event.length,
      end: event.end,
      decidedBy: decider(event, rules),
      node: book.node,
    };
  }
}

function decider(event: PacketEvent, rules: readonly Rule[] | undefined): DecidedBy | string | null {
  if (event.rule === 0) return event.verdict === "dropped" ? (defaults[event.reason] ?? null) : null;
  const known = builtin[event.rule];
  if (known !== undefined) return known;
  const rule = rules?.[event.rule - 1];
  return rule === undefined ? `rule ${event.rule} of revision ${event.revision}` : { policy: rule.policy, rule: rule.text, file: rule.place.file, line: rule.place.line };
}

function ownersOf(event: PacketEvent, { ends }: AddressBook, ownerOf: (address: string) => RemoteEndpoint | undefined): Told["elsewhere"] {
  const found = [event.source, event.destination, event.backend].flatMap((address) => {
    const owner = address === "" || ends.has(address) ? undefined : ownerOf(address);
    return owner === undefined ? [] : [[address, owner] as const];
  });
  return found.length === 0 ? undefined : new Map(found);
}

function endOf(address: string, port: number, identity: number, book: AddressBook, elsewhere: Told["elsewhere"]): FlowEnd {
  const remote = elsewhere?.get(address);
  const known = book.ends.get(address) ?? (remote === undefined ? stranger(address, book) : endElsewhere(remote));
  return { ...known, address, port, identity: identity === 0 ? known.identity : identity };
}

function endElsewhere({ identity, labels, name, containerId, network }: RemoteEndpoint): Owner {
  return { identity, labels: displayLabels(labels), name, containerId, network };
}

/** What nobody known has. An address of the pool is not the world's all the same. */
function stranger(address: string, { pool }: AddressBook): Owner {
  const nobody = { name: "", containerId: "", network: "" };
  if (address !== "" && pool.some((prefix) => contains(prefix, address as Ip))) return { ...nobody, identity: 0, labels: {} };
  return { ...nobody, identity: worldIdentity, labels: { reserved: "world" } };
}

/** As Hubble numbers them. */
export const hostIdentity = 1;
const worldIdentity = 2;
export const nodeIdentity = 6;

type Match = (view: FlowView) => boolean;

/** @throws HawserError BAD_REQUEST */
function filterOf(query: FlowQuery): Match {
  const { verdicts: wanted } = query;
  const [from, to, either] = [endFilter(query.from), endFilter(query.to), endFilter(query.with)];
  return (view) =>
    (wanted.length === 0 || wanted.includes(view.verdict)) && from(view.source) && to(view.destination) && (either(view.source) || either(view.destination));
}

/** @throws HawserError BAD_REQUEST */
function endFilter(text: string): (end: FlowEnd) => boolean {
  if (text === "" || text === "any") return () => true;
  if (text === "host") return (end) => end.labels["reserved"] === "host";
  if (text === "world") return (end) => end.labels["reserved"] === "world";
  if (text === "nodes") return (end) => end.labels["reserved"] === "remote-node";
  const label = /^label\(([^=)]+)(?:=([^)]*))?\)$/.exec(text);
  if (label !== null) {
    const [, key = "", value] = label;
    return (end) => Object.hasOwn(end.labels, key) && (value === undefined || end.labels[key] === value);
  }
  if (/^[\d.]+\/\d+$|^[0-9a-f:]*:[0-9a-f:.]*\/\d+$/i.test(text)) {
    const cidr = parseCidr(text, "a flow's end");
    return (end) => end.address !== "" && contains(cidr, end.address as Ip);
  }
  if (/^[\d.]+$/.test(text) || (text.includes(":") && /^[0-9a-f:.]+$/i.test(text))) {
    const ip = parseIp(text, "a flow's end");
    return (end) => end.address === ip;
  }
  if (/[()\s]/.test(text)) {
    throw new HawserError("BAD_REQUEST", `"${text}" names no end of a flow: give a container's name or id, network/name, an address or prefix, label(k=v), host or world`);
  }
  const [network, name] = text.includes("/") ? [text.slice(0, text.indexOf("/")), text.slice(text.indexOf("/") + 1)] : [undefined, text];
  return (end) =>
    (network === undefined || end.network === network) &&
    (end.name === name || end.labels["service"] === name || (name.length >= 4 && end.containerId.startsWith(name)));
}
