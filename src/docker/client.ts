// The few calls of Docker's API that Hawser makes. Inspecting a container waits for the lock that its start holds (R92); the others never do.
import type Dockerode from "dockerode";
import type { ContainerInfo, ContainerInspectInfo, ImageInspectInfo, NetworkInspectInfo } from "dockerode";
import { messageOf } from "../std/errors.ts";

/** Milliseconds. */
const smallCall = 300;
const singleCall = 1000;
const listCall = 5000;

/** Docker from 28 on tells which of an image's platforms a container runs; dockerode's type knows less of it. */
export type ListedContainer = ContainerInfo & { readonly ImageManifestDescriptor?: { readonly platform?: { readonly os?: string; readonly architecture?: string } } };

/** Docker's own filters: a container is listed when each key has a value that it meets. Names are regular expressions. */
export interface ContainerFilter {
  readonly name?: readonly string[];
  readonly id?: readonly string[];
}

export interface DockerClient {
  version(signal?: AbortSignal): Promise<string>;
  networks(signal?: AbortSignal): Promise<readonly NetworkInspectInfo[]>;
  /** With its endpoints; undefined when it is gone. */
  network(id: string, signal?: AbortSignal): Promise<NetworkInspectInfo | undefined>;
  /** Running or not. */
  containers(filter?: ContainerFilter, signal?: AbortSignal): Promise<readonly ListedContainer[]>;
  /** Undefined when it is gone. */
  image(id: string, signal?: AbortSignal): Promise<ImageInspectInfo | undefined>;
  /** For what no list tells. Waits for the container's lock, so nothing that Docker itself waits for may ask this. */
  inspectContainer(id: string, signal?: AbortSignal): Promise<ContainerInspectInfo | undefined>;
  /** Newline-separated JSON, from now on, until the signal aborts or Docker ends. */
  events(signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
}

/** Docker does not answer: its socket is missing, refuses, or is silent beyond the call's time. */
export class DockerAbsent extends Error {
  constructor(socket: string, cause: unknown) {
    super(`Docker does not answer on ${socket}: ${messageOf(cause)}`, { cause });
    this.name = "DockerAbsent";
  }
}

export function openDocker(socket: string): DockerClient {
  // dockerode costs a third of a second: loaded at once, so that the first container's start does not wait for it.
  const library = import("./library.ts").then(({ loadDockerode }) => loadDockerode());
  library.catch(() => undefined);
  const load = async (options: Dockerode.DockerOptions): Promise<Dockerode> => {
    const Docker = await library;
    return new Docker({ socketPath: socket, ...options });
  };
  let forCalls: Promise<Dockerode> | undefined;
  let forEvents: Promise<Dockerode> | undefined;

  const call = async <T>(time: number, signal: AbortSignal | undefined, work: (api: Dockerode) => Promise<T>): Promise<T> => {
    forCalls ??= load({ timeout: listCall });
    const api = await forCalls;
    const deadline = AbortSignal.timeout(time);
    try {
      return await unlessAborted(work(api), signal === undefined ? deadline : AbortSignal.any([signal, deadline]));
    } catch (error) {
      if (statusOf(error) !== undefined) throw error;
      throw new DockerAbsent(socket, deadline.aborted ? new Error(`no answer within ${time} ms`) : error);
    }
  };

  return {
    version: (signal) => call(smallCall, signal, async (api) => {
      const { Version, ApiVersion } = await api.version();
      return `Docker ${Version} (API ${ApiVersion})`;
    }),
    networks: (signal) => call(listCall, signal, (api) => api.listNetworks()),
    network: (id, signal) => call(listCall, signal, (api) => unlessGone(api.getNetwork(id).inspect())),
    containers: (filter = {}, signal) => call(listCall, signal, (api) => api.listContainers({ all: true, filters: plainFilter(filter) })),
    image: (id, signal) => call(singleCall, signal, (api) => unlessGone(api.getImage(id).inspect())),
    inspectContainer: (id, signal) => call(singleCall, signal, (api) => unlessGone(api.getContainer(id).inspect())),
    events: async (signal) => {
      forEvents ??= load({});
      const api = await forEvents;
      try {
        return (await api.getEvents({ abortSignal: signal, filters: { type: ["network", "container", "daemon"] } })) as NodeJS.ReadableStream & AsyncIterable<Uint8Array>;
      } catch (error) {
        throw new DockerAbsent(socket, error);
      }
    },
  };
}

/** dockerode's calls take a signal here and there; the socket's own timeout ends what is left behind. */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason);
  if (signal.aborted) onAbort();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

async function unlessGone<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (statusOf(error) === 404) return undefined;
    throw error;
  }
}

function plainFilter({ name, id }: ContainerFilter): Record<string, string[]> {
  return { ...(name && { name: [...name] }), ...(id && { id: [...id] }) };
}

function statusOf(error: unknown): number | undefined {
  const status = (error as { readonly statusCode?: unknown }).statusCode;
  return typeof status === "number" ? status : undefined;
}
