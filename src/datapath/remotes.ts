// Containers on other nodes in their map: only what is different from the last plan is touched, of which there may be tens of thousands.
import { maps } from "../abi/generated.ts";
import type { Remote } from "../abi/generated.ts";
import type { Ip } from "../std/ip.ts";
import { openBatch } from "./batches.ts";
import { differing } from "./differing.ts";
import type { Table } from "./tables.ts";

type Remotes = ReadonlyMap<Ip, Remote>;

export interface OtherRemotes {
  /** Entries that were there and went or changed. */
  readonly count: number;
  /** Addresses that were of another node, or of nobody now; not many more than asked for. */
  readonly moved: readonly Ip[];
  /** Those that found no room. */
  readonly left: number;
}

/** @param before what the map is known to hold; undefined: it is read. @returns whose entries went */
export async function removeRemotes(table: Table<Ip, Remote>, next: Remotes, before: Remotes | undefined): Promise<readonly Ip[]> {
  const gone: Ip[] = [];
  const turns = openBatch(table.map);
  for (const address of before === undefined ? addressesIn(table) : differing(next, before)) {
    if (!next.has(address) && (before === undefined || before.has(address))) gone.push(address);
    await turns.turn();
  }
  for (const address of gone) await turns.delete(maps.hw_remotes.key.encode(address));
  return gone;
}

/** Puts in who came, and who is somebody else now. @param gone as removed before. @param before as there. */
export async function installRemotes(table: Table<Ip, Remote>, next: Remotes, before: Remotes | undefined, gone: readonly Ip[], mostMoved: number): Promise<OtherRemotes> {
  const batch = openBatch(table.map);
  const moved = gone.slice(0, mostMoved);
  let count = gone.length;
  // In a map that was empty nobody is looked for.
  const empty = before === undefined && isEmpty(table);
  for (const address of before === undefined ? next.keys() : differing(next, before)) {
    const wanted = next.get(address);
    if (wanted === undefined) continue;
    const was = before === undefined ? (empty ? undefined : table.get(address)) : before.get(address);
    if (was !== undefined && isSame(was, wanted)) {
      await batch.turn();
      continue;
    }
    if (was !== undefined) count++;
    if (was !== undefined && was.node !== wanted.node && moved.length < mostMoved) moved.push(address);
    const { keyView, valueView } = batch.next();
    maps.hw_remotes.key.write(keyView, 0, address);
    maps.hw_remotes.value.write(valueView, 0, wanted);
    const turn = batch.put();
    if (turn !== undefined) await turn;
  }
  await batch.end();
  return { count, moved, left: batch.left };
}

function* addressesIn(table: Table<Ip, Remote>): Iterable<Ip> {
  for (const [key] of table.map.entries()) yield maps.hw_remotes.key.decode(key) ?? ("::" as Ip);
}

function isEmpty(table: Table<Ip, Remote>): boolean {
  for (const entry of table.map.entries()) return entry === undefined;
  return true;
}

function isSame(a: Remote, b: Remote): boolean {
  return a.node === b.node && a.identity === b.identity && a.network === b.network;
}
