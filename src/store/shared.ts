// What nodes share: text values under text keys, of which each node writes its own. One interface for every kind of server, and for none.
import type { StoreHealth } from "./types.ts";

export interface SharedChange {
  readonly key: string;
  /** undefined: the key goes; removing what is not there is no error. */
  readonly value: string | undefined;
  /** The key goes by itself when this node has been silent for the store's time to live. Default false. */
  readonly leased?: boolean;
}

export type SharedEvent =
  /** Everything under the prefix, as of one moment: first of all, and again after a gap in what was heard. The map is the reader's, to take out of it. */
  | { readonly kind: "snapshot"; readonly entries: Map<string, string> }
  | { readonly kind: "changes"; readonly changes: readonly { readonly key: string; readonly value: string | undefined }[] }
  /** The store is not heard any more; a snapshot follows when it is again. */
  | { readonly kind: "lost"; readonly why: string };

/**
 * Every method's failure is a HawserError STORE that names the server; no question to it waits longer than the store's own limit of a few seconds.
 * Disposing of the store leaves what is leased to its time, so that whoever starts again soon finds it.
 */
export interface SharedStore extends AsyncDisposable {
  /** Of one moment. */
  list(prefix: string, signal?: AbortSignal): Promise<ReadonlyMap<string, string>>;
  /** Writes the value unless the key is there. @returns the value that stands, the given one or another's. */
  claim(key: string, value: string, options?: { readonly leased?: boolean; readonly signal?: AbortSignal }): Promise<string>;
  /** In order; each batch, of a hundred changes or a mebibyte, is all or nothing. */
  write(changes: readonly SharedChange[], signal?: AbortSignal): Promise<void>;
  /**
   * All of the changes, at most a hundred, if that key has that value (undefined: it is not there), else none.
   * @returns whether they were made. One whose answer was lost may have been made, and is then told not to be.
   */
  exchange(expected: { readonly key: string; readonly value: string | undefined }, changes: readonly SharedChange[], signal?: AbortSignal): Promise<boolean>;
  /** Goes on until the signal aborts; a server that is away is waited for. A reader that falls behind gets the newest of each key. */
  watch(prefix: string, signal: AbortSignal): AsyncIterable<SharedEvent>;
  /**
   * Calls back when what was written `leased` is gone from the store though this node lives (it was away too long, or the server lost its data):
   * it must be written again.
   */
  onLeaseLost(listener: () => void): Disposable;
  /**
   * Until when, in milliseconds since the epoch, what this node has written `leased` stands for sure, whether or not the store is heard until then;
   * null: nothing is leased now. It is put off while the store answers.
   */
  leasedUntil(): number | null;
  health(): StoreHealth;
}
