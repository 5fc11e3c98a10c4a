// Service documents, each read once, whoever asks for it; many of them with turns for others in between.
import { takeApart } from "../lb/own-text.ts";
import type { ServicePart } from "../lb/own-text.ts";
import { readingDocument, readingRightly } from "../lb/read.ts";
import type { ReadServices } from "../lb/read.ts";
import type { Service } from "../lb/types.ts";
import { warningsOf } from "../lb/warnings.ts";
import type { Known } from "../lb/warnings.ts";
import { HawserError } from "../std/errors.ts";
import { atOnce, inTurns } from "../std/sliced.ts";
import type { Sliced } from "../std/sliced.ts";
import type { ReadElsewhere, WrittenDocument } from "./documents.ts";
import { createQueue } from "./queue.ts";

/** Characters that are not read yet, from which on others read them: less takes less time than to ask them. */
const many = 400_000;
/** Services of one document that are looked at as it comes; more wait for turns of their own. */
const few = 20;
/** Of texts of services that are no more, which may come back. Of a character some 15 bytes are kept. */
const spare = { texts: 100, characters: 1_000_000 };

export class ServiceTexts {
  #read = new Map<string, ReadServices>();
  /** The same by what was asked with: a key is a text of its own, to be made and gone through. */
  #byDocument = new WeakMap<WrittenDocument, ReadServices>();
  /** Of the texts in it, and from how many on some are forgotten. */
  #characters = 0;
  #most = spare.characters;
  readonly #held = new Set<readonly WrittenDocument[]>();
  readonly #parts = new WeakMap<ReadServices, readonly ServicePart[] | null>();
  readonly #elsewhere: ReadElsewhere | undefined;
  /** Of what is read elsewhere: one after another. */
  readonly #asked = createQueue();
  readonly #ended = new AbortController();
  readonly #failed: (error: unknown) => void;

