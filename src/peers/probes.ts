// Asks every other node once a second whether it is there, over UDP between their own addresses, and answers those that ask.
import { createSocket } from "node:dgram";
import type { RemoteInfo, Socket } from "node:dgram";
import { randomBytes } from "node:crypto";
import type { Clock } from "../std/clock.ts";
import { messageOf } from "../std/errors.ts";
import { familyOf } from "../std/ip.ts";
import type { Ip } from "../std/ip.ts";
import type { Log } from "../std/log.ts";
import { createBlocked } from "./blocked.ts";
import type { Blocked } from "./blocked.ts";
import { decodePacket, encodeAnswer, encodeQuestion } from "./probe-packet.ts";
import { createTogether } from "./together.ts";

export interface ProbesOptions {
  readonly self: string;
  readonly port: number;
  readonly clock: Clock;
  /** A number in [0, 1), fresh at each call. */
  readonly random: () => number;
  /** Milliseconds with their fractions, from whatever beginning. */
  readonly monotonic: () => number;
  /** A node began or ceased to answer. */
  readonly changed: (name: string) => void;
  readonly log: Log;
}

export interface Probed {
  readonly name: string;
  readonly addresses: readonly Ip[];
}

export interface Seen {
  readonly state: "ready" | "unreachable";
  /** Milliseconds since the epoch; 0: it never answered. */
  readonly lastSeen: number;
  readonly rttMs: number | null;
}

export interface Probes extends AsyncDisposable {
  /** Whom to ask and to answer from now on, and this node's own addresses. */
  follow(nodes: Iterable<Probed>, own: readonly Ip[]): void;
  run(signal: AbortSignal): Promise<void>;
  seen(name: string): Seen;
  /** Which addresses of services other machines keep from nodes, this one and others, without a store that says so. */
  readonly blocked: Pick<Blocked, "tell" | "at"> & { ask(name: string): void };
  /** Why nobody can be asked; undefined: all is well. */
  trouble(): string | undefined;
}

/** Milliseconds. */
const period = 1000;
const patience = 3000;
const unanswered = 3;
/** An answer that comes later than this is none. */
const latest = 10_000;
/** How many questions leave at once; more wait for the next turn. */
const most = 16;
const shortestPause = 20;
/** RFC 6298 has an eighth for each new sample. */
const weight = 1 / 8;

interface Peer {
  addresses: readonly Ip[];
  due: number;
  state: Seen["state"];
  lastSeen: number;
  rttMs: number | null;
  missed: number;
  /** When the first of the questions that went unanswered was asked. */
  since: number;
  /** Of the last question, in hex; undefined: it is answered. */
  open: string | undefined;
}

