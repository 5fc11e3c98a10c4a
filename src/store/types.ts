// What is remembered: tables of JSON values under text keys. A store knows neither models nor kernels.

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/** Table → key → value. */
export type Tables = ReadonlyMap<string, ReadonlyMap<string, Json>>;

/** `value` undefined removes the key; removing what is not there is no error. */
export interface Change {
  readonly table: string;
  readonly key: string;
  readonly value: Json | undefined;
}

export interface StoreHealth {
  readonly state: "ok" | "degraded";
  /** One sentence; names the file when something is wrong. */
  readonly detail: string;
}

/** Every method's failure is a HawserError STORE that names the file (or the server). */
export interface Store {
  /** Everything, as of the last acknowledged write. */
  load(): Promise<Tables>;
  /** All of the changes or none; once it resolves, they survive a crash and a power cut. `more`: others follow at once, and a power cut they survive with the last of them. */
  write(changes: readonly Change[], more?: "more"): Promise<void>;
  /** Keeps a second generation when something changed since the last one; cheap to call often. */
  backup(): Promise<void>;
  health(): StoreHealth;
  /** Idempotent; every other method fails afterwards. */
  close(): Promise<void>;
}
