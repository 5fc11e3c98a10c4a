// The store that nodes share through etcd: lists of one revision, watches that heal, and writes under this node's lease.
import type { Log } from "../std/log.ts";
import { HawserError, messageOf } from "../std/errors.ts";
import { isCompacted, isLeaseGone, isTooLarge } from "./etcd-errors.ts";
import { Lease } from "./etcd-lease.ts";
import { EtcdLink, unary } from "./etcd-link.ts";
import type { LinkOptions } from "./etcd-link.ts";
import { Compacted, hear } from "./etcd-watch.ts";
import type { Hearing, Range } from "./etcd-watch.ts";
import { Compare_CompareResult, Compare_CompareTarget } from "./generated/etcd.ts";
import type { Compare, RangeResponse, RequestOp, ResponseHeader, TxnResponse } from "./generated/etcd.ts";
import type { SharedChange, SharedEvent, SharedStore } from "./shared.ts";
import type { StoreHealth } from "./types.ts";

export interface EtcdOptions extends LinkOptions {
  /** Begins every key, such as `/hawser/`. */
  readonly prefix: string;
  /** Seconds; default 15. etcd makes very small ones larger. */
  readonly ttl?: number;
  /** Milliseconds after which a watch that hears nothing is said to be lost; default 5000. */
  readonly silence?: number;
  /** From 0 to 1, so that nodes that lost one server do not come back all at once. */
  readonly random?: () => number;
  readonly log: Log;
}

interface Snapshot {
  readonly entries: Map<string, string>;
  readonly revision: bigint;
}

/** Keys of one page of a list. */
const largestPage = 500;
const largestBatch = 100;
/** etcd takes 1.5 MiB in one request. */
const largestBatchBytes = 1024 * 1024;
/** A list that loses its revision in the middle, and a claim that is undone while it looks, begin again this often. */
const attempts = 5;
/** Milliseconds between tries to hear a server again. */
const [firstPause, longestPause] = [300, 2000];

/** Connects when first asked; a server that is away now is no failure. @throws HawserError STORE when a file that is named cannot be read. */
export function openEtcd(options: EtcdOptions): SharedStore {
  return new EtcdStore(options);
}

class EtcdStore implements SharedStore {
  readonly #options: EtcdOptions;
  readonly #link: EtcdLink;
  readonly #lease: Lease;
  readonly #ended = new AbortController();
  /** The newest that was read or written. */
  #seen: ResponseHeader | undefined;

  constructor(options: EtcdOptions) {
    this.#options = options;
    this.#link = new EtcdLink(options);
    this.#lease = new Lease({ link: this.#link, ttl: options.ttl ?? 15, clock: options.clock, log: options.log });
  }

