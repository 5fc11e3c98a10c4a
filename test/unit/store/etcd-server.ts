// A real etcd of a test's own: on an address of its own in loopback, with its data in a folder of its own.
import { execFile, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { scratchFolder } from "../../scratch.ts";

const run = promisify(execFile);

export interface ServerOptions {
  /** Paths of PEM files: the server then speaks https only, and asks for a certificate of this authority's. */
  readonly tls?: { readonly ca: string; readonly cert: string; readonly key: string };
  /** The server's certificate does not name its address: its client for tests looks over that, and needs no certificate. */
  readonly unverified?: boolean;
  /** An address below 127.0.0.0/8; left out: one at random. */
  readonly host?: string;
  /** Bytes that its data may have. */
  readonly quota?: number;
}

export function loopback(): string {
  return `127.${randomInt(1, 255)}.${randomInt(1, 255)}.${randomInt(1, 255)}`;
}

export class EtcdServer {
  readonly folder = scratchFolder("etcd");
  readonly host: string;
  readonly endpoint: string;
  readonly #options: ServerOptions;
  #child: ChildProcess | undefined;

  constructor(options: ServerOptions = {}) {
    this.#options = options;
    this.host = options.host ?? loopback();
    this.endpoint = `${options.tls === undefined ? "http" : "https"}://${this.host}:2379`;
  }

  static async started(options: ServerOptions = {}): Promise<EtcdServer> {
    const server = new EtcdServer(options);
    await server.start();
    return server;
  }

  get data(): string {
    return join(this.folder, "data");
  }

  /** Resolves once it answers. */
  async start(): Promise<void> {
    const { tls, unverified = false, quota } = this.#options;
    const peer = `http://${this.host}:2380`;
    // A test that is killed takes its server along.
    const child = spawn("setpriv", [
      "--pdeathsig=KILL", "etcd", "--name=one", `--data-dir=${this.data}`, `--listen-client-urls=${this.endpoint}`, `--advertise-client-urls=${this.endpoint}`,
      `--listen-peer-urls=${peer}`, `--initial-advertise-peer-urls=${peer}`, `--initial-cluster=one=${peer}`,
      // A lease lives at least one and a half elections: these make it one second.
      "--heartbeat-interval=50", "--election-timeout=250", "--log-level=warn", "--logger=zap",
      ...(tls === undefined ? [] : [`--cert-file=${tls.cert}`, `--key-file=${tls.key}`, ...(unverified ? [] : [`--trusted-ca-file=${tls.ca}`, "--client-cert-auth"])]),
      ...(quota === undefined ? [] : [`--quota-backend-bytes=${quota}`]),
    ], { stdio: ["ignore", "ignore", "pipe"] });
    this.#child = child;
    let said = "";
    child.stderr.on("data", (data: Buffer) => (said = (said + data.toString()).slice(-4000)));
    for (;;) {
      if (child.exitCode !== null || child.signalCode !== null) throw new Error(`etcd ended with ${child.exitCode ?? child.signalCode}: ${said}`);
      try {
        await this.ctl("endpoint", "health", "--dial-timeout=200ms", "--command-timeout=1s");
        return;
      } catch (error) {
        // With authentication on, a refusal is an answer too.
        if (/permission denied|user name is empty/.test(String(error))) return;
      }
    }
  }

  /** etcdctl's answer; with authentication on, `--user` is among the words. */
  async ctl(...words: readonly string[]): Promise<string> {
    const { tls, unverified = false } = this.#options;
    const trust = tls === undefined ? [] : unverified ? ["--insecure-skip-tls-verify", "--insecure-transport=false"] : [`--cacert=${tls.ca}`, `--cert=${tls.cert}`, `--key=${tls.key}`];
    return (await run("etcdctl", [`--endpoints=${this.endpoint}`, "--command-timeout=30s", ...trust, ...words], { env: { ...process.env, ETCDCTL_API: "3" } })).stdout;
  }

  signal(name: "SIGSTOP" | "SIGCONT"): void {
    this.#child?.kill(name);
  }

  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  }

  /** Everything that it remembered is gone. */
  async startEmpty(): Promise<void> {
    await this.kill();
    rmSync(this.data, { recursive: true, force: true });
    await this.start();
  }

  /** What `etcdctl snapshot save` wrote is all that it remembers. */
  async startFrom(copy: string): Promise<void> {
    await this.kill();
    rmSync(this.data, { recursive: true, force: true });
    const peer = `http://${this.host}:2380`;
    await this.ctl("snapshot", "restore", copy, "--name=one", `--data-dir=${this.data}`, `--initial-cluster=one=${peer}`, `--initial-advertise-peer-urls=${peer}`);
    await this.start();
  }

  async remove(): Promise<void> {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
