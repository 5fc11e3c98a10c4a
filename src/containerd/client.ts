// The few calls of containerd's API that Hawser makes, typed, each with a deadline.
import { credentials, Metadata, status as codes } from "@grpc/grpc-js";
import type { CallOptions, ClientReadableStream, ServiceError } from "@grpc/grpc-js";
import { messageOf } from "../std/errors.ts";
import { ContainersClient } from "./generated/containers.ts";
import type { Container } from "./generated/containers.ts";
import { ContentClient } from "./generated/content.ts";
import type { ReadContentResponse } from "./generated/content.ts";
import { EventsClient } from "./generated/events.ts";
import type { Envelope } from "./generated/events.ts";
import { ImagesClient } from "./generated/images.ts";
import type { Image } from "./generated/images.ts";
import { NamespacesClient } from "./generated/namespaces.ts";
import { SnapshotsClient } from "./generated/snapshots.ts";
import { TasksClient } from "./generated/tasks.ts";
import type { Process } from "./generated/task.ts";
import { VersionClient } from "./generated/version.ts";
import type { Any } from "./generated/wellknown.ts";

export type { Container, Envelope, Image, Process };

/** Milliseconds. */
const callTime = 5000;
/** Containers come with their whole OCI specification. */
const largestAnswer = 128 * 1024 * 1024;
/** Manifests and configurations of images have kilobytes; what is larger is none. */
const largestContent = 4 * 1024 * 1024;

export interface ContainerdClient extends Disposable {
  readonly socket: string;
  version(signal?: AbortSignal): Promise<string>;
  namespaces(signal?: AbortSignal): Promise<readonly string[]>;
  containers(namespace: string, signal?: AbortSignal): Promise<readonly Container[]>;
  /** undefined when it is gone. */
  container(namespace: string, id: string, signal?: AbortSignal): Promise<Container | undefined>;
  tasks(namespace: string, signal?: AbortSignal): Promise<readonly Process[]>;
  image(namespace: string, name: string, signal?: AbortSignal): Promise<Image | undefined>;
  /** Bytes by digest; undefined when containerd does not have them. */
  content(namespace: string, digest: string, signal?: AbortSignal): Promise<Buffer | undefined>;
  /** The chain of layers that a snapshot stands on. */
  snapshotParent(namespace: string, snapshotter: string, key: string, signal?: AbortSignal): Promise<string | undefined>;
  /** From about now on, until the signal aborts or containerd ends. When it has begun only an event tells. */
  events(filters: readonly string[], signal: AbortSignal): AsyncIterable<Envelope>;
  publish(namespace: string, topic: string, event: Any, signal?: AbortSignal): Promise<void>;
}

/** containerd does not answer: its socket is missing, refuses, or is silent beyond the call's time. */
export class ContainerdAbsent extends Error {
  constructor(socket: string, cause: unknown) {
    super(`containerd does not answer on ${socket}: ${messageOf(cause)}`, { cause });
    this.name = "ContainerdAbsent";
  }
}

/** The last overload of each generated method. */
type UnaryCall<Request, Reply> = (
  request: Request, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, reply: Reply) => void,
) => { cancel(): void };

