// Builds questions of the domain name system and reads answers back as one line of text each.
import { ipFromBytes } from "../../src/std/ip.ts";

export const types = { a: 1, ptr: 12, mx: 15, aaaa: 28, https: 65, any: 255 } as const;

export interface QuestionOptions {
  readonly id?: number;
  /** The header's flags; default: recursion desired. */
  readonly flags?: number;
  readonly class?: number;
  /** So many questions are announced and there. */
  readonly questions?: number;
  /** An OPT record that allows so many bytes (RFC 6891). */
  readonly edns?: number;
  /** Numbers of answers, authorities and additional records that are announced. */
  readonly counts?: readonly [number, number, number];
}

/** `name` as text, or its bytes on the wire. */
export function question(name: string | readonly number[], type: number = types.a, options: QuestionOptions = {}): Uint8Array {
  const { id = 0x1234, flags = 0x0100, questions = 1, edns, counts = [0, 0, edns === undefined ? 0 : 1] } = options;
  const one = [...(typeof name === "string" ? onWire(name) : name), ...be16(type), ...be16(options.class ?? 1)];
  const opt = edns === undefined ? [] : [0, ...be16(41), ...be16(edns), 0, 0, 0, 0, 0, 0];
  return Uint8Array.from([...[id, flags, questions, ...counts].flatMap(be16), ...Array.from({ length: questions }, () => one).flat(), ...opt]);
}

/** With its letters as they are. */
export function onWire(name: string): number[] {
  return [...name.split(".").flatMap((part) => [part.length, ...Buffer.from(part)]), 0];
}

/** A frame's answer as `id flags question type: records`; `!…` marks what is wrong with it. */
export function readAnswer(frame: Uint8Array): string {
  const bytes = Buffer.from(frame);
  const at = bytes.readUInt16BE(12) === 0x0800 ? 14 + ((bytes[14] ?? 0) & 15) * 4 + 8 : 14 + 40 + 8;
  const dns = bytes.subarray(at);
  const [asked, end] = nameAt(dns, 12);
  let [next, text] = [end + 4, ""];
  for (let i = 0; i < dns.readUInt16BE(6); i++) {
    const [name, behind] = nameAt(dns, next);
    const [type, seconds, size] = [dns.readUInt16BE(behind), dns.readUInt32BE(behind + 4), dns.readUInt16BE(behind + 8)];
    const data = dns.subarray(behind + 10, behind + 10 + size);
    text += ` ${type === types.ptr ? nameAt(data, 0)[0] : ipFromBytes(data)}/${seconds}`;
    if (name !== asked || dns.readUInt16BE(behind + 2) !== 1) text += " !owner";
    next = behind + 10 + size;
  }
  const counts = [4, 8, 10].map((place) => dns.readUInt16BE(place)).join("");
  const wrong = (counts === "100" ? "" : ` !counts ${counts}`) + (next === dns.length && dns.length === bytes.readUInt16BE(at - 4) - 8 ? "" : " !length");
  return `${dns.readUInt16BE(0).toString(16)} ${dns.readUInt16BE(2).toString(16)} ${asked} ${dns.readUInt16BE(end)}:${text || " none"}${wrong}`;
}

/** The name and where it ends; compression is followed once. */
function nameAt(dns: Buffer, from: number): readonly [string, number] {
  const first = dns[from] ?? 0;
  if (first >= 0xc0) return [nameAt(dns, dns.readUInt16BE(from) & 0x3fff)[0], from + 2];
  const parts: string[] = [];
  let at = from;
  for (let length = first; length > 0; length = dns[at] ?? 0) {
    parts.push(dns.subarray(at + 1, at + 1 + length).toString("latin1"));
    at += 1 + length;
  }
  return [parts.join("."), at + 1];
}

function be16(value: number): number[] {
  return [value >>> 8, value & 255];
}
