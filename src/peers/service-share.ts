// Services that nodes share: read out of the store's records, and changed only if nobody else has changed any since they were read.
import type { SharedService, SharedServices } from "../engine/types.ts";
import { longestRecord } from "../engine/shared.ts";
import type { Clock } from "../std/clock.ts";
import { HawserError, messageOf } from "../std/errors.ts";
import { atOnce, inTurns } from "../std/sliced.ts";
import type { Sliced } from "../std/sliced.ts";
import type { SharedChange, SharedStore } from "../store/shared.ts";
import { aborted } from "./aborted.ts";
import type { Complaints } from "./complaints.ts";
import { serviceFilesKey, serviceKey, servicePlaceOf, serviceRecords, serviceTurnKey } from "./service-records.ts";
import { decodeFiles, decodeService, decodeTurn, encodeFiles, encodeService, encodeTurn } from "./service-records.ts";

export interface ServiceShareOptions {
  readonly self: string;
  readonly store: SharedStore;
  /** Gives the engine what is known now. */
  readonly tell: (signal: AbortSignal) => Promise<void>;
  readonly clock: Clock;
  readonly random: () => number;
  readonly complain: Complaints;
}

export interface ServiceShare {
  /** Everything that there is, out of the map. @returns whether anything changed. */
  takeAll(entries: Map<string, string>): boolean;
  /** @returns whether anything changed. */
  take(values: ReadonlyMap<string, string | undefined>): boolean;
  known(): SharedServices;
  /** As `ShareServices`. */
  change(decide: (known: SharedServices) => Promise<SharedServices>, signal: AbortSignal): Promise<void>;
  /** What this node wrote under its lease is gone. */
  forget(): void;
}

/** Tries while others are faster; the pauses between them grow to a second. */
const tries = 60;
/** Of one exchange, beside the count; etcd takes 1.5 MiB. */
const [changesMost, bytesMost] = [99, longestRecord];
/** Milliseconds until the store's events must have told of what was written. */
const echo = 5000;

export function createServiceShare({ self, store, tell, clock, random, complain }: ServiceShareOptions): ServiceShare {
  const texts = new Map<string, string>();
  const read = createReader(complain);
  /** This process wrote the files of its directory, under its own lease. */
  let leased = false;
  let known: SharedServices | undefined;
  const waiting = new Set<{ readonly turn: number; readonly resolve: () => void }>();

  const current = (): SharedServices => {
    if (known !== undefined) return known;
    const all = atOnce(read(texts));
    // What an agent before this one wrote goes with that one's lease.
    known = leased ? all : { ...all, files: new Map([...all.files].filter(([node]) => node !== self)) };
    return known;
  };

  const changed = (): void => {
    known = undefined;
    const { turn } = current();
    for (const one of waiting) if (turn >= one.turn) one.resolve();
  };

  const take = (values: Iterable<readonly [string, string | undefined]>): boolean => {
    let any = false;
    for (const [key, text] of values) {
      if (!key.startsWith(serviceRecords) || texts.get(key) === text) continue;
      any = true;
      if (text === undefined) texts.delete(key);
      else texts.set(key, text);
    }
    if (any) changed();
    return any;
  };

  const seen = async (turn: number, signal: AbortSignal): Promise<void> => {
    if (current().turn >= turn) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const one = { turn, resolve };
    waiting.add(one);
    await Promise.race([promise, aborted(AbortSignal.any([signal, clock.deadline(echo)]))]);
    waiting.delete(one);
    if (current().turn < turn) throw new HawserError("STORE", "it was written, but the store has not told of it yet");
  };

  /** @returns the count of changes then; undefined: another node was faster. */
  const write = async (changes: readonly SharedChange[], standing: string | undefined, from: number, signal: AbortSignal): Promise<number | undefined> => {
    let [value, turn] = [standing, from];
    for (const some of portionsOf(changes)) {
      const next = encodeTurn(++turn);
      // The count comes last, so that whoever hears of it has heard of the rest.
      if (!await store.exchange({ key: serviceTurnKey, value }, [...some, { key: serviceTurnKey, value: next }], signal)) return undefined;
      value = next;
    }
    return turn;
  };

  return {
    known: current,
    take: (values) => take(values),
    takeAll: (entries) => {
      const gone = [...texts.keys()].filter((key) => !entries.has(key)).map((key) => [key, undefined] as const);
      const those = [...entries].filter(([key]) => key.startsWith(serviceRecords));
      for (const [key] of those) entries.delete(key);
      return take([...gone, ...those]);
    },
    change: async (decide, signal) => {
      for (let i = 0; i < tries; i++) {
        const entries = await store.list(serviceRecords, signal);
        const standing = await inTurns(read(entries));
        const changes = changesTo(entries, standing, await decide(standing), self, leased);
        if (changes.length === 0) return;
        const before = leased;
        leased ||= changes.some(({ key, value }) => key === serviceFilesKey(self) && value !== undefined);
        const turn = await write(changes, entries.get(serviceTurnKey), standing.turn, signal).catch((error: unknown) => {
          leased = before;
          throw error;
        });
        if (turn !== undefined) {
          await seen(turn, signal);
          known = undefined;
          return tell(signal);
        }
        leased = before;
        await clock.sleep(Math.min(1000, 20 * (i + 1)) * random(), signal);
      }
      throw new HawserError("STORE", "other nodes change services all the time; try again");
    },
    forget: () => {
      leased = false;
      known = undefined;
    },
  };
}

