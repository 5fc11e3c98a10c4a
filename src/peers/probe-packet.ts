// What nodes ask each other over UDP, byte by byte.
//
//    0    4     5       21      22           22+n        96
//   +----+-----+-------+-------+------------+-----------+
//   |HWP1|type | nonce |n = len|answerer's  | zeros, in |
//   |    |     | 16 B  |of name|name (type 2)| a question|
//   +----+-----+-------+-------+------------+-----------+
//   |    |  4  |       |   0   |an address  | zeros     |  the first after which are asked for
//   |    |  5  |       |n ≤ 4  |n addresses |              of sixteen bytes each, IPv4 as ::ffff:a.b.c.d, in their order
//   +----+-----+-------+-------+------------+
//
//   type  1 a question   2 an agent's answer   3 the question, sent back by the programs in the kernel (bpf/lib/probes.h)
//         4 an agent's question which addresses of services other machines keep from the node   5 the answer, of an agent; fewer than four are the last
//
// A question is always 96 bytes and an answer never longer, so that nobody can make a node send more than was sent to it.
import { ipFromBytes16, ipToBytes16 } from "../std/ip.ts";
import type { Ip } from "../std/ip.ts";

const magic = Buffer.from("HWP1", "latin1");
const type = { question: 1, answer: 2, sentBack: 3, blockedQuestion: 4, blockedAnswer: 5 } as const;
const nonceLength = 16;
const head = magic.length + 1 + nonceLength + 1;
export const questionLength = 96;
const longestName = questionLength - head;
const addressLength = 16;
/** Addresses in an answer. */
export const addressesAtOnce = Math.floor(longestName / addressLength);

export type Packet =
  | { readonly kind: "question"; readonly nonce: Buffer }
  /** `name` null: the programs answered, who know no names. */
  | { readonly kind: "answer"; readonly nonce: Buffer; readonly name: string | null }
  | { readonly kind: "blocked question"; readonly nonce: Buffer; readonly after: Ip }
  | { readonly kind: "blocked answer"; readonly nonce: Buffer; readonly addresses: readonly Ip[] };

export function encodeQuestion(nonce: Uint8Array): Buffer {
  return encode(type.question, nonce, 0, new Uint8Array(longestName));
}

export function encodeAnswer(nonce: Uint8Array, name: string): Buffer {
  const text = Buffer.from(name).subarray(0, longestName);
  return encode(type.answer, nonce, text.length, text);
}

export function encodeBlockedQuestion(nonce: Uint8Array, after: Ip): Buffer {
  return encode(type.blockedQuestion, nonce, 0, Buffer.concat([ipToBytes16(after)], longestName));
}

/** Of `addresses` the first that fit. */
export function encodeBlockedAnswer(nonce: Uint8Array, addresses: readonly Ip[]): Buffer {
  const told = addresses.slice(0, addressesAtOnce);
  return encode(type.blockedAnswer, nonce, told.length, Buffer.concat(told.map(ipToBytes16)));
}

function encode(type: number, nonce: Uint8Array, length: number, rest: Uint8Array): Buffer {
  return Buffer.concat([magic, Uint8Array.of(type), nonce.subarray(0, nonceLength), Uint8Array.of(length), rest]);
}

/** undefined: it is none. */
export function decodePacket(bytes: Buffer): Packet | undefined {
  if (bytes.length < head || bytes.length > questionLength || !bytes.subarray(0, magic.length).equals(magic)) return undefined;
  const nonce = bytes.subarray(magic.length + 1, head - 1);
  const [length = 0, rest, isWhole] = [bytes[head - 1], bytes.subarray(head), bytes.length === questionLength];
  switch (bytes[magic.length]) {
    case type.question: return isWhole ? { kind: "question", nonce } : undefined;
    case type.sentBack: return isWhole ? { kind: "answer", nonce, name: null } : undefined;
    case type.answer: return rest.length === length ? { kind: "answer", nonce, name: rest.toString("utf8") } : undefined;
    case type.blockedQuestion: return isWhole ? { kind: "blocked question", nonce, after: ipFromBytes16(rest.subarray(0, addressLength)) } : undefined;
    case type.blockedAnswer: return length <= addressesAtOnce && rest.length === length * addressLength
      ? { kind: "blocked answer", nonce, addresses: Array.from({ length }, (_, i) => ipFromBytes16(rest.subarray(i * addressLength, (i + 1) * addressLength))) }
      : undefined;
    default: return undefined;
  }
}
