// This node's lease: kept alive as long as the process lives, and replaced when it is gone, which listeners are then told.
import type { Clock } from "../std/clock.ts";
import type { Log } from "../std/log.ts";
import { unary } from "./etcd-link.ts";
import type { Attempt, EtcdLink } from "./etcd-link.ts";

export interface LeaseOptions {
  readonly link: EtcdLink;
  /** Seconds of silence after which what is written under it goes. */
  readonly ttl: number;
  readonly clock: Clock;
  readonly log: Log;
}

export class Lease {
  readonly #options: LeaseOptions;
  readonly #listeners = new Set<() => void>();
  readonly #ended = new AbortController();
  #standing: bigint | undefined;
  #until: number | null = null;
  #granting: Promise<bigint> | undefined;
  /** undefined until there was a lease. */
  #keeping: Promise<void> | undefined;

  constructor(options: LeaseOptions) {
    this.#options = options;
  }

  /** Until when the lease stands for sure, counted from before the server was asked; milliseconds since the epoch. */
  get until(): number | null {
    return this.#until;
  }

  /** The lease that stands; asked of the server when there is none yet. */
  async id(): Promise<bigint> {
    return this.#standing ?? (await this.#grant());
  }

  /** `gone` is no lease any more: another is asked for unless that has happened already, and the listeners are called. */
  async replace(gone: bigint): Promise<bigint> {
    if (this.#standing === gone) [this.#standing, this.#until] = [undefined, null];
    return this.id();
  }

  /** The server lost data: what stands under the lease may be missing although the lease is there. */
  async renew(): Promise<void> {
    if (this.#standing !== undefined) await this.replace(this.#standing);
  }

  /** Keeps it alive, or replaces it when it is gone; done by itself, and of worth after a time of silence. @returns whether the server answered. */
  async check(): Promise<boolean> {
    const { link, clock, ttl, log } = this.#options;
    const until = clock.now() + ttl * 1000;
    const [id, signal] = [this.#standing, this.#ended.signal];
    if (this.#keeping === undefined) return true;
    try {
      if (id === undefined) await this.id();
      else if ((await link.call("told that this node lives", signal, (to) => keptAlive(to, id))) <= 0n) {
        log.warn("the lease was lost; what was written under it is written again", { endpoint: link.endpoint });
        await this.replace(id);
      } else if (this.#standing === id) this.#until = until;
      return true;
    } catch (error) {
      if (!signal.aborted) log.debug("the lease could not be kept alive", { error });
      return false;
    }
  }

  onLost(listener: () => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  /** Lets the lease run out by itself: whoever starts again within its time finds everything in place. */
  close(): void {
    this.#ended.abort();
  }

  #grant(): Promise<bigint> {
    const { link, clock, ttl } = this.#options;
    const until = clock.now() + ttl * 1000;
    this.#granting ??= link
      .call("asked for a lease", this.#ended.signal, (to) => unary(to, to.lease, to.lease.leaseGrant, { ttl: BigInt(ttl), id: 0n }))
      .then(({ id }) => this.#stands(id, until))
      .finally(() => (this.#granting = undefined));
    return this.#granting;
  }

  #stands(id: bigint, until: number): bigint {
    [this.#standing, this.#until] = [id, until];
    if (this.#keeping === undefined) this.#keeping = this.#keep();
    else this.#tell();
    return id;
  }

  #tell(): void {
    for (const listener of this.#listeners) {
      try {
        listener();
      } catch (error) {
        this.#options.log.error("a listener failed when the lease was lost", { error });
      }
    }
  }

  async #keep(): Promise<void> {
    const { clock, ttl } = this.#options;
    const signal = this.#ended.signal;
    let well = true;
    while (!signal.aborted) {
      await clock.sleep((ttl / (well ? 3 : 15)) * 1000, signal).catch(() => undefined);
      if (!signal.aborted) well = await this.check();
    }
  }
}

/** One beat on a stream of its own, so that it has a deadline as every call. @returns the seconds left, 0 when there is no such lease. */
function keptAlive(to: Attempt, id: bigint): Promise<bigint> {
  return new Promise((resolve, reject) => {
    const call = to.lease.leaseKeepAlive(to.metadata, to.options);
    const held = to.cancelledBy(() => call.cancel());
    call.on("data", ({ ttl }: { readonly ttl: bigint }) => resolve(ttl));
    call.on("error", reject);
    call.on("close", () => held[Symbol.dispose]());
    call.on("end", () => reject(new Error("the stream ended without an answer")));
    call.write({ id });
    call.end();
  });
}
