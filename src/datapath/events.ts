// Packets as the programs tell of them: one ring in the kernel, any number of listeners here.
import { eventCodec, EventVerdict } from "../abi/generated.ts";
import type { Event } from "../abi/generated.ts";
import type { Kernel, KernelMap } from "../kernel/types.ts";
import { directionName, reasonName } from "./counters.ts";
import type { PacketEvent } from "./types.ts";

/** What one slow listener may have waiting. */
const queueLimit = 4096;

export interface EventSource extends Disposable {
  listen(signal?: AbortSignal): AsyncIterable<PacketEvent>;
  /** Every record as it comes, what the ring kept from before among them, until disposed. */
  tap(onRecord: (record: Uint8Array) => void): Disposable;
}

/** The ring is open only while someone listens; records wait undecoded, so that a flood costs little (R34). */
export function createEventSource(kernel: Kernel, ring: KernelMap, monotonic = process.hrtime.bigint): EventSource {
  const listeners = new Set<(record: Uint8Array) => void>();
  const stop = new AbortController();
  let reader: Disposable | undefined;

  const onRecord = (record: Uint8Array): void => {
    for (const listener of listeners) listener(record);
  };
  const tap: EventSource["tap"] = (listener) => {
    const own = (record: Uint8Array): void => listener(record); // the same function may be given twice
    listeners.add(own);
    reader ??= kernel.openRing(ring, onRecord);
    return {
      [Symbol.dispose]: () => {
        listeners.delete(own);
        if (listeners.size > 0) return;
        reader?.[Symbol.dispose]();
        reader = undefined;
      },
    };
  };

  return {
    listen: (signal) => stream(tap, monotonic(), signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal])),
    tap,
    [Symbol.dispose]: () => {
      stop.abort();
      listeners.clear();
      reader?.[Symbol.dispose]();
      reader = undefined;
    },
  };
}

/** The ring keeps what nobody read: events from before `since` are old news. */
async function* stream(tap: EventSource["tap"], since: bigint, signal: AbortSignal): AsyncIterable<PacketEvent> {
  const queue: Uint8Array[] = [];
  let wake = (): void => {};
  using _joined = tap((record) => {
    if (timeOf(record) < since) return;
    if (queue.length >= queueLimit) queue.shift();
    queue.push(record);
    wake();
  });
  const onAbort = (): void => wake();
  signal.addEventListener("abort", onAbort);
  try {
    while (!signal.aborted) {
      const record = queue.shift();
      if (record !== undefined) yield decodeEvent(record);
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

const verdicts: Readonly<Record<number, PacketEvent["verdict"]>> = {
  [EventVerdict.DROPPED]: "dropped", [EventVerdict.FORWARDED]: "forwarded", [EventVerdict.AUDIT]: "audit",
};
/** enum hw_policy_direction plus 1 */
const ends = [null, "out", "in"] as const;

/** @throws HawserError INTERNAL when the bytes are no struct hw_event */
export function decodeEvent(record: Uint8Array): PacketEvent {
  const event = eventCodec.decode(record);
  const verdict = verdicts[event.verdict] ?? "dropped";
  return {
    time: event.time,
    ifindex: event.ifindex,
    network: event.network,
    source: addressText(event, event.saddr),
    destination: addressText(event, event.daddr),
    sourcePort: event.sport,
    destinationPort: event.dport,
    backend: event.backend ?? "",
    backendPort: event.backendPort,
    protocol: event.proto,
    family: event.family,
    verdict,
    reason: verdict === "dropped" ? reasonName(event.reason) : "forwarded",
    direction: directionName(event.direction),
    end: ends[event.end] ?? null,
    tcpFlags: event.tcpFlags,
    icmpType: event.icmpType,
    icmpCode: event.icmpCode,
    length: event.length,
    rule: event.rule,
    revision: event.revision,
    sourceIdentity: event.sourceIdentity,
    destinationIdentity: event.destinationIdentity,
  };
}

/** All zero is an address of IPv6 too, of who has none yet. */
function addressText(event: Event, address: Event["saddr"]): string {
  return address ?? (event.family === 6 ? "::" : "");
}

const timeField = eventCodec.layout.find((field) => field.name === "time");

function timeOf(record: Uint8Array): bigint {
  if (timeField === undefined) return 0n;
  return timeField.codec.read(new DataView(record.buffer, record.byteOffset, record.byteLength), timeField.offset) as bigint;
}
