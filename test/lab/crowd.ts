// Many connections at once through a service, each known by the server that it has: who lost one, and why, is told for each server.
import type { Place } from "./place.ts";
import { run, waitFor, type Running } from "./run.ts";

const source = new URL("crowd.c", import.meta.url).pathname;

/** Of one server's connections. */
export interface Served {
  readonly open: number;
  /** Of those that are open: they have waited for an echo for more than a second. */
  readonly stale: number;
  readonly lost: number;
}

export interface CrowdReport {
  readonly servers: Readonly<Record<string, Served>>;
  /** Connections that no server greeted. */
  readonly refused: number;
  /** Greetings that named another client, and echoes that differed. */
  readonly wrong: number;
  readonly exchanges: number;
  /** Of an exchange since the last report. */
  readonly longestMs: number;
  /** By errno; CLOSED: the server ended it. */
  readonly errors: Readonly<Record<string, number>>;
}

export interface Crowd extends AsyncDisposable {
  /** Resolves when each of them is greeted or has failed. */
  open(count: number): Promise<void>;
  report(): Promise<CrowdReport>;
}

export interface CrowdPlan {
  readonly program: string;
  /** The place's addresses to come from, of which one process uses one: a process may have some 20,000 files. */
  readonly sources: readonly string[];
  /** Between a connection's exchanges. */
  readonly periodMs: number;
  readonly address: string;
  readonly port: number;
}

/** Compiles `DIRECTORY/crowd`, which runs in any container. */
export async function buildCrowd(directory: string): Promise<string> {
  const program = `${directory}/crowd`;
  await run(["gcc", "-O2", "-static", "-Wall", "-Wextra", "-Werror", "-o", program, source]);
  return program;
}

/** Of `docker run`, for a server of that name on port 7000. */
export const serving = (program: string, name: string, processes: number): { readonly options: readonly string[]; readonly command: readonly string[] } => ({
  options: ["-v", `${program}:/crowd:ro`], command: ["/crowd", "serve", "7000", name, String(processes)],
});

export function crowd(from: Place, { program, sources, periodMs, address, port }: CrowdPlan): Crowd {
  const members = sources.map((source) => from.start([program, "ask", source, String(periodMs), address, String(port)]));
  return {
    open: async (count) => {
      const each = members.map((_, i) => Math.floor((count + i) / members.length));
      await Promise.all(members.map((member, i) => answer(member, `open ${each[i]}`, (line) => line === "opened", 120_000 + count * 2)));
    },
    report: async () => (await Promise.all(members.map(async (member) => JSON.parse(await answer(member, "report", (line) => line.startsWith("{"), 120_000)) as CrowdReport))).reduce(together),
    [Symbol.asyncDispose]: async () => void (await Promise.all(members.map((member) => member[Symbol.asyncDispose]()))),
  };
}

async function answer(member: Running, command: string, test: (line: string) => boolean, patienceMs: number): Promise<string> {
  const lines = (): readonly string[] => member.printed().split("\n").slice(0, -1).filter(test);
  const before = lines().length;
  member.child.stdin?.write(`${command}\n`);
  await waitFor(`the crowd to answer ${command}`, () => lines().length > before, { promisedMs: patienceMs, everyMs: 10, explain: () => member.printed().slice(-2000) });
  return lines().at(-1) ?? "";
}

function together(x: CrowdReport, y: CrowdReport): CrowdReport {
  const servers = Object.fromEntries([...new Set([...Object.keys(x.servers), ...Object.keys(y.servers)])].map((name) => [name, sum(x.servers[name], y.servers[name])]));
  return {
    servers, refused: x.refused + y.refused, wrong: x.wrong + y.wrong, exchanges: x.exchanges + y.exchanges, longestMs: Math.max(x.longestMs, y.longestMs), errors: sum(x.errors, y.errors),
  };
}

/** Key by key. */
function sum<T extends object>(x: T | undefined, y: T | undefined): T {
  const all: Record<string, number> = {};
  for (const [key, value] of [x, y].flatMap((one) => Object.entries(one ?? {}) as [string, number][])) all[key] = (all[key] ?? 0) + value;
  return all as T;
}

/** Of the servers that lost any. */
export const lostBy = ({ servers }: CrowdReport): Readonly<Record<string, number>> =>
  Object.fromEntries(Object.entries(servers).filter(([, { lost }]) => lost > 0).map(([name, { lost }]) => [name, lost]));

/** How many are open. */
export const openOf = ({ servers }: CrowdReport): number => Object.values(servers).reduce((all, { open }) => all + open, 0);
