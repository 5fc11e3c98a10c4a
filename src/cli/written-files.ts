// The policy or service documents that a command line names: files, folders of `*.yaml` and `*.yml`, and "-" for standard input.
import { readdir, readFile, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { Option } from "commander";
import type { WrittenDocument } from "../api/client.ts";
import { HawserError, messageOf } from "../std/errors.ts";
import { CompletingArgument } from "./completing.ts";
import type { CliDependencies } from "./dependencies.ts";

/** Bytes; all documents of one call travel in one message. */
const largestFile = 16 * 1024 * 1024;
const largestTotal = 23 * 1024 * 1024;

export type Held = "policy" | "service";

export interface WrittenFiles {
  /** Their files are absolute: a Compose file without a name is called like its folder. */
  readonly documents: readonly WrittenDocument[];
  /** A message with the files as the user wrote them. */
  readonly asWritten: (message: string) => string;
}

export function filesArgument(held: Held): CompletingArgument {
  return new CompletingArgument("<FILE...>", `${held === "policy" ? "policy or Compose" : "service"} files, folders with *.yaml or *.yml, or - for standard input`, "files");
}

export function strictOption(): Option {
  return new Option("--strict", "names that no container or network carries are errors");
}

/** @throws HawserError NOT_FOUND, BAD_REQUEST naming the file */
export async function readWrittenFiles(words: readonly string[], held: Held, deps: Pick<CliDependencies, "readInput">): Promise<WrittenFiles> {
  if (words.filter((word) => word === "-").length > 1) throw new HawserError("BAD_REQUEST", "\"-\" (standard input) can be given once");
  const files = (await Promise.all(words.map(filesOf))).flat();
  const written = new Map(files.map((file) => [file === "-" ? inputName : resolve(file), file === "-" ? inputName : file]));
  const documents: WrittenDocument[] = [];
  for (const [file, shown] of written) documents.push({ file, text: shown === inputName ? await deps.readInput() : await textOf(file, shown, held) });
  const total = documents.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0);
  if (total > largestTotal) throw new HawserError("BAD_REQUEST", `the files hold ${total} bytes together; ${largestTotal} can be applied at once`);
  // The longest first, so that no path is taken for another's beginning.
  const names = [...written].toSorted(([a], [b]) => b.length - a.length);
  return { documents, asWritten: (message) => names.reduce((text, [file, shown]) => text.replaceAll(file, shown), message) };
}

/** What `work` throws, with the files as the user wrote them. */
export async function asTheyWrote<T>(asWritten: WrittenFiles["asWritten"], work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw error instanceof HawserError ? new HawserError(error.code, asWritten(error.message), { cause: error }) : error;
  }
}

const inputName = "stdin";

async function filesOf(word: string): Promise<readonly string[]> {
  if (word === "-") return ["-"];
  const found = await stat(word).catch((error: unknown) => {
    throw unreadable(word, error);
  });
  if (!found.isDirectory()) return [word];
  const names = (await readdir(word)).filter((name) => /\.ya?ml$/.test(name) && !name.startsWith(".")).toSorted();
  if (names.length === 0) throw new HawserError("NOT_FOUND", `${word}: no *.yaml and no *.yml is in the folder`);
  return names.map((name) => join(word, name));
}

async function textOf(file: string, shown: string, held: Held): Promise<string> {
  const { size } = await stat(file).catch((error: unknown) => {
    throw unreadable(shown, error);
  });
  if (size > largestFile) throw new HawserError("BAD_REQUEST", `${shown}: ${size} bytes; a ${held}'s file holds at most ${largestFile}`);
  return readFile(file, "utf8").catch((error: unknown) => {
    throw unreadable(shown, error);
  });
}

function unreadable(file: string, error: unknown): HawserError {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (code === "ENOENT") return new HawserError("NOT_FOUND", `${file}: no such file or folder`, { cause: error });
  if (code === "EISDIR") return new HawserError("BAD_REQUEST", `${file} is a folder; name it by itself, and the files in it are taken`, { cause: error });
  return new HawserError("BAD_REQUEST", `${file} cannot be read: ${messageOf(error)}`, { cause: error });
}
