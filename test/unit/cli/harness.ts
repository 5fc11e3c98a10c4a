// The command line in this process, with its output caught, against a real API on a socket of its own.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ExecutionContext } from "ava";
import { connect } from "../../../src/api/client.ts";
import { startApi, type ApiCommands, type ApiQueries } from "../../../src/api/server.ts";
import type { CliDependencies } from "../../../src/cli/dependencies.ts";
import { run } from "../../../src/cli/program.ts";
import { commands as ordinary, logTo, queriesOf } from "../api/world.ts";

export const program = join(import.meta.dirname, "../../../bin/hawser");

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** A socket's path below a folder that goes away with the test. */
export async function socketFor(t: ExecutionContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "hawser-cli-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return join(folder, "hawser.sock");
}

/** An API that answers with the world's data; returns its socket. */
export async function serve(t: ExecutionContext, change: Partial<ApiQueries> = {}, commands: ApiCommands = ordinary): Promise<string> {
  const socket = await socketFor(t);
  const api = await startApi({ queries: queriesOf(change), commands, socket, group: null, log: logTo([]) });
  t.teardown(() => api.close());
  return socket;
}

export async function hawser(socket: string, words: readonly string[], change: Partial<CliDependencies> = {}): Promise<Ran> {
  let [out, err] = ["", ""];
  const code = await run(words, {
    version: "1.2.3",
    runAgent: () => Promise.resolve(),
    sweep: () => Promise.resolve({ swept: [] }),
    doctor: () => Promise.resolve([]),
    connect,
    stdout: { write: (text) => (out += text) },
    stderr: { write: (text) => (err += text) },
    readInput: () => Promise.resolve(""),
    now: () => Date.UTC(2026, 0, 1, 3, 12, 5),
    env: { HAWSER_SOCKET: socket },
    isTTY: false,
    columns: undefined,
    ...change,
  });
  return { code, out, err };
}
