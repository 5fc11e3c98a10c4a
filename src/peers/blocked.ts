// Without a store: which addresses of services other machines keep from the node whose they would be. Others ask its agent, a few at a time, by the probes' sockets.
import { randomBytes } from "node:crypto";
import { ipToBytes16 } from "../std/ip.ts";
import type { Ip } from "../std/ip.ts";
import { addressesAtOnce, encodeBlockedAnswer, encodeBlockedQuestion } from "./probe-packet.ts";

export interface Blocked {
  /** This node's own from now on, told to nodes that ask. */
  tell(addresses: Iterable<Ip>): void;
  answer(nonce: Uint8Array, after: Ip): Buffer;
  /** Asks the node anew when it is time. `now`: milliseconds from whatever beginning. */
  ask(name: string, now: number): void;
  /** `nonce` in hex. */
  answered(nonce: string, addresses: readonly Ip[], now: number): void;
  /** As the node said last: while its agent is away its programs go on as they were. */
  at(name: string): ReadonlySet<Ip>;
  /** It is not there, or no node any more. */
  forget(name: string): void;
}

/** Milliseconds: a little less than between two looks of an election, and for each question that the last time took, so that long lists make no flood. */
const [pause, each] = [900, 20];
const first = "::" as Ip;
const none: ReadonlySet<Ip> = new Set();

interface Asked {
  /** The last question. */
  readonly at: number;
  /** In hex; undefined: it is answered, and was the last. */
  readonly open: string | undefined;
  readonly after: string;
  readonly questions: number;
  readonly found: readonly Ip[];
}

/** `send` may do so in vain: who is not answered asks anew. */
export function createBlocked(send: (name: string, question: Buffer) => void): Blocked {
  const asked = new Map<string, Asked>();
  const known = new Map<string, ReadonlySet<Ip>>();
  let own: readonly (readonly [order: string, address: Ip])[] = [];

  const ask = (name: string, after: Ip, at: number, { questions, found }: Pick<Asked, "questions" | "found">): void => {
    const nonce = randomBytes(16);
    asked.set(name, { at, open: nonce.toString("hex"), after: orderOf(after), questions: questions + 1, found });
    send(name, encodeBlockedQuestion(nonce, after));
  };

  return {
    tell: (addresses) => {
      own = [...addresses].map((address) => [orderOf(address), address] as const).toSorted(([a], [b]) => (a < b ? -1 : 1));
    },
    answer: (nonce, after) => {
      const order = orderOf(after);
      const from = own.findIndex(([one]) => one > order);
      return encodeBlockedAnswer(nonce, from < 0 ? [] : own.slice(from, from + addressesAtOnce).map(([, address]) => address));
    },
    ask: (name, now) => {
      const before = asked.get(name);
      if (before === undefined || now - before.at >= Math.max(pause, before.open === undefined ? before.questions * each : 0)) ask(name, first, now, { questions: 0, found: [] });
    },
    answered: (nonce, addresses, now) => {
      const [name, one] = [...asked].find(([, { open }]) => open === nonce) ?? [];
      if (name === undefined || one === undefined) return;
      const [found, last] = [[...one.found, ...addresses], addresses.at(-1)];
      // Who goes back would be asked for ever.
      if (last !== undefined && addresses.length === addressesAtOnce && orderOf(last) > one.after) return ask(name, last, now, { questions: one.questions, found });
      asked.set(name, { ...one, open: undefined, found: [] });
      known.set(name, new Set(found));
    },
    at: (name) => known.get(name) ?? none,
    forget: (name) => {
      asked.delete(name);
      known.delete(name);
    },
  };
}

/** Texts that compare as the addresses' bytes do. */
function orderOf(address: Ip): string {
  return Buffer.from(ipToBytes16(address)).toString("hex");
}