function* portionsOf(changes: readonly SharedChange[]): Iterable<readonly SharedChange[]> {
  let [portion, bytes] = [[] as SharedChange[], 0];
  for (const change of changes) {
    const size = Buffer.byteLength(change.key) + Buffer.byteLength(change.value ?? "");
    if (portion.length >= changesMost || (portion.length > 0 && bytes + size > bytesMost)) {
      yield portion;
      [portion, bytes] = [[], 0];
    }
    portion.push(change);
    bytes += size;
  }
  if (portion.length > 0) yield portion;
}

function changesTo(entries: ReadonlyMap<string, string>, standing: SharedServices, wanted: SharedServices, self: string, leased: boolean): readonly SharedChange[] {
  const changes: SharedChange[] = [];
  const put = (key: string, value: string, lease: boolean): void => void changes.push({ key, value, leased: lease });
  for (const [name, row] of wanted.services) if (standing.services.get(name) !== row) put(serviceKey(name), encodeService(row), false);
  for (const name of standing.services.keys()) if (!wanted.services.has(name)) changes.push({ key: serviceKey(name), value: undefined });
  const [own, key] = [wanted.files.get(self), serviceFilesKey(self)];
  if (own === undefined && entries.has(key)) changes.push({ key, value: undefined });
  else if (own !== undefined && (!leased || entries.get(key) !== encodeFiles(self, own))) put(key, encodeFiles(self, own), true);
  return changes;
}

/** Of texts that did not change the same objects. */
function createReader(complain: Complaints): (texts: ReadonlyMap<string, string>) => Sliced<SharedServices> {
  let before = new Map<string, { readonly text: string; readonly what: SharedService | ReadonlyMap<string, string> }>();
  return function* (texts) {
    const services = new Map<string, SharedService>();
    const files = new Map<string, ReadonlyMap<string, string>>();
    const now: typeof before = new Map();
    let turn = 0;
    for (const [key, text] of texts) {
      yield;
      try {
        const place = servicePlaceOf(key);
        if (place === undefined) continue;
        if (place.kind === "turn") {
          turn = decodeTurn(text);
          continue;
        }
        const was = before.get(key);
        const what = was?.text === text ? was.what : place.kind === "service" ? decodeService(place.name, text) : decodeFiles(place.node, text);
        now.set(key, { text, what });
        if (place.kind === "service") services.set(place.name, what as SharedService);
        else files.set(place.node, what as ReadonlyMap<string, string>);
        complain.settled(key);
      } catch (error) {
        complain(key, messageOf(error));
        // A service's last record holds when one came that is none.
        const was = before.get(key);
        if (was === undefined || !("name" in was.what)) continue;
        now.set(key, was);
        services.set(was.what.name, was.what);
      }
    }
    before = now;
    return { turn, services, files };
  };
}
