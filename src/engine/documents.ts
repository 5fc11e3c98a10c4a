// Documents in which policies and services are written, as they come in.
import type { ReadServices } from "../lb/read.ts";

/** One file, or what came in its stead: YAML; of policies also a Compose file with `x-hawser:`. */
export interface WrittenDocument {
  /** As it is to be called in messages: a path. */
  readonly file: string;
  readonly text: string;
  /** The file's in which the text begins, from 1, when it is a part of one. */
  readonly line?: number;
}

/** Tells what service documents hold, one after another, as `readDocument` would. Rejects when it can read no further, or when the signal aborts. */
export type ReadElsewhere = (documents: readonly WrittenDocument[], found: (document: WrittenDocument, read: ReadServices) => void, signal?: AbortSignal) => Promise<void>;

export interface ApplyDocuments {
  readonly documents: readonly WrittenDocument[];
  /** Names that nothing carries are errors, not warnings. */
  readonly strict: boolean;
}

export interface DirectoryReading {
  /** Absolute path. */
  readonly directory: string;
  /** Every `*.yaml` in it; null: it cannot be read. */
  readonly documents: readonly WrittenDocument[] | null;
  /** Why it, or a file in it, cannot be read: by path. */
  readonly unreadable: Readonly<Record<string, string>>;
}