/** Connects when first asked, and again by itself whenever containerd comes back. */
export function openContainerd(socket: string): ContainerdClient {
  const options = {
    "grpc.max_receive_message_length": largestAnswer, "grpc.enable_http_proxy": 0, "grpc.enable_retries": 0, "grpc.service_config_disable_resolution": 1,
    // A containerd that restarts is away for some tenths of a second.
    "grpc.initial_reconnect_backoff_ms": 100, "grpc.min_reconnect_backoff_ms": 100, "grpc.max_reconnect_backoff_ms": 2000,
  };
  const first = new EventsClient(`unix:${socket}`, credentials.createInsecure(), options);
  const shared = { ...options, channelOverride: first.getChannel() };
  const [address, none] = [`unix:${socket}`, credentials.createInsecure()] as const;
  const [containers, tasks, namespaces] = [
    new ContainersClient(address, none, shared), new TasksClient(address, none, shared), new NamespacesClient(address, none, shared),
  ];
  const [images, content, snapshots, version] = [
    new ImagesClient(address, none, shared), new ContentClient(address, none, shared), new SnapshotsClient(address, none, shared),
    new VersionClient(address, none, shared),
  ];

  const ask = <Request, Reply>(
    client: object, method: UnaryCall<Request, Reply>, request: Request, namespace: string | null, signal: AbortSignal | undefined,
  ): Promise<Reply> =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason as Error);
      const call = method.call(client, request, inNamespace(namespace), { deadline: Date.now() + callTime }, (error, reply) => {
        signal?.removeEventListener("abort", onAbort);
        if (error === null) resolve(reply);
        else reject(signal?.aborted ? (signal.reason as Error) : asAbsent(error));
      });
      const onAbort = (): void => call.cancel();
      signal?.addEventListener("abort", onAbort, { once: true });
    });

  const asAbsent = (error: ServiceError): Error =>
    error.code === codes.UNAVAILABLE || error.code === codes.DEADLINE_EXCEEDED
      ? new ContainerdAbsent(socket, error.code === codes.UNAVAILABLE ? error : new Error(`no answer within ${callTime} ms`)) : error;

  return {
    socket,
    version: async (signal) => (await ask(version, version.version, {}, null, signal)).version,
    namespaces: async (signal) => (await ask(namespaces, namespaces.list, { filter: "" }, null, signal)).namespaces.map(({ name }) => name),
    containers: async (namespace, signal) => (await ask(containers, containers.list, { filters: [] }, namespace, signal)).containers,
    container: (namespace, id, signal) => orNone(ask(containers, containers.get, { id }, namespace, signal).then((reply) => reply.container)),
    tasks: async (namespace, signal) => (await ask(tasks, tasks.list, { filter: "" }, namespace, signal)).tasks,
    image: (namespace, name, signal) => orNone(ask(images, images.get, { name }, namespace, signal).then((reply) => reply.image)),
    content: (namespace, digest, signal) => {
      const call = content.read({ digest, offset: 0n, size: 0n }, inNamespace(namespace), { deadline: Date.now() + callTime });
      return orNone(collect(cancelledBy(call, signal), digest));
    },
    snapshotParent: (namespace, snapshotter, key, signal) =>
      orNone(ask(snapshots, snapshots.stat, { snapshotter, key }, namespace, signal).then((reply) => reply.info?.parent)),
    events: async function* (filters, signal) {
      try {
        yield* cancelledBy(first.subscribe({ filters: [...filters] }), signal) as AsyncIterable<Envelope>;
      } catch (error) {
        throw codeOf(error) === codes.UNAVAILABLE ? new ContainerdAbsent(socket, error) : error;
      }
    },
    publish: async (namespace, topic, event, signal) => void (await ask(first, first.publish, { topic, event }, namespace, signal)),
    [Symbol.dispose]: () => first.close(),
  };
}

function inNamespace(namespace: string | null): Metadata {
  const metadata = new Metadata();
  if (namespace !== null) metadata.set("containerd-namespace", namespace);
  return metadata;
}

function cancelledBy<T>(call: ClientReadableStream<T>, signal: AbortSignal | undefined): ClientReadableStream<T> {
  const onAbort = (): void => call.cancel();
  if (signal?.aborted) onAbort();
  signal?.addEventListener("abort", onAbort, { once: true });
  call.once("close", () => signal?.removeEventListener("abort", onAbort));
  return call;
}

async function collect(call: ClientReadableStream<ReadContentResponse>, digest: string): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const { data } of call as AsyncIterable<ReadContentResponse>) {
    size += data.length;
    if (size > largestContent) throw new RangeError(`${digest} has more than ${largestContent} bytes`);
    pieces.push(data);
  }
  return Buffer.concat(pieces);
}

async function orNone<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (codeOf(error) === codes.NOT_FOUND) return undefined;
    throw error;
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error ? (error as Partial<ServiceError>).code : undefined;
}
