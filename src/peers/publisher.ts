// Writes what is this node's own into the store: claims first, then what differs from what stands, its node record last.
import { firstProvisional, identityKey } from "../engine/shared.ts";
import type { OwnRecords } from "../network/cluster.ts";
import type { Clock } from "../std/clock.ts";
import { HawserError, messageOf } from "../std/errors.ts";
import type { Family } from "../std/ip.ts";
import type { Log } from "../std/log.ts";
import type { SharedChange, SharedStore } from "../store/shared.ts";
import type { Claims } from "./claims.ts";
import type { Complaints } from "./complaints.ts";
import { endpointKey, isHealthOf, isPartOf, nodeKey, placeOf } from "./keys.ts";
import { decode, encodeEndpoint, encodeNode, healthRecords } from "./records.ts";
import type { NodeRecord } from "./records.ts";
import type { Values, View } from "./view.ts";

export interface PublisherOptions {
  readonly self: string;
  readonly families: readonly Family[];
  readonly store: SharedStore;
  readonly view: View;
  readonly claims: Claims;
  readonly own: () => OwnRecords;
  /** This node's record as it is now. */
  readonly node: () => NodeRecord;
  /** Slices or numbers were agreed. */
  readonly learned: () => void;
  /** Whether the store is heard. While it is not, everything waits, and only the newest is written then. */
  readonly heard: () => boolean;
  readonly clock: Clock;
  readonly random: () => number;
  readonly complain: Complaints;
  readonly log: Log;
}

export interface Publisher {
  /** The name and the slices, with everything that keeps a node from starting. @throws HawserError ALREADY_EXISTS, NO_FREE_POOL, STORE. */
  register(signal: AbortSignal): Promise<void>;
  /** Something of this node's own changed, or the store may have lost something. Never fails. */
  nudge(): void;
  /** What was written must be written again, whatever stands: it is nobody's lease any more. */
  forget(): void;
  /** The view has everything anew: what of this node's is missing in it is written again. */
  compare(): void;
  /** Others, or an end of a lease, changed records of this node's. */
  observed(values: Values): void;
  /** Resolves when everything that is own now is in the store. */
  settled(): Promise<void>;
  /** Goes on until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
  /** Why not everything own is in the store; undefined: it is, or nothing was tried yet. */
  trouble(): string | undefined;
}

/** Milliseconds. */
const afterFailure = 1000;
const longestPause = 5000;
/** What all nodes restore after the store was emptied, they restore at different times, each what is still missing then. */
const othersPause = 5000;
const atOnce = 16;

