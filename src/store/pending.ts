// Changes that wait for their reader: of each key only the newest, so that a reader that falls behind costs no more than what there is.

export interface KeyChange {
  readonly key: string;
  /** undefined: the key is gone. */
  readonly value: string | undefined;
}

export class Pending {
  readonly #newest = new Map<string, string | undefined>();
  #failure: { readonly error: unknown } | undefined;
  #wake: () => void = () => undefined;

  push(key: string, value: string | undefined): void {
    // The order is that of the last change of each key.
    this.#newest.delete(key);
    this.#newest.set(key, value);
    this.#wake();
  }

  /** `next` rejects with this from now on; what still waits is dropped. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#newest.clear();
    this.#wake();
  }

  /** Everything that came since the last call, at least one change. For one reader. */
  async next(): Promise<readonly KeyChange[]> {
    while (this.#newest.size === 0 && this.#failure === undefined) await new Promise<void>((resolve) => (this.#wake = resolve));
    // What comes in the same turn of the event loop belongs together.
    await new Promise<void>((resolve) => void setImmediate(resolve));
    if (this.#failure !== undefined) throw this.#failure.error;
    const changes = Array.from(this.#newest, ([key, value]) => ({ key, value }));
    this.#newest.clear();
    return changes;
  }
}