export function createProbes({ self, port, clock, random, monotonic, changed, log }: ProbesOptions): Probes {
  const peers = new Map<string, Peer>();
  const asked = new Map<string, { readonly name: string; readonly at: number }>();
  const sockets = new Map<Ip, Socket>();
  const troubles = new Map<Ip, string>();
  let own: readonly Ip[] = [];
  let known = new Set<string>();
  const silent = createTogether(log.warn, "a node does not answer", "nodes do not answer");
  const back = createTogether(log.info, "a node answers again", "nodes answer again");

  /** One for each own address: what leaves bears the address that the others know. */
  const openSockets = (): void => {
    for (const [address, socket] of sockets) {
      if (own.includes(address)) continue;
      sockets.delete(address);
      socket.close();
    }
    for (const address of troubles.keys()) if (!own.includes(address)) troubles.delete(address);
    for (const address of own) if (!sockets.has(address)) open(address);
  };

  const open = (address: Ip): void => {
    const socket = createSocket({ type: familyOf(address) === 4 ? "udp4" : "udp6", ipv6Only: familyOf(address) === 6 });
    sockets.set(address, socket);
    socket.on("error", (error) => {
      const why = `UDP port ${port} of ${address}: ${messageOf(error)}`;
      if (troubles.get(address) !== why) log.warn("nodes cannot be asked whether they are there", { why });
      troubles.set(address, why);
      if (sockets.get(address) === socket) sockets.delete(address);
      socket.close();
    });
    socket.on("message", (bytes, from) => received(socket, bytes, from));
    socket.bind({ address, port, exclusive: true }, () => troubles.delete(address));
    socket.unref();
  };

  const received = (socket: Socket, bytes: Buffer, from: RemoteInfo): void => {
    const packet = decodePacket(bytes);
    if (packet?.kind === "answer") answered(packet.nonce.toString("hex"), packet.name);
    else if (packet?.kind === "blocked answer") blocked.answered(packet.nonce.toString("hex"), packet.addresses, monotonic());
    else if (packet !== undefined && known.has(from.address)) {
      send(socket, packet.kind === "question" ? encodeAnswer(packet.nonce, self) : blocked.answer(packet.nonce, packet.after), from.port, from.address);
    }
  };

  /** A host or network that is not there is found out by the silence. */
  const send = (socket: Socket, bytes: Buffer, port: number, address: string): void => {
    socket.send(bytes, port, address, (error) => void (error && log.debug("a probe was not sent", { address, error })));
  };

  const answered = (nonce: string, answerer: string | null): void => {
    const question = asked.get(nonce);
    const peer = question !== undefined && (answerer === null || answerer === question.name) ? peers.get(question.name) : undefined;
    if (question === undefined || peer === undefined) return;
    const { name } = question;
    asked.delete(nonce);
    if (peer.open === nonce) peer.open = undefined;
    const rtt = monotonic() - question.at;
    peer.rttMs = peer.rttMs === null ? rtt : peer.rttMs + (rtt - peer.rttMs) * weight;
    const first = peer.lastSeen === 0;
    Object.assign(peer, { lastSeen: clock.now(), missed: 0 });
    if (peer.state === "ready" && !first) return;
    if (peer.state !== "ready" && !silent.withdraw(name)) back.add(name, {}, monotonic());
    peer.state = "ready";
    changed(name);
  };

  const ask = (name: string, peer: Peer, now: number): void => {
    if (peer.open !== undefined) {
      peer.missed++;
      if (peer.state === "ready" && peer.missed >= unanswered && now - peer.since >= patience) {
        peer.state = "unreachable";
        blocked.forget(name);
        if (!back.withdraw(name)) silent.add(name, { addresses: peer.addresses, lastSeen: peer.lastSeen }, now);
        changed(name);
      }
    }
    if (peer.missed === 0) peer.since = now;
    const nonce = randomBytes(16);
    peer.open = nonce.toString("hex");
    asked.set(peer.open, { name, at: now });
    sendTo(peer, encodeQuestion(nonce));
  };

  /** To the first address that is of a family of this node's, as tunnels and routes. */
  const sendTo = ({ addresses }: Pick<Peer, "addresses">, bytes: Buffer): void => {
    const to = addresses.find((address) => own.some((one) => familyOf(one) === familyOf(address)));
    const from = to === undefined ? undefined : own.find((one) => familyOf(one) === familyOf(to));
    const socket = from === undefined ? undefined : sockets.get(from);
    if (socket !== undefined && to !== undefined) send(socket, bytes, port, to);
  };

  const blocked = createBlocked((name, question) => sendTo(peers.get(name) ?? { addresses: [] }, question));

  /** @returns how long nobody is due. */
  const turn = (): number => {
    const now = monotonic();
    for (const news of [silent, back]) news.tell(now);
    for (const [nonce, { at }] of asked) {
      if (now - at < latest) break;
      asked.delete(nonce);
    }
    const due = [...peers].filter(([, peer]) => peer.due <= now).slice(0, most);
    for (const [name, peer] of due) {
      ask(name, peer, now);
      peer.due = now + period * (0.9 + 0.2 * random());
    }
    return Math.max(shortestPause, Math.min(period, ...[...peers.values()].map((peer) => peer.due - now)));
  };

  return {
    follow: (nodes, addresses) => {
      own = addresses;
      const names = new Set<string>();
      for (const { name, addresses } of nodes) {
        names.add(name);
        const peer = peers.get(name);
        if (peer !== undefined) peer.addresses = addresses;
        else peers.set(name, { addresses, due: monotonic() + period * random(), state: "ready", lastSeen: 0, rttMs: null, missed: 0, since: 0, open: undefined });
      }
      for (const name of peers.keys()) {
        if (names.has(name)) continue;
        peers.delete(name);
        blocked.forget(name);
      }
      known = new Set([...peers.values()].flatMap(({ addresses }) => addresses));
      openSockets();
    },
    run: async (signal) => {
      let opened = monotonic();
      while (!signal.aborted) {
        // An address may take a while until it can be used (RFC 4862, 5.4), and a port until its holder is gone.
        if (monotonic() - opened >= period) {
          opened = monotonic();
          openSockets();
        }
        await clock.sleep(turn(), signal).catch(() => undefined);
      }
      for (const news of [silent, back]) news.tell();
    },
    seen: (name) => {
      const peer = peers.get(name);
      return peer === undefined ? { state: "unreachable", lastSeen: 0, rttMs: null } : { state: peer.state, lastSeen: peer.lastSeen, rttMs: peer.rttMs };
    },
    blocked: { tell: blocked.tell, at: blocked.at, ask: (name) => blocked.ask(name, monotonic()) },
    trouble: () => troubles.size === 0 ? undefined : [...troubles.values()].join("; "),
    [Symbol.asyncDispose]: async () => {
      own = [];
      openSockets();
    },
  };
}
