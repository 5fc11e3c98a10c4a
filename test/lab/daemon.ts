// A long-running program of a lab host: started detached, known by pid, ended by pid.
import { spawn } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { waitFor } from "./run.ts";

export interface Daemon {
  readonly name: string;
  readonly log: string;
  /** null: not running. */
  pid(): number | null;
  /** Starts it and waits until it serves. Does nothing when it runs. */
  start(extra?: readonly string[]): Promise<void>;
  /** SIGTERM and wait for its end; SIGKILL after 20 s. */
  stop(): Promise<void>;
  /** SIGKILL and wait for its end. */
  kill(): Promise<void>;
  /** The end of its log. */
  tail(lines?: number): string;
}

export interface DaemonPlan {
  readonly name: string;
  readonly directory: string;
  readonly command: (extra: readonly string[]) => readonly string[];
  readonly serves: () => Promise<boolean>;
  readonly environment?: Readonly<Record<string, string>>;
}

/** The pid is kept in a file, so that another process can go on with the same lab. */
export function daemon({ name, directory, command, serves, environment = {} }: DaemonPlan): Daemon {
  const log = `${directory}/${name}.log`;
  const pidFile = `${directory}/${name}.pid`;
  const tail = (lines = 30): string =>
    existsSync(log) ? readFileSync(log, "utf8").trimEnd().split("\n").slice(-lines).join("\n").slice(-4_000) : "(no log)";
  const pid = (): number | null => {
    if (!existsSync(pidFile)) return null;
    const [number = "", born = ""] = readFileSync(pidFile, "utf8").split(" ");
    return bornAt(Number(number)) === born ? Number(number) : null;
  };
  const end = async (signal: "SIGTERM" | "SIGKILL"): Promise<void> => {
    const running = pid();
    if (running === null) return;
    process.kill(running, signal);
    try {
      await waitFor(`${name} to end`, () => pid() === null, { promisedMs: 20_000, everyMs: 10 });
    } catch (error) {
      if (signal === "SIGKILL") throw error;
      await end("SIGKILL");
    }
  };
  return {
    name,
    log,
    pid,
    tail,
    start: async (extra = []) => {
      if (pid() === null) {
        const [file = "", ...args] = command(extra);
        const output = openSync(log, "a");
        const child = spawn(file, args, { detached: true, stdio: ["ignore", output, output], env: { ...process.env, ...environment } });
        closeSync(output);
        await new Promise<void>((resolve, reject) => child.once("spawn", resolve).once("error", reject));
        child.unref();
        const born = bornAt(child.pid ?? 0);
        if (born === null) throw new Error(`${name} ended at once:\n${tail()}`);
        writeFileSync(pidFile, `${child.pid} ${born}`);
      }
      await waitFor(`${name} to serve`, async () => {
        if (pid() === null) throw new Error(`${name} ended while it started:\n${tail()}`);
        return serves();
      }, { explain: () => tail() });
    },
    stop: () => end("SIGTERM"),
    kill: () => end("SIGKILL"),
  };
}

/** The start time of a process that lives and is no zombie, in ticks since boot; a pid alone may be another's by now. */
function bornAt(pid: number): string | null {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /, "").split(" ");
    return fields[0] === "Z" || fields[0] === "X" ? null : (fields[19] ?? null);
  } catch {
    return null;
  }
}
