// What nodes ask each other over UDP, byte by byte.
//
//    0    4     5       21      22           22+n        96
//   +----+-----+-------+-------+------------+-----------+
//   |HWP1|type | nonce |n = len|answerer's  | zeros, in |
//   |    |     | 16 B  |of name|name (type 2)| a question|
//   +----+-----+-------+-------+------------+-----------+
//
//   type  1 a question   2 an agent's answer   3 the question, sent back by the programs in the kernel (bpf/lib/probes.h)
//
// A question is always 96 bytes and an answer never longer, so that nobody can make a node send more than was sent to it.
const magic = Buffer.from("HWP1", "latin1");
const [question, answer, sentBack] = [1, 2, 3];
const nonceLength = 16;
const head = magic.length + 1 + nonceLength + 1;
export const questionLength = 96;
const longestName = questionLength - head;

export type Packet =
  | { readonly kind: "question"; readonly nonce: Buffer }
  /** `name` null: the programs answered, who know no names. */
  | { readonly kind: "answer"; readonly nonce: Buffer; readonly name: string | null };

export function encodeQuestion(nonce: Uint8Array): Buffer {
  const bytes = Buffer.alloc(questionLength);
  bytes.set(magic);
  bytes[magic.length] = question ?? 0;
  bytes.set(nonce.subarray(0, nonceLength), magic.length + 1);
  return bytes;
}

export function encodeAnswer(nonce: Uint8Array, name: string): Buffer {
  const text = Buffer.from(name).subarray(0, longestName);
  return Buffer.concat([magic, Uint8Array.of(answer ?? 0), nonce.subarray(0, nonceLength), Uint8Array.of(text.length), text]);
}

/** undefined: it is neither. */
export function decodePacket(bytes: Buffer): Packet | undefined {
  if (bytes.length < head || bytes.length > questionLength || !bytes.subarray(0, magic.length).equals(magic)) return undefined;
  const nonce = bytes.subarray(magic.length + 1, head - 1);
  const type = bytes[magic.length];
  if (type === question) return bytes.length === questionLength ? { kind: "question", nonce } : undefined;
  if (type === sentBack) return bytes.length === questionLength ? { kind: "answer", nonce, name: null } : undefined;
  const length = bytes[head - 1] ?? 0;
  if (type !== answer || bytes.length !== head + length) return undefined;
  return { kind: "answer", nonce, name: bytes.toString("utf8", head) };
}
