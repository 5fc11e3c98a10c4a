// Whom probes ask and what comes of it, for the engine and between the agent's two threads.
import type { Ip } from "../std/ip.ts";

/** Times in milliseconds. */
export interface Target {
  /** The caller's own name for it. */
  readonly id: string;
  readonly address: Ip;
  /** 1…65535. */
  readonly port: number;
  readonly kind: "tcp" | "http";
  /** Of `http`, as the request has it: from its slash on, printable ASCII. */
  readonly path: string;
  readonly interval: number;
  readonly timeout: number;
}

/** What one probe found. What it means for a backend, `rise` and `fall` in a row tell (src/lb/backends.ts). */
export interface Result {
  readonly id: string;
  readonly ok: boolean;
  /** For people: "HTTP 503", "connection refused". */
  readonly why: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

/** A target under a number that is never used again, so that an answer which was on its way while the target changed is known as such. */
export interface Asked extends Omit<Target, "id"> {
  readonly key: number;
}

/** To the thread. */
export interface Change {
  readonly put: readonly Asked[];
  readonly drop: readonly number[];
}

/** From the thread. */
export interface Report {
  readonly results: readonly (Omit<Result, "id"> & { readonly key: number })[];
  /** Why this node itself could not ask; null: it could. */
  readonly trouble: string | null;
}

/** What both threads see without a message, as numbers of 32 bits: turns that the thread has taken, and milliseconds that its probes are late. */
export const shared = { bytes: 8, turns: 0, late: 1 } as const;

export interface ThreadData {
  readonly shared: SharedArrayBuffer;
}
