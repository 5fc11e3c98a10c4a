// Runs commands and waits for facts; everything the lab does to the machine passes through here.
import { spawn, type ChildProcess } from "node:child_process";
import { setTimeout as delay } from "node:timers/promises";

/** How many times slower than usual this machine may be; the virtual machines of test/cluster set it. */
export const patience = Number(process.env["HAWSER_LAB_PATIENCE"] ?? 1);

export interface Output {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly input?: string | Uint8Array;
  /** Milliseconds; the command is killed then. Default two minutes; 0: never. */
  readonly timeoutMs?: number;
  /** Return a failed command's output instead of throwing. */
  readonly mayFail?: boolean;
  readonly env?: Readonly<Record<string, string>>;
}

/** A command that ended with another code than 0; the message carries what it printed. */
export class CommandFailed extends Error {
  readonly output: Output;

  constructor(command: readonly string[], output: Output) {
    super(`${command.slice(command.findLastIndex((word) => word.includes("cgroup.procs") || word === "--") + (command.some((word) => word.includes("cgroup.procs")) ? 2 : 1)).join(" ")}: exit ${output.code}\n${output.stdout}${output.stderr}`);
    this.name = "CommandFailed";
    this.output = output;
    // The message has it all; a test's report need not show it twice.
    Object.defineProperty(this, "output", { enumerable: false });
  }
}

/** @throws CommandFailed unless `mayFail`. A command killed by its timeout ends with code 124. */
export async function run(command: readonly string[], options: RunOptions = {}): Promise<Output> {
  const running = start(command, options);
  if (options.input !== undefined) running.child.stdin?.end(options.input);
  else running.child.stdin?.end();
  const output = await running.ended;
  if (output.code !== 0 && options.mayFail !== true) throw new CommandFailed(command, output);
  return output;
}

/** A command that goes on in the background until it ends, is stopped, or its scope is left. */
export interface Running extends AsyncDisposable {
  readonly child: ChildProcess;
  readonly ended: Promise<Output>;
  /** What it has printed so far. */
  readonly printed: () => string;
  /** Resolves when it has printed `text`. */
  says(text: string): Promise<void>;
  /** SIGTERM, then its output. */
  stop(): Promise<Output>;
}

export function start(command: readonly string[], options: RunOptions = {}): Running {
  const [file, ...args] = command;
  if (file === undefined) throw new Error("an empty command");
  const child = spawn(file, args, {
    stdio: ["pipe", "pipe", "pipe"],
    env: options.env === undefined ? process.env : { ...process.env, ...options.env },
  });
  let stdout = "";
  let stderr = "";
  let late = false;
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  // A command may end before it has read its input; its exit code tells more than the broken pipe.
  child.stdin.on("error", () => undefined);
  const timer = options.timeoutMs === 0 ? undefined : setTimeout(() => {
    late = true;
    child.kill("SIGKILL");
  }, (options.timeoutMs ?? 120_000) * patience);
  timer?.unref();
  const ended = new Promise<Output>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => {
      clearTimeout(timer);
      resolve({ code: late ? 124 : (code ?? (signal === "SIGTERM" ? 143 : 137)), stdout, stderr });
    });
  });
  // Whoever awaits `ended` sees the rejection; who does not must not crash the process.
  ended.catch(() => undefined);
  const running: Running = {
    child,
    ended,
    printed: () => stdout + stderr,
    says: (text) =>
      waitFor(`${command.join(" ")} to say ${JSON.stringify(text)}`, () => {
        if ((stdout + stderr).includes(text)) return true;
        if (child.exitCode !== null) throw new CommandFailed(command, { code: child.exitCode, stdout, stderr });
        return false;
      }, { everyMs: 10 }),
    stop: () => {
      child.kill("SIGTERM");
      return ended;
    },
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await ended;
    },
  };
  return running;
}

export interface WaitOptions {
  /**
   * Milliseconds, where the product promises that much. Without it two minutes, which promise nothing: that something fails may take
   * long to be told, on a slow machine it may take long to come true, and a success waits for none of it.
   */
  readonly promisedMs?: number;
  /** Milliseconds between two looks. Default 50. */
  readonly everyMs?: number;
  /** Added to the error, for example the tail of a log. */
  readonly explain?: () => string;
}

/** Looks until `fact` is true. @throws Error naming the fact of which a look that began too late said that it is not. */
export async function waitFor(
  what: string,
  fact: () => boolean | Promise<boolean>,
  options: WaitOptions = {},
): Promise<void> {
  const end = performance.now() + (options.promisedMs ?? 120_000) * patience;
  for (;;) {
    const late = performance.now() > end;
    if (await fact()) return;
    if (late) throw new Error(`waited in vain for ${what}${explained(options)}`);
    await delay(options.everyMs ?? 50);
  }
}

function explained(options: WaitOptions): string {
  const text = options.explain?.() ?? "";
  return text === "" ? "" : `\n${text}`;
}
