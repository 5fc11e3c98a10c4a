// Docker's events as reasons to look again: an endless stream that survives Docker's restarts.
import type { Clock } from "../std/clock.ts";
import { messageOf } from "../std/errors.ts";
import { DockerAbsent } from "./client.ts";
import type { DockerClient } from "./client.ts";

/** "connected" comes whenever the stream begins anew: what happened meanwhile is not known (R93). */
export type DockerNotice = { readonly kind: "connected" } | { readonly kind: "lost"; readonly why: string } | { readonly kind: "changed"; readonly what: string }
  /** A signal was sent to a container, whatever it means to it. `at`: milliseconds since the epoch; 0: Docker did not say. */
  | { readonly kind: "signal"; readonly containerId: string; readonly signal: string; readonly at: number };

/** Milliseconds between attempts; the last repeats. */
const pauses = [100, 250, 500, 1000, 2000, 5000];
/** An event is some kilobytes; a line beyond this is none. */
const longestLine = 1024 * 1024;

const telling: Readonly<Record<string, readonly string[]>> = {
  network: ["connect", "disconnect", "create", "destroy", "remove"],
  container: ["rename", "update", "start", "die", "destroy"],
  daemon: ["reload"],
};

export async function* watchDocker(docker: DockerClient, clock: Clock, signal: AbortSignal): AsyncGenerator<DockerNotice> {
  let failures = 0;
  while (!signal.aborted) {
    let why = "Docker's event stream ended";
    try {
      const stream = await docker.events(signal);
      yield { kind: "connected" };
      for await (const line of linesOf(stream)) {
        failures = 0;
        const notice = meaningOf(line);
        if (notice !== undefined) yield notice;
      }
    } catch (error) {
      if (signal.aborted) return;
      why = error instanceof DockerAbsent ? error.message : `Docker's event stream broke off: ${messageOf(error)}`;
    }
    yield { kind: "lost", why };
    const pause = pauses[Math.min(failures++, pauses.length - 1)] ?? 0;
    await clock.sleep(pause, signal).catch(() => undefined);
  }
}

/** Events may arrive in pieces or several at once. */
export async function* linesOf(stream: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = parts.pop() ?? "";
    if (rest.length > longestLine) throw new RangeError("Docker sent an event without an end");
    yield* parts.filter((part) => part.trim() !== "");
  }
}

interface DockerEvent {
  readonly Type?: unknown;
  readonly Action?: unknown;
  readonly Actor?: { readonly ID?: unknown; readonly Attributes?: { readonly signal?: unknown } };
  readonly timeNano?: unknown;
}

/** undefined for what changes nothing for us. */
export function meaningOf(line: string): Extract<DockerNotice, { readonly kind: "changed" | "signal" }> | undefined {
  let event: DockerEvent;
  try {
    event = JSON.parse(line) as typeof event;
  } catch {
    return undefined;
  }
  const { Type: type, Action: action, Actor: actor, timeNano } = event;
  if (typeof type !== "string" || typeof action !== "string") return undefined;
  const [containerId, signal] = [actor?.ID, actor?.Attributes?.signal];
  if (type === "container" && action === "kill" && typeof containerId === "string" && typeof signal === "string") {
    return { kind: "signal", containerId, signal, at: typeof timeNano === "number" ? Math.floor(timeNano / 1_000_000) : 0 };
  }
  return telling[type]?.includes(action) ? { kind: "changed", what: `${type} ${action}` } : undefined;
}
