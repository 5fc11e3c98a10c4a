// Everything the command line needs from outside: main builds it, tests build their own.
import type { ApiClient, Swept } from "../api/client.ts";
import type { Finding } from "../std/finding.ts";

/** A place for text. `process.stdout` and `process.stderr` are such. */
export interface Output {
  write(text: string): unknown;
}

export interface AgentOptions {
  /** undefined: `/etc/hawser/hawser.yaml` if it exists, the defaults if not. */
  readonly configPath: string | undefined;
}

export interface SweepOptions {
  readonly configPath: string | undefined;
  /** Everything of Hawser's, claimed or not; otherwise only what no remembered state claims. */
  readonly all: boolean;
  /** With `all`: even beside a running agent. */
  readonly force: boolean;
}

export interface SweptAlone {
  readonly swept: readonly Swept[];
  /** A sentence on what stays, although only an agent could tell who claims it. */
  readonly kept?: string;
}

export interface DoctorOptions {
  readonly configPath: string | undefined;
}

/** What `processIo` (process.ts) fills in for the real process. */
export type CliIo = Pick<CliDependencies, "stdout" | "stderr" | "readInput" | "now" | "env" | "isTTY" | "columns">;

/**
 * The functions should import what they need when called, not before: `hawser --version` and completion
 * then cost no more than Node's own start.
 */
export interface CliDependencies {
  readonly version: string;
  /** Runs until a signal stops it. */
  runAgent(options: AgentOptions): Promise<void>;
  /** Works without an agent. */
  sweep(options: SweepOptions): Promise<SweptAlone>;
  /** Works without an agent. */
  doctor(options: DoctorOptions): Promise<readonly Finding[]>;
  /** @throws HawserError AGENT_UNREACHABLE */
  connect(socket: string): Promise<ApiClient>;
  readonly stdout: Output;
  readonly stderr: Output;
  /** All of standard input, as text. */
  readInput(): Promise<string>;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Whether stdout is a terminal: colours and the table's width depend on it. */
  readonly isTTY: boolean;
  /** Columns of that terminal; undefined when stdout is none. */
  readonly columns: number | undefined;
}
