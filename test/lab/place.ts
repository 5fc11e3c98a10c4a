// A place is a network namespace of the lab (router, client, container, Docker host) in which commands run.
import { fileURLToPath } from "node:url";
import { run, start, waitFor, type Output, type RunOptions, type Running } from "./run.ts";

const probe = fileURLToPath(new URL("probe.py", import.meta.url));

export interface Place {
  readonly name: string;
  readonly ipv4: string;
  readonly ipv6: string;
  /** The whole command line that runs a command here. */
  command(command: readonly string[]): readonly string[];
  /** Runs a command here. */
  run(command: readonly string[], options?: RunOptions): Promise<Output>;
  /** Runs a shell script here and returns what it printed, trimmed. */
  sh(script: string, options?: RunOptions): Promise<string>;
  /** Starts a command here that goes on. */
  start(command: readonly string[], options?: RunOptions): Running;
  /** Serves TCP and UDP on each port: greets with `who ADDRESS PORT` as seen, then echoes. Ready when it returns. */
  serve(ports: { readonly tcp?: readonly number[]; readonly udp?: readonly number[]; readonly bind?: string }): Promise<Running>;
  /** Asks such a server who it sees: `ADDRESS PORT`, or the errno (`ECONNREFUSED`, `TIMEOUT`, …). */
  ask(protocol: "tcp" | "udp", address: string, port: number, options?: AskOptions): Promise<string>;
  /** A TCP exchange every 20 ms until it is stopped; `report` stops it and tells how it went. */
  stream(address: string, port: number): Promise<Stream>;
  /** Asks the whole link for an address every 100 ms, until it is stopped. */
  whoHas(address: string): Promise<WhoHas>;
  /** Sends crafted frames (see probe.py) and returns what it printed. */
  frames(kind: string, values: Readonly<Record<string, string | number>>): Promise<string>;
  /** Sends tunnel packets with a crafted packet inside (see probe.py) and returns what it printed. */
  tunnel(values: Readonly<Record<string, string | number>>): Promise<string>;
}

export interface AskOptions {
  /** Bytes of payload to send and expect back. */
  readonly size?: number;
  /** Seconds. Default 2. */
  readonly timeout?: number;
  readonly sourcePort?: number;
}

export interface StreamReport {
  readonly exchanges: number;
  /** Longest time between sending and receiving, in milliseconds. */
  readonly longestMs: number;
  readonly retransmits: number;
  readonly error: string | null;
}

export interface Stream extends AsyncDisposable {
  report(): Promise<StreamReport>;
  /** Resolves when the stream breaks by itself. */
  readonly broken: Promise<unknown>;
  /** Resolves after `count` more exchanges. */
  progress(count: number): Promise<void>;
}

export interface WhoHas extends AsyncDisposable {
  /** Of each time that it was asked so far: when, in milliseconds since the epoch, and the MACs of all who answered. */
  answers(): readonly { readonly at: number; readonly macs: readonly string[] }[];
}

/** `enter` is the command prefix that leads into the place. */
export function place(name: string, ipv4: string, ipv6: string, enter: readonly string[]): Place {
  const inside = (command: readonly string[]): readonly string[] => [...enter, ...command];
  const python = (...args: readonly string[]): readonly string[] => inside(["/usr/bin/python3", probe, ...args]);
  return {
    name,
    ipv4,
    ipv6,
    command: inside,
    run: (command, options) => run(inside(command), options),
    sh: async (script, options) => (await run(inside(["sh", "-c", script]), options)).stdout.trim(),
    start: (command, options) => start(inside(command), { timeoutMs: 0, ...options }),
    serve: async ({ tcp = [], udp = [], bind }) => {
      const server = start(
        python("serve", ...tcp.map((port) => `tcp:${port}`), ...udp.map((port) => `udp:${port}`),
          ...(bind === undefined ? [] : [`bind:${bind}`])),
        { timeoutMs: 0 },
      );
      await server.says("ready\n");
      return server;
    },
    ask: async (protocol, address, port, options = {}) => {
      const answer = await run(
        python("ask", protocol, address, String(port), String(options.size ?? 4), String(options.timeout ?? 2),
          String(options.sourcePort ?? 0)),
        { mayFail: true },
      );
      if (answer.code !== 0) throw new Error(`the probe failed: ${answer.stderr}`);
      return answer.stdout.trim();
    },
    stream: async (address, port) => {
      const running = start(python("stream", address, String(port)), { timeoutMs: 0 });
      await running.says("connected");
      const exchanges = (): number => running.printed().split("\n").filter((line) => line === ".").length;
      return {
        broken: running.ended,
        progress: async (count) => {
          const goal = exchanges() + count;
          await waitFor(`${count} more exchanges with ${address}:${port}`, () => exchanges() >= goal, {
            explain: () => running.printed().replaceAll(".\n", ""),
          });
        },
        report: async () => {
          const { stdout, stderr } = await running.stop();
          const line = stdout.split("\n").find((text) => text.startsWith("{"));
          if (line === undefined) throw new Error(`the stream printed no report: ${stderr}`);
          return decodeReport(JSON.parse(line));
        },
        [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
      };
    },
    whoHas: async (address) => {
      const running = start(python("whohas", address.includes(":") ? ipv6 : ipv4, address), { timeoutMs: 0 });
      await running.says("ready\n");
      return {
        answers: () => running.printed().split("\n").slice(1, -1).map((line) => {
          const [at = "", macs = ""] = line.split(" ");
          return { at: Number(at), macs: macs === "" ? [] : macs.split(",") };
        }),
        [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
      };
    },
    frames: async (kind, values) => (await run(python("frames", kind, ...pairs(values)))).stdout.trim(),
    tunnel: async (values) => (await run(python("tunnel", ...pairs(values)))).stdout.trim(),
  };
}

const pairs = (values: Readonly<Record<string, string | number>>): readonly string[] => Object.entries(values).map(([key, value]) => `${key}=${value}`);

function decodeReport(value: unknown): StreamReport {
  if (typeof value !== "object" || value === null) throw new Error("the stream's report is no object");
  const { exchanges, longestMs, retransmits, error } = value as Record<string, unknown>;
  return {
    exchanges: Number(exchanges),
    longestMs: Number(longestMs),
    retransmits: Number(retransmits),
    error: typeof error === "string" ? error : null,
  };
}