export function createPublisher({ self, families, store, view, claims, own, node, learned, heard, clock, random, complain, log }: PublisherOptions): Publisher {
  /** As this process wrote them, under its own lease. */
  const written = new Map<string, string>();
  /** What is being written now, and how often since the beginning it turned out that such writing may be undone already. */
  let underway: ReadonlyMap<string, string | undefined> = new Map();
  let undone = 0;
  let asked = 0;
  let wake = Promise.withResolvers<void>();
  let waiting: { readonly since: number; readonly resolve: () => void }[] = [];
  let trouble: string | undefined;
  let named = false;

  const nudge = (): void => {
    asked++;
    wake.resolve();
  };

  /** @returns whether it surely stands. */
  const put = async (changes: readonly SharedChange[], signal: AbortSignal): Promise<boolean> => {
    const before = undone;
    underway = new Map(changes.map(({ key, value }) => [key, value]));
    await store.write(changes, signal).finally(() => (underway = new Map()));
    // A lease may end, or a snapshot come, between the server's doing and its answer: then it is done again.
    if (undone !== before) return false;
    for (const { key, value } of changes) {
      if (value === undefined) written.delete(key);
      else written.set(key, value);
    }
    return true;
  };

  /** @throws HawserError ALREADY_EXISTS when another node that lives has the name. */
  const claimName = async (signal: AbortSignal): Promise<void> => {
    const mine = node();
    const standing = await store.claim(nodeKey(self), encodeNode(mine), { leased: true, signal });
    const other = recordOf(standing, self);
    if (other !== undefined && !isSame(mine, other)) throw new HawserError("ALREADY_EXISTS", sentenceOnTaken(other));
    // What an earlier run of this node left is on an earlier lease.
    named = await put([{ key: nodeKey(self), value: encodeNode(mine), leased: true }], signal);
  };

  const assertFree = async (signal: AbortSignal): Promise<void> => {
    const other = recordOf((await store.list(nodeKey(self), signal)).get(nodeKey(self)), self);
    if (other !== undefined && !isSame(node(), other)) throw new HawserError("ALREADY_EXISTS", sentenceOnTaken(other));
  };

  /** Somebody who started later took the name: two that fight would confuse all others. */
  const assertNamed = (): void => {
    const other = recordOf(view.own.get(nodeKey(self)), self);
    const mine = node();
    // A node without a clock of its own may have started later before than now.
    if (other !== undefined && other.startedAt > mine.startedAt && !(other.machine === mine.machine && shareAddress(mine, other))) throw new HawserError("ALREADY_EXISTS", sentenceOnTaken(other));
  };

  const claimSlices = async (signal: AbortSignal): Promise<void> => {
    const before = families.map((family) => view.registry.sliceOf(self, family)).join();
    const failed: unknown[] = [];
    for (const family of families) await claims.slice(family, signal).catch((error: unknown) => failed.push(error));
    if (families.map((family) => view.registry.sliceOf(self, family)).join() !== before) learned();
    if (failed.length > 0) throw failed[0];
  };

  const agree = async (keys: Iterable<string>, signal: AbortSignal): Promise<void> => {
    const rest = [...keys];
    const failed: unknown[] = [];
    const work = async (): Promise<void> => {
      for (let key = rest.shift(); key !== undefined; key = rest.shift()) {
        const before = view.registry.agreed(key);
        try {
          if (await claims.number(key, signal) !== before) learned();
        } catch (error) {
          failed.push(error);
        }
      }
    };
    await Promise.all(Array.from({ length: Math.min(atOnce, rest.length) }, work));
    if (failed.length > 0) throw failed[0];
  };

  const wanted = (): Map<string, string> => {
    const records = new Map<string, string>();
    const { endpoints, health } = own();
    for (const endpoint of endpoints) {
      const { identity, labels, id } = endpoint;
      if (identity >= firstProvisional || view.registry.agreed(identityKey(labels)) !== identity) continue;
      const [key, text] = [endpointKey(self, id), encodeEndpoint(endpoint)];
      if (written.get(key) === text || isTaken(key, text)) records.set(key, text);
    }
    if (health !== undefined) for (const [key, text] of healthRecords(self, health)) records.set(key, text);
    // Others take what they still know of a node that comes back for gone when its own record is there again.
    if (named) records.set(nodeKey(self), encodeNode(node()));
    return records;
  };

  /** What others would refuse is not written. */
  const isTaken = (key: string, text: string): boolean => {
    try {
      const place = placeOf(key);
      if (place !== undefined) decode(place, text);
      complain.settled(key);
      return true;
    } catch (error) {
      complain(key, `the other nodes will not know this container: ${messageOf(error)}`);
      return false;
    }
  };

  /** `note` is told why what was found of backends could not be written: that this node is there is said all the same. */
  const write = async (signal: AbortSignal, note: (error: unknown) => void): Promise<void> => {
    const records = wanted();
    const gone = [...new Set([...view.own.keys(), ...written.keys()].filter((key) => isPartOf(self, key) && !records.has(key)))].map((key) => ({ key, value: undefined }));
    const changed = [...records].filter(([key, text]) => written.get(key) !== text).map(([key, value]) => ({ key, value, leased: true }));
    const isHealth = ({ key }: SharedChange): boolean => isHealthOf(self, key);
    // One record of all goes when its pieces are there, and pieces when it is.
    const health = [...changed, ...gone].filter(isHealth);
    const others = [...gone, ...changed].filter((change) => !isHealth(change));
    if (health.length > 0) await put(health, signal).catch(note);
    if (others.length > 0) await put(others, signal);
  };

  const round = async (signal: AbortSignal): Promise<void> => {
    assertNamed();
    if (!named) await assertFree(signal);
    const failed: unknown[] = [];
    const note = (error: unknown): void => void failed.push(error);
    await claimSlices(signal).catch(note);
    const { endpoints, unnumbered } = own();
    const lost = endpoints.map(({ labels }) => identityKey(labels)).filter((key) => view.registry.agreed(key) !== undefined && !view.registry.stands(key));
    await agree(new Set([...unnumbered, ...lost]), signal).catch(note);
    // What has its slice and its numbers waits for nobody's.
    await write(signal, note);
    if (!named) await claimName(signal);
    if (failed.length > 0) throw failed[0];
  };

  const settle = (upTo: number): void => {
    if (own().unnumbered.length > 0) return;
    for (const { since, resolve } of waiting) if (since <= upTo) resolve();
    waiting = waiting.filter(({ since }) => since > upTo);
  };

  /** What other nodes claimed once and the store has lost; they may be off for long. */
  const restoreOthers = async (signal: AbortSignal): Promise<void> => {
    for (const slice of [...view.registry.slices()]) await claims.restore(slice, signal);
    await agree([...view.registry.numbers().keys()].filter((key) => !view.registry.stands(key)), signal);
  };

  const run = async (signal: AbortSignal): Promise<void> => {
    let failures = 0;
    let restoring: Promise<void> | undefined;
    signal.addEventListener("abort", () => wake.resolve(), { once: true });
    while (!signal.aborted) {
      await wake.promise;
      if (signal.aborted) break;
      wake = Promise.withResolvers();
      if (!heard()) continue;
      const upTo = asked;
      try {
        await round(signal);
        failures = 0;
        if (trouble !== undefined) log.info("what is this node's own is in the store again");
        trouble = undefined;
        settle(upTo);
        if (view.registry.incomplete()) {
          restoring ??= clock.sleep(othersPause * random(), signal).then(() => restoreOthers(signal))
            .catch((error: unknown) => log.debug("what the store lost was not restored", { error })).finally(() => (restoring = undefined));
        }
      } catch (error) {
        if (signal.aborted) break;
        if (trouble !== messageOf(error)) log.warn("what is this node's own is not in the store", { error });
        trouble = messageOf(error);
        failures++;
        const pause = clock.sleep(Math.min(longestPause, afterFailure * failures) * (0.75 + 0.5 * random()), signal).catch(() => undefined);
        await Promise.race([pause, wake.promise]);
        wake.resolve();
      }
    }
    await restoring;
  };

  return {
    nudge, run,
    register: async (signal) => {
      await assertFree(signal);
      await claimSlices(signal);
      // The others, who may have kept this node's containers while its agent was away, take what is not there for gone when the record is back.
      // What of it fails here the rounds to come try again, and tell of.
      await write(signal, () => undefined);
      await claimName(signal);
    },
    forget: () => {
      undone++;
      written.clear();
      named = false;
      nudge();
    },
    compare: () => {
      if (underway.size > 0) undone++;
      for (const [key, text] of written) if (view.own.get(key) !== text) written.delete(key);
      if (!view.own.has(nodeKey(self))) named = false;
      nudge();
    },
    observed: (values) => {
      for (const [key, text] of values) {
        if (underway.has(key) && underway.get(key) !== text) {
          undone++;
          nudge();
        }
        if (!written.has(key) || written.get(key) === text) continue;
        written.delete(key);
        if (key === nodeKey(self)) named = false;
        nudge();
      }
    },
    settled: () => new Promise((resolve) => {
      nudge();
      waiting.push({ since: asked, resolve });
    }),
    trouble: () => trouble,
  };
}

function recordOf(text: string | undefined, self: string): NodeRecord | undefined {
  try {
    const place = placeOf(nodeKey(self));
    const record = text === undefined || place === undefined ? undefined : decode(place, text);
    return record?.kind === "node" ? record.node : undefined;
  } catch {
    // What is no record is nobody's.
    return undefined;
  }
}

/** The same node, earlier: two nodes that live cannot have one address. */
function isSame(one: NodeRecord, other: NodeRecord): boolean {
  return one.machine === other.machine || shareAddress(one, other);
}

function shareAddress(one: NodeRecord, other: NodeRecord): boolean {
  return one.addresses.some((address) => other.addresses.includes(address));
}

function sentenceOnTaken({ name, addresses, startedAt }: NodeRecord): string {
  const where = addresses.length === 0 ? "without an address" : `at ${addresses.join(", ")}`;
  return `another node is called "${name}": the one ${where}, started ${new Date(startedAt).toISOString()}; give this one another node.name, or, when that one is gone for good, try again when its lease has ended`;
}
