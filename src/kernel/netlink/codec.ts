// Netlink messages as bytes: headers, nested attributes and the kernel's answer with its words.
//
//   ┌──────────── nlmsghdr, 16 bytes ────────────┐┌─ family header ─┐┌── attributes, each padded to 4 ──┐
//   │ length u32 │ type u16 │ flags u16 │ seq u32 │ port u32 ││ ifinfomsg, …  ││ length u16 │ type u16 │ payload │ … │
//
// Numbers are in the host's order; every machine that Node 24 runs Linux on here is little-endian.

/** linux/netlink.h */
export const nlmsg = { error: 2, done: 3 } as const;
export const nlmFlags = {
  request: 0x1, multi: 0x2, ack: 0x4, dumpInterrupted: 0x10, dump: 0x300, replace: 0x100, exclusive: 0x200, create: 0x400,
  capped: 0x100, ackAttributes: 0x200,
} as const;

const headerSize = 16;
const nestedFlag = 0x8000;
const attributeTypeMask = 0x3fff;
/** enum nlmsgerr_attrs */
const extackMessage = 1;

export interface Message {
  readonly type: number;
  readonly flags: number;
  readonly seq: number;
  readonly payload: Buffer;
}

export type Attributes = ReadonlyMap<number, Buffer>;

const align4 = (size: number): number => (size + 3) & ~3;

export function encodeMessage(type: number, flags: number, seq: number, parts: readonly Uint8Array[]): Buffer {
  const payload = Buffer.concat(parts);
  const header = Buffer.alloc(headerSize);
  header.writeUInt32LE(headerSize + payload.length, 0);
  header.writeUInt16LE(type, 4);
  header.writeUInt16LE(flags, 6);
  header.writeUInt32LE(seq, 8);
  return Buffer.concat([header, payload]);
}

/** The messages of one datagram. A length that cannot be ends the list: the kernel does not send one. */
export function decodeMessages(datagram: Uint8Array): Message[] {
  const bytes = asBuffer(datagram);
  const messages: Message[] = [];
  for (let at = 0; at + headerSize <= bytes.length; ) {
    const length = bytes.readUInt32LE(at);
    if (length < headerSize || at + length > bytes.length) break;
    messages.push({
      type: bytes.readUInt16LE(at + 4),
      flags: bytes.readUInt16LE(at + 6),
      seq: bytes.readUInt32LE(at + 8),
      payload: bytes.subarray(at + headerSize, at + length),
    });
    at += align4(length);
  }
  return messages;
}

export function attribute(type: number, payload: Uint8Array): Buffer {
  const bytes = Buffer.alloc(4 + align4(payload.length));
  bytes.writeUInt16LE(4 + payload.length, 0);
  bytes.writeUInt16LE(type, 2);
  bytes.set(payload, 4);
  return bytes;
}

export function nested(type: number, parts: readonly Uint8Array[]): Buffer {
  return attribute(type | nestedFlag, Buffer.concat(parts));
}

export function u32Attribute(type: number, value: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32LE(value);
  return attribute(type, payload);
}

/** NUL-terminated text, as the kernel wants names. */
export function textAttribute(type: number, text: string): Buffer {
  return attribute(type, Buffer.from(`${text}\0`));
}

/** The attributes behind a header of `headerLength` bytes, by type; of two with one type the last counts. */
export function decodeAttributes(payload: Buffer, headerLength = 0): Attributes {
  return new Map(listAttributes(payload, headerLength));
}

/** The same in their order, where several of one type count. */
export function listAttributes(payload: Buffer, headerLength = 0): readonly (readonly [type: number, payload: Buffer])[] {
  const attributes: (readonly [number, Buffer])[] = [];
  for (let at = align4(headerLength); at + 4 <= payload.length; ) {
    const length = payload.readUInt16LE(at);
    if (length < 4 || at + length > payload.length) break;
    attributes.push([payload.readUInt16LE(at + 2) & attributeTypeMask, payload.subarray(at + 4, at + length)]);
    at += align4(length);
  }
  return attributes;
}

export function textOf(payload: Buffer | undefined): string {
  if (!payload) return "";
  const end = payload.indexOf(0);
  return payload.toString("utf8", 0, end < 0 ? payload.length : end);
}

export function u32Of(payload: Buffer | undefined, otherwise = 0): number {
  return payload && payload.length >= 4 ? payload.readUInt32LE(0) : otherwise;
}

/** An NLMSG_ERROR (0: it is an acknowledgement) or the result in an NLMSG_DONE, with the kernel's sentence if it gave one. */
export function decodeOutcome(message: Message): { readonly error: number; readonly detail: string } {
  const error = message.payload.length >= 4 ? -message.payload.readInt32LE(0) : 0;
  if (!(message.flags & nlmFlags.ackAttributes)) return { error, detail: "" };
  // Behind the number stands our own message, whole or (capped) its header only; after a dump neither.
  let at = 4;
  if (message.type === nlmsg.error) {
    at += message.flags & nlmFlags.capped || message.payload.length < 8 ? headerSize : align4(message.payload.readUInt32LE(4));
  }
  return { error, detail: textOf(decodeAttributes(message.payload, at).get(extackMessage)) };
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