  async list(prefix: string, signal?: AbortSignal): Promise<ReadonlyMap<string, string>> {
    return (await this.#snapshot(this.#range(prefix), signal)).entries;
  }

  async claim(key: string, value: string, options: { readonly leased?: boolean; readonly signal?: AbortSignal } = {}): Promise<string> {
    const { leased = false, signal } = options;
    return await this.#withLease(leased, async (lease) => {
      const name = this.#key(key);
      const put: RequestOp = { requestPut: { key: name, value, lease } };
      for (let tries = 0; tries < attempts; tries++) {
        const { succeeded, responses } = await this.#transact("written", signal, {
          compare: [{ result: Compare_CompareResult.EQUAL, target: Compare_CompareTarget.CREATE, key: name, createRevision: 0n }],
          success: [put],
          failure: [{ requestRange: { key: name, rangeEnd: Buffer.alloc(0), limit: 0n, revision: 0n } }],
        });
        if (succeeded) return value;
        const standing = responses[0]?.responseRange?.kvs[0];
        if (standing === undefined) continue;
        const text = standing.value;
        if (text !== value || standing.lease === lease) return text;
        // Ours, of a try whose answer was lost or of an earlier life: under its old lease it would go.
        const moved = await this.#transact("written", signal, {
          compare: [{ result: Compare_CompareResult.EQUAL, target: Compare_CompareTarget.MOD, key: name, modRevision: standing.modRevision }],
          success: [put], failure: [],
        });
        if (moved.succeeded) return value;
      }
      throw new HawserError("STORE", `${key} changes too quickly in etcd at ${this.#link.endpoint} to be claimed; do two nodes have the same name?`);
    });
  }

  async write(changes: readonly SharedChange[], signal?: AbortSignal): Promise<void> {
    for (const batch of batchesOf(changes)) {
      await this.#withLease(batch.some(({ leased }) => leased), async (lease) => {
        await this.#transact("written", signal, { compare: [], success: this.#operations(batch, lease), failure: [] });
      });
    }
  }

  async exchange(expected: { readonly key: string; readonly value: string | undefined }, changes: readonly SharedChange[], signal?: AbortSignal): Promise<boolean> {
    const key = this.#key(expected.key);
    const compare: Compare = expected.value === undefined
      ? { result: Compare_CompareResult.EQUAL, target: Compare_CompareTarget.CREATE, key, createRevision: 0n }
      : { result: Compare_CompareResult.EQUAL, target: Compare_CompareTarget.VALUE, key, value: Buffer.from(expected.value) };
    return await this.#withLease(changes.some(({ leased }) => leased), async (lease) =>
      (await this.#transact("written", signal, { compare: [compare], success: this.#operations(changes, lease), failure: [] })).succeeded);
  }

  #operations(changes: readonly SharedChange[], ours: bigint): RequestOp[] {
    return changes.map(({ key, value, leased = false }): RequestOp => (value === undefined
      ? { requestDeleteRange: { key: this.#key(key) } }
      : { requestPut: { key: this.#key(key), value, lease: leased ? ours : 0n } }));
  }

  async *watch(prefix: string, signal: AbortSignal): AsyncIterable<SharedEvent> {
    const { clock, log, random = Math.random } = this.#options;
    const until = AbortSignal.any([signal, this.#ended.signal]);
    const range = this.#range(prefix);
    let hearing: Hearing | undefined;
    let lost = false;
    let pause = firstPause;
    // A function of its own: what a generator holds while it waits stays in memory, and a list is large.
    const next = async (): Promise<SharedEvent> => {
      if (hearing !== undefined) return { kind: "changes", changes: await hearing.next() };
      const { entries, revision } = await this.#snapshot(range, until);
      hearing = await this.#hear(range, revision + 1n, until);
      // Others hear what we hear: the shorter our records are missing there, the better.
      if (lost) await this.#lease.check();
      if (lost) log.info("etcd is heard again", { endpoint: this.#link.endpoint, prefix });
      lost = false;
      pause = firstPause;
      return { kind: "snapshot", entries };
    };
    try {
      while (!until.aborted) {
        try {
          yield await next();
        } catch (error) {
          hearing?.[Symbol.dispose]();
          hearing = undefined;
          if (until.aborted || error instanceof Compacted) continue;
          if (!lost) {
            log.warn("etcd is not heard any more", { error });
            lost = true;
            yield { kind: "lost", why: messageOf(error) };
          }
          await clock.sleep(pause * random(), until).catch(() => undefined);
          pause = Math.min(longestPause, pause * 2);
        }
      }
    } finally {
      hearing?.[Symbol.dispose]();
    }
  }

  onLeaseLost(listener: () => void): Disposable {
    return this.#lease.onLost(listener);
  }

  leasedUntil(): number | null {
    return this.#lease.until;
  }

  health(): StoreHealth {
    const { trouble, endpoint } = this.#link;
    return trouble === null ? { state: "ok", detail: `etcd at ${endpoint}` } : { state: "degraded", detail: trouble };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended.abort();
    this.#link.close();
    this.#lease.close();
  }

  async #snapshot(range: Range, signal: AbortSignal | undefined): Promise<Snapshot> {
    let limit = largestPage;
    for (let tries = 1; ; tries++) {
      try {
        return await this.#pages(range, limit, signal);
      } catch (error) {
        if (isTooLarge(error) && limit > 1) limit = Math.ceil(limit / 10);
        else if (!isCompacted(error) || tries >= attempts) throw error;
      }
    }
  }

  /** Page after page of the first one's revision. */
  async #pages({ key, end }: Range, limit: number, signal: AbortSignal | undefined): Promise<Snapshot> {
    const entries = new Map<string, string>();
    let [from, revision] = [key, 0n];
    for (;;) {
      const seen = this.#seen;
      const page: RangeResponse = await this.#link.call("read", signal, (to) =>
        unary(to, to.kv, to.kv.range, { key: from, rangeEnd: end, limit: BigInt(limit), revision }));
      if (revision === 0n) {
        revision = page.header?.revision ?? 0n;
        await this.#note(page.header, seen);
      }
      for (const kv of page.kvs) entries.set(this.#textOf(kv.key), kv.value);
      const last = page.kvs.at(-1);
      if (!page.more || last === undefined) return { entries, revision };
      from = Buffer.concat([last.key, Buffer.alloc(1)]);
    }
  }

  #hear(range: Range, from: bigint, signal: AbortSignal): Promise<Hearing> {
    const { clock, silence = 5000 } = this.#options;
    return hear({ link: this.#link, range, from, silence, clock, textOf: (key) => this.#textOf(key) }, signal);
  }

  async #transact(what: string, signal: AbortSignal | undefined, request: { compare: Compare[]; success: RequestOp[]; failure: RequestOp[] }): Promise<TxnResponse> {
    const seen = this.#seen;
    const reply = await this.#link.call(what, signal, (to) => unary(to, to.kv, to.kv.txn, request));
    await this.#note(reply.header, seen);
    return reply;
  }

  async #withLease<T>(leased: boolean, work: (lease: bigint) => Promise<T>): Promise<T> {
    if (!leased) return await work(0n);
    const lease = await this.#lease.id();
    try {
      return await work(lease);
    } catch (error) {
      if (!isLeaseGone(error)) throw error;
      return await work(await this.#lease.replace(lease));
    }
  }

  /**
   * A store that knows less than before the question was asked is another one, or an older copy: our lease may stand there without what
   * we wrote under it.
   */
  async #note(header: ResponseHeader | undefined, before: ResponseHeader | undefined): Promise<void> {
    if (header === undefined) return;
    if (before !== undefined && (header.clusterId !== before.clusterId || header.revision < before.revision)) {
      this.#seen = header;
      this.#options.log.warn("etcd has lost data; what this node wrote is written again", { endpoint: this.#link.endpoint });
      await this.#lease.renew();
    } else if (this.#seen === undefined || header.revision > this.#seen.revision) {
      this.#seen = header;
    }
  }

  #range(prefix: string): Range {
    const key = this.#key(prefix);
    return { key, end: afterAll(key) };
  }

  #key(key: string): Buffer {
    return Buffer.from(this.#options.prefix + key);
  }

  #textOf(key: Buffer): string {
    return key.toString("utf8", Buffer.byteLength(this.#options.prefix));
  }
}

/** The first key after all that begin so. */
function afterAll(prefix: Buffer): Buffer {
  const end = Buffer.from(prefix);
  const last = end.findLastIndex((byte) => byte < 0xff);
  // etcd's word for "to the very end".
  if (last < 0) return Buffer.alloc(1);
  end[last] = (end[last] ?? 0) + 1;
  return end.subarray(0, last + 1);
}

/** In order; within one transaction etcd takes each key once. */
function* batchesOf(changes: readonly SharedChange[]): Iterable<readonly SharedChange[]> {
  let batch = new Map<string, SharedChange>();
  let bytes = 0;
  for (const change of changes) {
    const size = Buffer.byteLength(change.key) + Buffer.byteLength(change.value ?? "");
    if (batch.size >= largestBatch || (batch.size > 0 && bytes + size > largestBatchBytes)) {
      yield [...batch.values()];
      [batch, bytes] = [new Map(), 0];
    }
    batch.set(change.key, change);
    bytes += size;
  }
  if (batch.size > 0) yield [...batch.values()];
}
