// Many service documents are read by a process of their own: the agent runs without V8's optimising compilers, whose flags are the process's, and what that
// one needs of memory goes with it.
import { fork } from "node:child_process";
import { setTimeout as pause } from "node:timers/promises";
import type { ReadElsewhere, WrittenDocument } from "../engine/types.ts";
import type { ReadServices } from "../lb/read.ts";
import { otherBuild, readerBuild } from "./reader-build.ts";

/** Document by document, in their order. */
export type Told = readonly ReadServices[];

/** Characters in one message to it, which then takes a few milliseconds to write. */
const piece = 50_000;
/** Milliseconds without a word from it. It needs a tenth of one for a document with one service. */
const patience = 10_000;
/** Characters that it reads in a millisecond with a tenth of a CPU: until it is through a document with thousands of services it has nothing to say. */
const pace = 100;
/** Milliseconds for all of them, so that an agent that starts, and has to read them itself then, is done within its unit's TimeoutStartSec. */
const longest = 20_000;

interface ReaderOptions {
  /** The process's first. */
  readonly file?: URL;
  /** Milliseconds without a word from it. */
  readonly silence?: number;
  /** Of the agent; left out: what is on disk now. */
  readonly build?: string;
}

/** It rejects when the process does not answer, or not in time, or is of another build, or when the signal aborts; the process has ended by then, or is about to. */
export function createServiceReader({ file = new URL("./read-services.ts", import.meta.url), silence = patience, build = readerBuild() }: ReaderOptions = {}): ReadElsewhere {
  return async (documents, found, signal) => {
    signal?.throwIfAborted();
    const ended = new AbortController();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const fail = (why: string): void => reject(new Error(`the process that reads services ${why}`));
    // Without the agent's own flags, which are those of a process that stays.
    const child = fork(file, [build], { execArgv: ["--disable-warning=ExperimentalWarning", "--max-semi-space-size=8"], stdio: ["ignore", "ignore", "ignore", "ipc"] });
    let [read, heard] = [0, performance.now()];
    const silent = silence + documents.reduce((most, { text }) => Math.max(most, text.length), 0) / pace;
    child.on("message", (told: Told) => {
      heard = performance.now();
      try {
        for (const one of told) {
          const document = documents[read++];
          if (document !== undefined) found(document, one);
        }
      } catch (error) {
        reject(error as Error);
      }
      if (read >= documents.length) resolve();
    });
    child.on("error", ({ message }) => fail(`cannot be asked: ${message}`));
    child.on("exit", (code, killed) => fail(code === otherBuild ? "is of another build than the agent, whose sources were replaced" : `has ended: ${killed ?? code}`));
    const abort = (): void => reject(signal?.reason as Error);
    signal?.addEventListener("abort", abort, { once: true });
    const since = performance.now();
    const watch = setInterval(() => {
      if (performance.now() - heard > silent || performance.now() - since > longest) fail("does not answer in time");
    }, silence / 4);
    try {
      await Promise.race([promise, ask(documents, ended.signal, (some) => child.send(some, () => undefined)).then(() => promise)]);
      // It ends by itself then, and keeps what it compiled for the next.
      child.disconnect();
    } catch (error) {
      child.kill("SIGKILL");
      throw error;
    } finally {
      ended.abort();
      signal?.removeEventListener("abort", abort);
      clearInterval(watch);
    }
  };
}

async function ask(documents: readonly WrittenDocument[], ended: AbortSignal, send: (some: readonly WrittenDocument[]) => void): Promise<void> {
  let some: WrittenDocument[] = [];
  let size = 0;
  for (const document of documents) {
    some.push(document);
    size += document.text.length;
    if (size < piece) continue;
    send(some);
    [some, size] = [[], 0];
    await pause();
    if (ended.aborted) return;
  }
  send(some);
}
