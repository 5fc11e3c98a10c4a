// A watched directory of policies or services: its files are read when one of them changes, and looked at again in every round.
import { constants, lstatSync, watch } from "node:fs";
import type { FSWatcher } from "node:fs";
import { open, readdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { DirectoryReading, WrittenDocument } from "../engine/types.ts";
import { messageOf } from "../std/errors.ts";
import type { Log } from "../std/log.ts";

/** What its files hold. */
export type Held = "policy" | "service";

export interface WatchedDirectory {
  /** Reads it now; never fails. */
  read(): Promise<void>;
  /** Reads it whenever something in it changes, until the signal aborts. */
  follow(signal: AbortSignal): Promise<void>;
}

/** Editors write in several steps; who writes without end is not waited for. Milliseconds. */
const settling = { each: 50, all: 500 };
const mebibyte = 1024 * 1024;
/** Whoever has more names a folder that was not meant. Bytes. */
const most = { files: 1000, eachFile: 16 * mebibyte, allFiles: 64 * mebibyte };

export function openWatchedDirectory(directory: string, held: Held, sync: (reading: DirectoryReading) => Promise<void>, log: Log): WatchedDirectory {
  let running: Promise<void> = Promise.resolve();
  let waiting: Promise<void> | undefined;

  const once = async (): Promise<void> => {
    try {
      // Told even when nothing changed in it: what was refused may be right by now, because others went or came.
      await sync(await readWatchedDirectory(directory, held));
    } catch (error) {
      log.error(`the ${held} directory could not be taken over; what was in force stays`, { directory, error });
    }
  };
  const read = (): Promise<void> => {
    waiting ??= running.then(() => {
      waiting = undefined;
      running = once();
      return running;
    });
    return waiting;
  };

  const follow = async (signal: AbortSignal): Promise<void> => {
    while (!signal.aborted) {
      // A directory that is not there yet is looked for; one that is moved away is waited for.
      const ended = await watchOnce(directory, signal, () => void read());
      if (signal.aborted) return;
      await read();
      await pause(ended === "absent" ? 1000 : 200, signal);
    }
  };
  return { read, follow };
}

function watchOnce(directory: string, signal: AbortSignal, onChange: () => void): Promise<"absent" | "ended"> {
  return new Promise((resolve) => {
    let timer: NodeJS.Timeout | undefined;
    let since: number | undefined;
    let link: FSWatcher | undefined;
    const soon = (): void => {
      const now = performance.now();
      since ??= now;
      clearTimeout(timer);
      timer = setTimeout(() => {
        since = undefined;
        onChange();
      }, Math.max(0, Math.min(settling.each, since + settling.all - now)));
    };
    try {
      link = watchLink(directory, signal, () => watcher.close());
      const watcher = watch(directory, { signal, persistent: true });
      watcher.on("change", (_event, name) => {
        soon();
        // Its own name: the directory itself went or was moved.
        if (name !== null && directory.endsWith(`/${String(name)}`)) watcher.close();
      });
      watcher.on("error", () => watcher.close());
      watcher.on("close", () => {
        clearTimeout(timer);
        link?.close();
        resolve("ended");
      });
      // What came between the last reading and the watch.
      onChange();
    } catch {
      link?.close();
      resolve("absent");
    }
  });
}

/** A link that leads elsewhere from now on is known where it lies alone. */
function watchLink(path: string, signal: AbortSignal, onTurned: () => void): FSWatcher | undefined {
  if (!lstatSync(path).isSymbolicLink()) return undefined;
  const watcher = watch(dirname(path), { signal, persistent: true });
  watcher.on("change", (_event, name) => {
    if (name === null || String(name) === basename(path)) onTurned();
  });
  watcher.on("error", () => watcher.close());
  return watcher;
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    }, { once: true });
  });
}

/** A directory that does not exist holds nothing; one that cannot be read is a problem. */
export async function readWatchedDirectory(directory: string, held: Held): Promise<DirectoryReading> {
  const unreadable: Record<string, string> = {};
  let names: readonly string[];
  try {
    names = (await readdir(directory)).filter((name) => /\.ya?ml$/.test(name) && !name.startsWith(".")).toSorted();
  } catch (error) {
    const absent = (error as NodeJS.ErrnoException).code === "ENOENT";
    return { directory, documents: null, unreadable: absent ? {} : { [directory]: messageOf(error) } };
  }
  if (names.length > most.files) return { directory, documents: null, unreadable: { [directory]: `it holds ${names.length} ${held} files, and may hold ${most.files}` } };
  const documents: WrittenDocument[] = [];
  let left = most.allFiles;
  for (const name of names) {
    const file = join(directory, name);
    try {
      const bytes = await readPlainFile(file);
      left -= bytes.length;
      if (left < 0) return { directory, documents: null, unreadable: { [directory]: `its files are larger than ${most.allFiles / mebibyte} MiB together` } };
      documents.push({ file, text: textOf(bytes) });
    } catch (error) {
      unreadable[file] = sayUnreadable(error);
    }
  }
  return { directory, documents, unreadable };
}

function sayUnreadable(error: unknown): string {
  if ((error as NodeJS.ErrnoException).code === "ENOENT") return "it is a link that leads nowhere, or has just gone; take it away, or mend it";
  return messageOf(error);
}

/** Never waits for a pipe's writer, and reads no device, which may have no end. */
async function readPlainFile(file: string): Promise<Uint8Array> {
  await using handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
  const found = await handle.stat();
  if (found.isDirectory()) throw new Error("it is a folder; files that lie in one are not read");
  if (!found.isFile()) throw new Error("it is no file");
  if (found.size > most.eachFile) throw new Error(`it is larger than ${most.eachFile / mebibyte} MiB`);
  return await handle.readFile();
}

/** A label that was written in another encoding would match nothing, and its rule be none. */
function textOf(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new Error("it is no text in UTF-8");
  }
}
