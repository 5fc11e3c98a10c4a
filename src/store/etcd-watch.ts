// One watch of etcd's: everything under a range from one revision on, and the certainty that silence is not deafness.
import { Metadata } from "@grpc/grpc-js";
import type { Clock } from "../std/clock.ts";
import { messageOf } from "../std/errors.ts";
import type { EtcdLink } from "./etcd-link.ts";
import { Event_EventType } from "./generated/etcd.ts";
import type { WatchResponse } from "./generated/etcd.ts";
import { Pending } from "./pending.ts";
import type { KeyChange } from "./pending.ts";

/** What was asked for is forgotten: only a whole list helps, and nothing is wrong with the server. */
export class Compacted extends Error {
  constructor() {
    super("etcd has compacted what happened meanwhile");
    this.name = "Compacted";
  }
}

export interface Range {
  readonly key: Buffer;
  /** The first key after it. */
  readonly end: Buffer;
}

export interface Hearing extends Disposable {
  /** Rejects when nothing is heard any more, with Compacted or a HawserError STORE. */
  next(): Promise<readonly KeyChange[]>;
}

export interface HearOptions {
  readonly link: EtcdLink;
  readonly range: Range;
  readonly from: bigint;
  /** Milliseconds without any answer after which the server is not heard any more. */
  readonly silence: number;
  readonly textOf: (key: Buffer) => string;
  readonly clock: Clock;
}

/** How often the server is asked for a sign within the time of silence. */
const signs = 3;

/** Resolves once the server has said that it watches. */
export async function hear(options: HearOptions, signal: AbortSignal): Promise<Hearing> {
  const { link, range, from, silence, textOf, clock } = options;
  const way = await link.stream(signal, (to) => {
    const metadata = to.metadata.clone();
    // A member that is cut off from the majority ends the stream rather than being silent.
    metadata.merge(leaderNeeded());
    const stream = to.watch.watch(metadata);
    return { call: stream, held: to.cancelledBy(() => stream.cancel()) };
  });
  const { call, held } = way.stream;
  const pending = new Pending();
  const begun = Promise.withResolvers<void>();
  const ended = new AbortController();
  let unanswered = 0;

  const end = (error: unknown): void => {
    if (ended.signal.aborted) return;
    ended.abort();
    held[Symbol.dispose]();
    call.cancel();
    way[Symbol.dispose]();
    pending.fail(error);
    begun.reject(error);
  };
  call.on("data", (response: WatchResponse) => {
    unanswered = 0;
    for (const { type, kv } of response.events) {
      if (kv !== undefined) pending.push(textOf(kv.key), type === Event_EventType.DELETE ? undefined : kv.value);
    }
    if (response.compactRevision > 0n) end(new Compacted());
    else if (response.canceled) end(way.failed(new Error(response.cancelReason === "" ? "it ended the watch" : response.cancelReason)));
    else if (response.created) begun.resolve();
  });
  call.on("error", (error) => end(signal.aborted ? signal.reason : way.failed(error)));
  call.on("end", () => end(way.failed(new Error("it ended the watch"))));
  call.write({ createRequest: { key: range.key, rangeEnd: range.end, startRevision: from, fragment: true } });

  const listen = async (): Promise<void> => {
    while (!ended.signal.aborted) {
      await clock.sleep(silence / (signs + 1), ended.signal);
      if (unanswered++ >= signs) end(way.failed(new Error(`no sign of it for ${silence / 1000} s`)));
      else call.write({ progressRequest: {} });
    }
  };
  listen().catch((error: unknown) => {
    if (!ended.signal.aborted) end(way.failed(new Error(messageOf(error))));
  });

  await begun.promise;
  return { next: () => pending.next(), [Symbol.dispose]: () => end(new Error("no longer heard")) };
}

function leaderNeeded(): Metadata {
  const metadata = new Metadata();
  metadata.set("hasleader", "true");
  return metadata;
}
