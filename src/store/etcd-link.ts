// The way to etcd: one connection to one member at a time, who we are there, and how long an answer may take.
import { checkServerIdentity, getCACertificates } from "node:tls";
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { credentials, Metadata } from "@grpc/grpc-js";
import type { CallOptions, ChannelCredentials, ServiceError } from "@grpc/grpc-js";
import { HawserError, messageOf } from "../std/errors.ts";
import type { Clock } from "../std/clock.ts";
import { etcdError, isAuthenticationOff, isAway, wantsToken } from "./etcd-errors.ts";
import { AuthClient, KVClient, LeaseClient, WatchClient } from "./generated/etcd.ts";

export interface LinkOptions {
  /** `http://HOST:PORT` or `https://…`, at least one; the next one is taken when one does not answer. */
  readonly endpoints: readonly string[];
  /** Paths of PEM files, read again at every connection; without `ca`, whom the system trusts is trusted. */
  readonly tls?: { readonly ca: string | null; readonly cert: string | null; readonly key: string | null };
  /** The password's file is read again whenever we sign in. */
  readonly user?: { readonly name: string; readonly passwordFile: string } | null;
  /** For what errors say. */
  readonly prefix: string;
  /** Milliseconds that a call may take, with all its tries; default 5000. */
  readonly callTime?: number;
  readonly clock: Clock;
}

export interface Clients {
  readonly kv: KVClient;
  readonly lease: LeaseClient;
  readonly watch: WatchClient;
  readonly auth: AuthClient;
}

/** What one try of a call needs. */
export interface Attempt extends Clients {
  readonly endpoint: string;
  readonly metadata: Metadata;
  readonly options: { readonly deadline: number };
  /** Calls `cancel` when nobody wants the answer any more, until it is disposed of. */
  cancelledBy(cancel: () => void): Disposable;
}

/** A stream that goes on beside the calls. */
export interface Stream<T> extends Disposable {
  readonly stream: T;
  /** Makes a sentence of its error, and lets the next call try another member. */
  failed(error: unknown): HawserError;
}

interface Connection extends Clients {
  readonly endpoint: string;
  /** It stays open for these, though calls may go elsewhere: a member that writes slowly may be heard well. */
  readonly streams: Set<object>;
  /** null: the server asks for none. */
  token: Promise<string | null> | undefined;
}

/** The last overload of each generated method. */
type UnaryCall<Request, Reply> = (
  request: Request, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, reply: Reply) => void,
) => { cancel(): void };

/** Watches come in pieces of etcd's own limit of 1.5 MiB, and pages are made smaller when they do not fit. */
const largestAnswer = 8 * 1024 * 1024;

export class EtcdLink {
  readonly #options: LinkOptions;
  readonly #callTime: number;
  readonly #ended = new AbortController();
  #connection: Connection | undefined;
  #next = 0;
  #trouble: string | null = "not asked yet";

  /** @throws HawserError STORE when a file that the options name cannot be read. */
  constructor(options: LinkOptions) {
    this.#options = options;
    this.#callTime = options.callTime ?? 5000;
    this.#credentialsFor(options.endpoints.find((one) => one.startsWith("https:")) ?? "http:");
    if (options.user) readOrSay(options.user.passwordFile, "store.passwordFile");
  }

  get callTime(): number {
    return this.#callTime;
  }

  /** The member spoken to, or the one that will be. */
  get endpoint(): string {
    return this.#connection?.endpoint ?? this.#options.endpoints[this.#next % this.#options.endpoints.length] ?? "";
  }

  /** One sentence; null when the last call was answered. */
  get trouble(): string | null {
    return this.#trouble;
  }

