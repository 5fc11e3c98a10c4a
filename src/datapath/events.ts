// Drops as they happen: one ring in the kernel, any number of listeners here.
import { eventCodec } from "../abi/generated.ts";
import type { Kernel, KernelMap } from "../kernel/types.ts";
import { directionName, reasonName } from "./counters.ts";
import type { DropEvent } from "./types.ts";

/** What one slow listener may have waiting. */
const queueLimit = 4096;

export interface EventSource extends Disposable {
  listen(signal?: AbortSignal): AsyncIterable<DropEvent>;
}

/** The ring is open only while someone listens: without listeners a flood of drops costs the agent nothing (R34). */
export function createEventSource(kernel: Kernel, ring: KernelMap, monotonic = process.hrtime.bigint): EventSource {
  const listeners = new Set<(event: DropEvent) => void>();
  const stop = new AbortController();
  let reader: Disposable | undefined;

  const onRecord = (record: Uint8Array): void => {
    const event = decodeEvent(record);
    for (const listener of listeners) listener(event);
  };
  const join = (listener: (event: DropEvent) => void): Disposable => {
    listeners.add(listener);
    reader ??= kernel.openRing(ring, onRecord);
    return {
      [Symbol.dispose]: () => {
        listeners.delete(listener);
        if (listeners.size > 0) return;
        reader?.[Symbol.dispose]();
        reader = undefined;
      },
    };
  };

  return {
    listen: (signal) => stream(join, monotonic(), signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal])),
    [Symbol.dispose]: () => stop.abort(),
  };
}

/** The ring keeps what nobody read: events from before `since` are old news. */
async function* stream(join: (listener: (event: DropEvent) => void) => Disposable, since: bigint, signal: AbortSignal): AsyncIterable<DropEvent> {
  const queue: DropEvent[] = [];
  let wake = (): void => {};
  using _joined = join((event) => {
    if (event.time < since) return;
    if (queue.length >= queueLimit) queue.shift();
    queue.push(event);
    wake();
  });
  const onAbort = (): void => wake();
  signal.addEventListener("abort", onAbort);
  try {
    while (!signal.aborted) {
      const event = queue.shift();
      if (event !== undefined) yield event;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

export function decodeEvent(record: Uint8Array): DropEvent {
  const event = eventCodec.decode(record);
  return {
    time: event.time,
    ifindex: event.ifindex,
    network: event.network,
    source: event.saddr ?? "",
    destination: event.daddr ?? "",
    sourcePort: event.sport,
    destinationPort: event.dport,
    protocol: event.proto,
    reason: reasonName(event.reason),
    direction: directionName(event.direction),
    length: event.length,
  };
}
