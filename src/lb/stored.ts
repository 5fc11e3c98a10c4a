// A service as it is remembered, and what nodes that share a store have of services together.

/** With the document that it stands in, to be read again. */
export interface StoredService {
  readonly name: string;
  readonly file: string;
  /** Its own document of the file, or, as earlier builds kept it, all of the file. */
  readonly text: string;
  /** The file's in which the text begins, from 1; left out: the first. */
  readonly line?: number;
  /** From the watched directory, or by `service apply`. */
  readonly source: "directory" | "apply";
  /** Counts the changes of this service, from 1. */
  readonly revision: number;
  /** Milliseconds since the epoch. */
  readonly changedAt: number;
  /** On which node it was written so; left out: on this one, which has told nobody. */
  readonly node?: string;
  /** As `SharedServices.turn` when it was written. */
  readonly turn?: number;
}

/** A service that all nodes have. */
export type SharedService = StoredService & Required<Pick<StoredService, "node" | "turn">>;

/** What nodes that share a store have of services, as of one moment. */
export interface SharedServices {
  /** Counts the changes since the store was empty; 0: there was none. */
  readonly turn: number;
  /** By name. */
  readonly services: ReadonlyMap<string, SharedService>;
  /** Those that stand in a node's watched directory, with the file there: by node, then by name. Of nodes that live. */
  readonly files: ReadonlyMap<string, ReadonlyMap<string, string>>;
}

export const nothingShared: SharedServices = { turn: 0, services: new Map(), files: new Map() };