  /**
   * Tries until a member answers, each at least once where time allows. What is asked must bear being done twice: an answer may be lost.
   * @throws HawserError STORE, or the signal's reason.
   */
  async call<T>(what: string, signal: AbortSignal | undefined, ask: (attempt: Attempt) => Promise<T>): Promise<T> {
    const until = Date.now() + this.#callTime;
    const members = this.#options.endpoints.length;
    const patience = members > 1 ? this.#callTime / 2 : this.#callTime;
    let signedIn = false;
    for (let tries = 1; ; ) {
      signal?.throwIfAborted();
      const connection = this.#connect();
      try {
        const reply = await ask(await this.#attempt(connection, Math.min(until, Date.now() + patience), signal));
        this.#trouble = null;
        return reply;
      } catch (error) {
        if (this.#ended.signal.aborted) throw closed(connection.endpoint);
        signal?.throwIfAborted();
        if (wantsToken(error) && !signedIn && this.#options.user) {
          connection.token = undefined;
          signedIn = true;
          continue;
        }
        const said = etcdError(what, connection.endpoint, this.#options.prefix, error);
        this.#trouble = said.message;
        if (!isAway(error)) throw said;
        this.#leave(connection);
        if (tries++ >= Math.max(2, members) || Date.now() >= until) throw said;
      }
    }
  }

  /** For a stream, which has no deadline of its own; to be disposed of when it has ended. */
  async stream<T>(signal: AbortSignal, begin: (attempt: Attempt) => T): Promise<Stream<T>> {
    const connection = this.#connect();
    const mark = {};
    const failed = (error: unknown): HawserError => {
      const said = etcdError("heard", connection.endpoint, this.#options.prefix, error);
      if (this.#ended.signal.aborted) return said;
      this.#leave(connection);
      this.#trouble = said.message;
      return said;
    };
    const release = (): void => {
      connection.streams.delete(mark);
      if (this.#connection !== connection && connection.streams.size === 0) connection.kv.close();
    };
    try {
      const stream = begin(await this.#attempt(connection, Date.now() + this.#callTime, signal));
      connection.streams.add(mark);
      return { stream, failed, [Symbol.dispose]: release };
    } catch (error) {
      throw failed(error);
    }
  }

  /** Streams end by their attempts' `cancelledBy`, and their connections with them. */
  close(): void {
    this.#ended.abort();
    const connection = this.#connection;
    this.#connection = undefined;
    if (connection?.streams.size === 0) connection.kv.close();
  }

  #connect(): Connection {
    const { endpoints } = this.#options;
    if (this.#ended.signal.aborted) throw closed(endpoints.join(", "));
    if (this.#connection !== undefined) return this.#connection;
    const endpoint = this.endpoint;
    const { protocol, hostname, port } = new URL(endpoint);
    const host = hostname.replace(/^\[|\]$/g, "");
    const address = `${isIP(host) === 6 ? `[${host}]` : host}:${port || (protocol === "https:" ? 443 : 80)}`;
    const options = {
      "grpc.max_receive_message_length": largestAnswer, "grpc.enable_http_proxy": 0, "grpc.enable_retries": 0, "grpc.service_config_disable_resolution": 1,
      "grpc.initial_reconnect_backoff_ms": 100, "grpc.min_reconnect_backoff_ms": 100, "grpc.max_reconnect_backoff_ms": 2000,
      // What a black hole left behind is freed; etcd bears a ping every five seconds.
      "grpc.keepalive_time_ms": 10_000, "grpc.keepalive_timeout_ms": 5000,
      // A server name must not be an address (RFC 6066, 3); the certificate is still held against the address.
      ...(isIP(host) !== 0 && { "grpc.ssl_target_name_override": "etcd" }),
    };
    const secret = this.#credentialsFor(endpoint);
    const kv = new KVClient(address, secret, options);
    const shared = { ...options, channelOverride: kv.getChannel() };
    this.#connection = {
      endpoint, kv, token: undefined, streams: new Set(),
      lease: new LeaseClient(address, secret, shared), watch: new WatchClient(address, secret, shared), auth: new AuthClient(address, secret, shared),
    };
    return this.#connection;
  }

  /** Whoever finds a member silent first leaves it for all. */
  #leave(connection: Connection): void {
    if (this.#connection !== connection) return;
    this.#connection = undefined;
    if (connection.streams.size === 0) connection.kv.close();
    this.#next = (this.#next + 1) % this.#options.endpoints.length;
  }

  #credentialsFor(endpoint: string): ChannelCredentials {
    const { protocol, hostname } = new URL(endpoint.includes("//") ? endpoint : "http://none");
    if (protocol !== "https:") return credentials.createInsecure();
    const { ca = null, cert = null, key = null } = this.#options.tls ?? {};
    const host = hostname.replace(/^\[|\]$/g, "");
    return credentials.createSsl(
      ca === null ? Buffer.from(getCACertificates("system").join("\n")) : readOrSay(ca, "store.tls.ca"),
      key === null ? null : readOrSay(key, "store.tls.key"), cert === null ? null : readOrSay(cert, "store.tls.cert"),
      { checkServerIdentity: (_name, certificate) => checkServerIdentity(host, certificate) },
    );
  }

  async #attempt(connection: Connection, deadline: number, signal: AbortSignal | undefined): Promise<Attempt> {
    const cancelledBy = (cancel: () => void): Disposable => {
      const signals = [this.#ended.signal, ...(signal === undefined ? [] : [signal])];
      if (signals.some(({ aborted }) => aborted)) cancel();
      for (const one of signals) one.addEventListener("abort", cancel, { once: true });
      return { [Symbol.dispose]: () => signals.forEach((one) => one.removeEventListener("abort", cancel)) };
    };
    const attempt = { ...connection, metadata: new Metadata(), options: { deadline }, cancelledBy };
    const { user } = this.#options;
    if (!user) return attempt;
    connection.token ??= signIn(attempt, user.name, readOrSay(user.passwordFile, "store.passwordFile").toString("utf8").replace(/\r?\n$/, ""));
    const asked = connection.token;
    const token = await asked.catch((error: unknown) => {
      if (connection.token === asked) connection.token = undefined;
      throw error;
    });
    if (token !== null) attempt.metadata.set("token", token);
    return attempt;
  }
}

export function unary<Request, Reply>(attempt: Attempt, client: object, method: UnaryCall<Request, Reply>, request: Request): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const call = method.call(client, request, attempt.metadata, attempt.options, (error, reply) => {
      held[Symbol.dispose]();
      if (error === null) resolve(reply);
      else reject(error);
    });
    const held = attempt.cancelledBy(() => call.cancel());
  });
}

async function signIn(attempt: Attempt, name: string, password: string): Promise<string | null> {
  try {
    return (await unary(attempt, attempt.auth, attempt.auth.authenticate, { name, password })).token;
  } catch (error) {
    if (isAuthenticationOff(error)) return null;
    throw error;
  }
}

function closed(endpoint: string): HawserError {
  return new HawserError("STORE", `the connection to etcd at ${endpoint} is closed`);
}

function readOrSay(file: string, key: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new HawserError("STORE", `${file}, which ${key} names, cannot be read: ${messageOf(error)}`, { cause: error });
  }
}
