// Probes at a steady rate, with the time at which each was sent, held against the changes that were made meanwhile.
import { fileURLToPath } from "node:url";
import type { Place } from "./place.ts";
import { start } from "./run.ts";

const script = fileURLToPath(new URL("storm.py", import.meta.url));

/** Microseconds of CLOCK_MONOTONIC, which Python's clock is, too. */
export const now = (): number => Number(process.hrtime.bigint() / 1000n);

export interface Probe {
  /** Microseconds. */
  readonly sent: number;
  readonly answered: boolean;
}

export interface Storm extends AsyncDisposable {
  /** 0 when every probe has another. */
  readonly sourcePort: number;
  /** Stops it. */
  probes(): Promise<readonly Probe[]>;
}

export interface StormPlan {
  /** `fresh`: a datagram of a new flow each time; `udp`: one flow; `tcp`: one connection. */
  readonly kind: "fresh" | "udp" | "tcp";
  readonly address: string;
  readonly port: number;
  /** Seconds between two probes; default 2 ms. */
  readonly interval?: number;
}

/** Starts probing a server of the lab; returns when it probes. */
export async function storm(from: Place, { kind, address, port, interval = 0.002 }: StormPlan): Promise<Storm> {
  const running = start(from.command(["/usr/bin/python3", script, kind, address, String(port), String(interval)]), { timeoutMs: 0 });
  await running.says("\n");
  return {
    sourcePort: Number(/probing from (\d+)/.exec(running.printed())?.[1]),
    probes: async () => {
      const { stdout, stderr } = await running.stop();
      const line = stdout.split("\n").find((text) => text.startsWith("{"));
      if (line === undefined) throw new Error(`the storm printed no report: ${stderr}`);
      const { sent, answered } = JSON.parse(line) as { readonly sent: readonly number[]; readonly answered: readonly number[] };
      const known = new Set(answered);
      return sent.map((at, index) => ({ sent: at, answered: known.has(index) }));
    },
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  };
}

/** A change that was asked for at `asked` and answered at `done`; from then on probes must be answered, or none. */
export interface Change {
  readonly asked: number;
  readonly done: number;
  readonly open: boolean;
}

/** Makes a change and keeps its times. */
export async function change(open: boolean, work: () => Promise<unknown>): Promise<Change> {
  const asked = now();
  await work();
  return { asked, done: now(), open };
}

/** How the verdict changed, in order: runs of equal answers. */
export function runs(probes: readonly Probe[]): readonly boolean[] {
  return probes.map(({ answered }) => answered).filter((answered, index, all) => index === 0 || answered !== all[index - 1]);
}

/** The probes sent after a change was answered and before the next was asked for, and that fared otherwise. `graceMs` is granted after each answer. */
export function wrong(probes: readonly Probe[], changes: readonly Change[], graceMs = 0): readonly string[] {
  return probes.flatMap(({ sent, answered }) => {
    const last = changes.findLast(({ asked }) => asked <= sent);
    if (last === undefined || sent <= last.done + graceMs * 1000 || answered === last.open) return [];
    return [`${((sent - last.done) / 1000).toFixed(1)} ms after it was ${last.open ? "allowed, a probe was lost" : "denied, a probe passed"}`];
  });
}
