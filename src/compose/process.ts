// The agent as a process: its log on stderr, the signals that stop it, and what happens to an error that nobody caught.
import { systemClock } from "../std/clock.ts";
import { createLog } from "../std/log.ts";
import type { Log, LogLevel } from "../std/log.ts";

const levels: readonly LogLevel[] = ["debug", "info", "warn", "error"];

/** `HAWSER_LOG` sets the least level; info when it is not one. */
export function agentLog(env: Readonly<Record<string, string | undefined>>): Log {
  const least = levels.find((level) => level === env["HAWSER_LOG"]) ?? "info";
  return createLog((line) => process.stderr.write(`${line}\n`), systemClock.now, least);
}

/** Aborts at the first SIGTERM or SIGINT; a second one ends the process as it is, which loses nothing. */
export function stopSignal(log: Log): AbortSignal {
  const controller = new AbortController();
  for (const name of ["SIGTERM", "SIGINT"] as const) {
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(1);
      controller.abort(name);
    });
  }
  // The state is saved and the kernel carries the packets: to start anew is safer than to go on half.
  const die = (error: unknown): never => {
    log.error("an error that nobody caught; the agent ends", { error, stack: error instanceof Error ? error.stack : undefined });
    process.exit(1);
  };
  process.on("uncaughtException", die);
  process.on("unhandledRejection", die);
  return controller.signal;
}
