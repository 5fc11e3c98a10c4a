// The last view of the others in one file, for a start without the store: a line of head, a line for each record, a line that says it is whole.
import { randomBytes } from "node:crypto";
import { mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { crc32 } from "node:zlib";
import type { Log } from "../std/log.ts";
import { endpointKey, identityHashKey, identityNumberKey, nodeKey, sliceKey } from "./keys.ts";
import { encodeEndpoint, encodeIdentity, encodeIdentityKey, encodeNode, encodeSlice } from "./records.ts";
import type { LastingRecord } from "./records.ts";

export interface Cached {
  /** As `NodeRecord.machine`. */
  readonly machine: string;
  /** As the store had them. */
  readonly entries: Map<string, string>;
}

const form = "hawser-peers 1";
const end = "whole";
/** Records that are made into text at once; then others have their turn, and the text is gone before it is old. */
const chunk = 100;

/** Without a file, or with one that is damaged (which is told), there is only a new machine number. */
export async function loadCache(file: string, log: Log): Promise<Cached> {
  try {
    const text = await readFile(file, "utf8");
    return read(text);
  } catch (error) {
    const absent = (error as NodeJS.ErrnoException).code === "ENOENT";
    if (!absent) log.warn("what was remembered of the other nodes cannot be used", { file, error });
    return { machine: randomBytes(16).toString("hex"), entries: new Map() };
  }
}

/** Whole or not at all, also across a power cut. @returns how many bytes it is. */
export async function saveCache(file: string, machine: string, records: Iterable<LastingRecord>): Promise<number> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  const temporary = `${file}.new`;
  let size = 0;
  try {
    const handle = await open(temporary, "w", 0o600);
    try {
      let sum = 0;
      const put = async (text: string): Promise<void> => {
        sum = crc32(text, sum);
        size += (await handle.write(text)).bytesWritten;
      };
      await put(`${form} ${machine}\n`);
      let lines: string[] = [];
      for (const record of records) {
        lines.push(`${lineOf(record)}\n`);
        if (lines.length < chunk) continue;
        await put(lines.join(""));
        lines = [];
      }
      await put(lines.join(""));
      size += (await handle.write(`${end} ${sum}\n`)).bytesWritten;
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  const folder = await open(dirname(file));
  await folder.sync().finally(() => folder.close());
  return size;
}

function read(text: string): Cached {
  const last = text.lastIndexOf("\n", text.length - 2) + 1;
  const [head, ...lines] = text.slice(0, last).split("\n");
  if (text.slice(last) !== `${end} ${crc32(text.slice(0, last))}\n`) throw new Error("it is damaged: its last line does not match what is above");
  const machine = head?.startsWith(`${form} `) ? head.slice(form.length + 1) : undefined;
  if (machine === undefined || !/^[0-9a-f]{32}$/.test(machine)) throw new Error("it is of another form");
  const entries = new Map<string, string>();
  for (const line of lines) {
    const space = line.indexOf(" ");
    if (space > 0) entries.set(line.slice(0, space), line.slice(space + 1));
  }
  return { machine, entries };
}

function lineOf(record: LastingRecord): string {
  switch (record.kind) {
    case "node":
      return `${nodeKey(record.node.name)} ${encodeNode(record.node)}`;
    case "slice":
      return `${sliceKey(record.slice)} ${encodeSlice(record.slice, record.node)}`;
    case "endpoint":
      return `${endpointKey(record.endpoint.node, record.endpoint.id)} ${encodeEndpoint(record.endpoint)}`;
    case "identity":
      return `${identityNumberKey(record.number)} ${encodeIdentity(record.key)}`;
    case "identity key":
      return `${identityHashKey(record.key)} ${encodeIdentityKey(record.key, record.number)}`;
  }
}
