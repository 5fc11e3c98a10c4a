// The real process as the command line wants to see it.
import { text } from "node:stream/consumers";
import type { CliIo } from "./dependencies.ts";

export function processIo(): CliIo {
  // `hawser map dump … | head` closes the pipe early: that is the reader's right and no failure.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    process.exit(0);
  });
  return {
    stdout: process.stdout,
    stderr: process.stderr,
    readInput: () => text(process.stdin),
    now: () => Date.now(),
    env: process.env,
    isTTY: process.stdout.isTTY === true,
    // A terminal that nobody told its size says 0.
    columns: process.stdout.columns === 0 ? undefined : process.stdout.columns,
  };
}

/**
 * Ends the process once everything printed has left it. Not by itself, as processes should: gRPC's client cannot drop a
 * connection that it is still making, so an agent that hangs would hold us as well.
 */
export async function leave(code: number): Promise<never> {
  const flushed = (stream: NodeJS.WriteStream): Promise<void> => new Promise((resolve) => {
    stream.write("", () => resolve());
  });
  await Promise.all([flushed(process.stdout), flushed(process.stderr)]);
  process.exit(code);
}