  /** `elsewhere`: left out, all is read here. `failed`: why what it did not read is, too. */
  constructor(elsewhere?: ReadElsewhere, failed: (error: unknown) => void = () => undefined) {
    [this.#elsewhere, this.#failed] = [elsewhere, failed];
  }

  /** What is the same text of the same file is the same object. */
  readonly one = (document: WrittenDocument): ReadServices => atOnce(this.#reading(document));

  /** Its services with what each one's own is of the text, which then is read already; null: something in it is wrong. */
  readonly parts = (document: WrittenDocument): readonly ServicePart[] | null => atOnce(this.#partsOf(document));

  *#reading(document: WrittenDocument): Sliced<ReadServices> {
    const before = this.#byDocument.get(document);
    if (before !== undefined) return before;
    const known = this.#read.get(keyOf(document)) ?? (yield* readingDocument(document));
    this.#note(document, known);
    return known;
  }

  *#partsOf(document: WrittenDocument): Sliced<readonly ServicePart[] | null> {
    const read = yield* this.#reading(document);
    let parts = this.#parts.get(read);
    if (parts !== undefined) return parts;
    const services = yield* readingRightly(read);
    parts = services === null ? null : yield* takeApart(document, services);
    this.#parts.set(read, parts);
    for (const { service, ...own } of parts ?? []) {
      const part = { ...own, file: document.file };
      if (!this.#read.has(keyOf(part))) this.#note(part, { services: [service], problems: [] });
    }
    return parts;
  }

  /** Whoever waits for `prepare` is told that there is nobody any more. */
  end(): void {
    this.#ended.abort(new HawserError("UNSUPPORTED", "the agent stops"));
  }

  /** So that nobody waits for all of them to be read when they are asked for. `look`: at what is found, for the same reason. @throws the signal's reason, or HawserError when the desk closes */
  async prepare(documents: readonly WrittenDocument[], look: (service: Service) => unknown = () => undefined, signal?: AbortSignal): Promise<void> {
    const until = signal === undefined ? this.#ended.signal : AbortSignal.any([signal, this.#ended.signal]);
    if (this.#elsewhere !== undefined && areMany(await inTurns(this.#unread(documents)))) await this.#asked.run(() => this.#readElsewhere(documents, look, until), until);
    await inTurns(this.#prepared(documents, look, until));
  }

  /** What others do not read is read here. */
  async #readElsewhere(documents: readonly WrittenDocument[], look: (service: Service) => unknown, signal: AbortSignal): Promise<void> {
    // Whoever was asked before may have been asked for the same.
    const unread = await inTurns(this.#unread(documents));
    signal.throwIfAborted();
    if (!areMany(unread)) return;
    const came: WrittenDocument[] = [];
    let looking = false;
    const lookAtThose = async (): Promise<void> => {
      looking = true;
      await inTurns(this.#lookedAt(came, look, signal));
      looking = false;
    };
    const found = (document: WrittenDocument, read: ReadServices): void => {
      this.#note(document, read);
      if (read.services.length > few) return;
      came.push(document);
      // Of several messages in one turn that is none of theirs. What goes wrong with it is found again when all are gone through.
      if (!looking) void lookAtThose().catch(() => undefined);
    };
    await this.#elsewhere?.(unread, found, signal).catch((error: unknown) => {
      signal.throwIfAborted();
      this.#failed(error);
    });
  }

  *#unread(documents: readonly WrittenDocument[]): Sliced<readonly WrittenDocument[]> {
    const unread: WrittenDocument[] = [];
    for (const document of documents) {
      if (!this.#read.has(keyOf(document))) unread.push(document);
      yield;
    }
    return unread;
  }

  /** As they come. */
  *#lookedAt(came: WrittenDocument[], look: (service: Service) => unknown, signal: AbortSignal): Sliced<void> {
    for (let document = came.shift(); document !== undefined && !signal.aborted; document = came.shift()) {
      for (const { service } of (yield* this.#partsOf(document)) ?? []) look(service);
      yield;
    }
  }

  *#prepared(documents: readonly WrittenDocument[], look: (service: Service) => unknown, signal: AbortSignal): Sliced<void> {
    for (const document of documents) {
      signal.throwIfAborted();
      for (const { service } of (yield* this.#partsOf(document)) ?? []) {
        look(service);
        yield;
      }
      yield;
    }
  }

  /** What of them is probably not meant as it is written. */
  warnings(documents: Iterable<WrittenDocument>, known: Known): Promise<readonly string[]> {
    return inTurns(this.#warnings(documents, known));
  }

  *#warnings(documents: Iterable<WrittenDocument>, known: Known): Sliced<readonly string[]> {
    const warnings: string[] = [];
    for (const document of documents) {
      warnings.push(...warningsOf(this.one(document).services, known));
      yield;
    }
    return warnings;
  }

  /** Until it is disposed of what is read of them is not forgotten: others may change services while thousands are read and decided about. */
  hold(documents: readonly WrittenDocument[]): Disposable {
    this.#held.add(documents);
    return { [Symbol.dispose]: () => void this.#held.delete(documents) };
  }

  /** Forgets all but these, so many and so long, and what is held, when the others have become more, or longer. */
  keep(count: number, characters: () => number, documents: () => readonly WrittenDocument[]): void {
    const held = [...this.#held].flat();
    const few = this.#read.size <= 2 * (count + held.length) + spare.texts;
    if (few && this.#characters <= this.#most) return;
    if (few && this.#characters <= 2 * characters() + spare.characters) {
      this.#most = this.#characters + spare.characters;
      return;
    }
    const before = this.#read;
    [this.#read, this.#characters, this.#byDocument] = [new Map(), 0, new WeakMap()];
    for (const document of [...documents(), ...held]) {
      const read = before.get(keyOf(document));
      if (read === undefined) continue;
      this.#note(document, read);
      for (const one of this.#parts.get(read) ?? []) {
        const part = { ...one, file: document.file };
        const known = before.get(keyOf(part));
        if (known !== undefined) this.#note(part, known);
      }
    }
    this.#most = 2 * this.#characters + spare.characters;
  }

  #note(document: WrittenDocument, read: ReadServices): void {
    const key = keyOf(document);
    if (!this.#read.has(key)) this.#characters += document.text.length;
    this.#read.set(key, read);
    this.#byDocument.set(document, read);
  }
}

function areMany(documents: readonly WrittenDocument[]): boolean {
  return documents.reduce((size, { text }) => size + text.length, 0) >= many;
}

function keyOf({ file, text, line = 1 }: WrittenDocument): string {
  return `${file}:${line}\n${text}`;
}
