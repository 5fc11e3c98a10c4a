// A service as it is remembered.

/** With the whole document that it stands in, to be read again. */
export interface StoredService {
  readonly name: string;
  readonly file: string;
  readonly text: string;
  /** From the watched directory, or by `service apply`. */
  readonly source: "directory" | "apply";
  /** Counts the changes of this service, from 1. */
  readonly revision: number;
  /** Milliseconds since the epoch. */
  readonly changedAt: number;
}
