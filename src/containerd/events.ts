// containerd's events, decoded: an endless stream that survives containerd's restarts and says when it has begun.
import { randomUUID } from "node:crypto";
import type { Clock } from "../std/clock.ts";
import { messageOf } from "../std/errors.ts";
import { ContainerdAbsent } from "./client.ts";
import type { ContainerdClient, Envelope } from "./client.ts";
import { ContainerCreate, ContainerDelete, ContainerUpdate, TaskCreate, TaskDelete, TaskExit, TaskStart } from "./generated/happenings.ts";

export type Happening =
  /** Made or changed. */
  | { readonly kind: "container"; readonly id: string }
  | { readonly kind: "container gone"; readonly id: string }
  | { readonly kind: "task"; readonly id: string; readonly pid: number; readonly started: boolean }
  | { readonly kind: "task gone"; readonly id: string; readonly pid: number };

/** "connected" comes whenever the stream begins anew: what happened meanwhile is not known (R93, R97). */
export type ContainerdNotice =
  | { readonly kind: "connected" }
  | { readonly kind: "lost"; readonly why: string }
  /** `at`: as containerd says, in milliseconds since the epoch. */
  | { readonly kind: "happened"; readonly namespace: string; readonly what: Happening; readonly at: number };

/** Milliseconds between attempts; the last repeats. */
const pauses = [100, 250, 500, 1000, 2000, 5000];
/** Milliseconds between two markers until one comes back. */
const markerPause = 50;
const marker = { namespace: "hawser", topic: "/hawser/sync", type: "containerd.events.ContainerDelete" } as const;
const filters = ['topic~="^/(containers|tasks)/"', `topic==${JSON.stringify(marker.topic)}`];

export async function* watchContainerd(containerd: ContainerdClient, clock: Clock, signal: AbortSignal): AsyncGenerator<ContainerdNotice> {
  let failures = 0;
  while (!signal.aborted) {
    let why = "containerd's event stream ended";
    const attempt = new AbortController();
    const either = AbortSignal.any([signal, attempt.signal]);
    try {
      for await (const notice of follow(containerd, clock, either, attempt)) {
        failures = 0;
        yield notice;
      }
    } catch (error) {
      if (signal.aborted) return;
      const cause = attempt.signal.aborted ? attempt.signal.reason : error;
      why = cause instanceof ContainerdAbsent ? cause.message : `containerd's event stream broke off: ${messageOf(cause)}`;
    } finally {
      attempt.abort();
    }
    if (signal.aborted) return;
    yield { kind: "lost", why };
    const pause = pauses[Math.min(failures++, pauses.length - 1)] ?? 0;
    await clock.sleep(pause, signal).catch(() => undefined);
  }
}

/**
 * containerd says nothing when it has taken up a subscription, and a container made before that is in no event: so an event of
 * our own is published until it comes back. From there on nothing is missed, and what was before is read as a list.
 */
async function* follow(containerd: ContainerdClient, clock: Clock, signal: AbortSignal, attempt: AbortController): AsyncGenerator<ContainerdNotice> {
  const sign = randomUUID();
  const begun = new AbortController();
  const marking = mark(containerd, clock, sign, AbortSignal.any([signal, begun.signal])).catch((error: unknown) => attempt.abort(error));
  try {
    for await (const envelope of containerd.events(filters, signal)) {
      if (envelope.topic === marker.topic) {
        if (begun.signal.aborted || !signedBy(envelope, sign)) continue;
        begun.abort();
        yield { kind: "connected" };
      } else if (begun.signal.aborted) {
        const what = meaningOf(envelope);
        if (what !== undefined) yield { kind: "happened", namespace: envelope.namespace, what, at: timeOf(envelope) ?? clock.now() };
      }
    }
  } finally {
    begun.abort();
    await marking;
  }
}

async function mark(containerd: ContainerdClient, clock: Clock, sign: string, signal: AbortSignal): Promise<void> {
  const event = { typeUrl: marker.type, value: Buffer.from(ContainerDelete.encode({ id: sign }).finish()) };
  try {
    for (;;) {
      await containerd.publish(marker.namespace, marker.topic, event, signal);
      await clock.sleep(markerPause, signal);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

function signedBy({ event }: Envelope, sign: string): boolean {
  return event !== undefined && ContainerDelete.decode(event.value).id === sign;
}

function timeOf({ timestamp }: Envelope): number | undefined {
  return timestamp === undefined ? undefined : Number(timestamp.seconds) * 1000 + Math.floor(timestamp.nanos / 1_000_000);
}

/** undefined for what changes nothing for us, such as the end of a command that was executed in a container. */
export function meaningOf({ event }: Envelope): Happening | undefined {
  switch (event?.typeUrl) {
    case "containerd.events.ContainerCreate":
      return { kind: "container", id: ContainerCreate.decode(event.value).id };
    case "containerd.events.ContainerUpdate":
      return { kind: "container", id: ContainerUpdate.decode(event.value).id };
    case "containerd.events.ContainerDelete":
      return { kind: "container gone", id: ContainerDelete.decode(event.value).id };
    case "containerd.events.TaskCreate": {
      const { containerId: id, pid } = TaskCreate.decode(event.value);
      return { kind: "task", id, pid, started: false };
    }
    case "containerd.events.TaskStart": {
      const { containerId: id, pid } = TaskStart.decode(event.value);
      return { kind: "task", id, pid, started: true };
    }
    case "containerd.events.TaskExit": {
      const { containerId: id, id: process, pid } = TaskExit.decode(event.value);
      return process === id ? { kind: "task gone", id, pid } : undefined;
    }
    case "containerd.events.TaskDelete": {
      const { containerId: id, id: process, pid } = TaskDelete.decode(event.value);
      return process === "" || process === id ? { kind: "task gone", id, pid } : undefined;
    }
    default:
      return undefined;
  }
}
