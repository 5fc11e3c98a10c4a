// containerd's API as far as Hawser asks it, on a real unix socket, answering from plain data.
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { Server, ServerCredentials, status } from "@grpc/grpc-js";
import type { Metadata, ServerWritableStream, sendUnaryData } from "@grpc/grpc-js";
import { ContainersService } from "../../../src/containerd/generated/containers.ts";
import type { Container, ContainersServer } from "../../../src/containerd/generated/containers.ts";
import { ContentService } from "../../../src/containerd/generated/content.ts";
import type { ContentServer } from "../../../src/containerd/generated/content.ts";
import { EventsService } from "../../../src/containerd/generated/events.ts";
import type { Envelope, SubscribeRequest, EventsServer } from "../../../src/containerd/generated/events.ts";
import { ContainerCreate, ContainerUpdate, TaskCreate, TaskExit, TaskStart } from "../../../src/containerd/generated/happenings.ts";
import { ImagesService } from "../../../src/containerd/generated/images.ts";
import type { Image, ImagesServer } from "../../../src/containerd/generated/images.ts";
import { NamespacesService } from "../../../src/containerd/generated/namespaces.ts";
import { SnapshotsService } from "../../../src/containerd/generated/snapshots.ts";
import type { SnapshotsServer } from "../../../src/containerd/generated/snapshots.ts";
import { TasksService } from "../../../src/containerd/generated/tasks.ts";
import type { TasksServer } from "../../../src/containerd/generated/tasks.ts";
import type { Process } from "../../../src/containerd/generated/task.ts";
import { VersionService } from "../../../src/containerd/generated/version.ts";
import { scratchFolder } from "../../scratch.ts";

/** One of containerd's namespaces. */
export interface Shelf {
  containers: Container[];
  tasks: Process[];
  images: Image[];
}

export interface FakeContainerd extends AsyncDisposable {
  readonly socket: string;
  /** Calls, `NAMESPACE method`. */
  readonly asked: string[];
  readonly shelves: Record<string, Shelf>;
  /** Digest → bytes. */
  readonly content: Record<string, string>;
  /** Snapshot key → chain. */
  readonly parents: Record<string, string>;
  /** Whether a published event reaches nobody: a subscription that containerd has not taken up yet. */
  deaf: boolean;
  created(namespace: string, id: string): void;
  updated(namespace: string, id: string): void;
  taskCreated(namespace: string, id: string, pid: number): void;
  taskStarted(namespace: string, id: string, pid: number): void;
  taskEnded(namespace: string, id: string, pid: number, process?: string): void;
  /** Ends every event stream, as a daemon that is killed. */
  hangUp(): void;
  subscribers(): number;
}

export const shelf = (parts: Partial<Shelf> = {}): Shelf => ({ containers: [], tasks: [], images: [], ...parts });

export const container = (id: string, labels: Record<string, string> = {}, parts: Partial<Container> = {}): Container => ({
  id, labels, image: "", spec: undefined, snapshotter: "overlayfs", snapshotKey: id, createdAt: { seconds: 1000n, nanos: 0 }, updatedAt: undefined, ...parts,
});

export const process = (id: string, pid: number, taskStatus: Process["status"] = 2): Process => ({ containerId: "", id, pid, status: taskStatus });

/** @param folder where an earlier one has been; left out: a new one. */
export async function fakeContainerd(folder = scratchFolder("containerd")): Promise<FakeContainerd> {
  mkdirSync(folder, { recursive: true });
  const socket = join(folder, "containerd.sock");
  const streams = new Set<ServerWritableStream<SubscribeRequest, Envelope>>();
  const server = new Server();

  const shelfOf = (metadata: Metadata, method: string): Shelf => {
    const namespace = String(metadata.get("containerd-namespace")[0] ?? "");
    fake.asked.push(`${namespace} ${method}`);
    return fake.shelves[namespace] ?? shelf();
  };
  const orNotFound = <T>(callback: sendUnaryData<T>, answer: T | undefined): void =>
    answer === undefined ? callback({ code: status.NOT_FOUND, details: "not found" }) : callback(null, answer);
  const send = (envelope: Envelope): void => {
    for (const stream of streams) stream.write(envelope);
  };
  const tell = (namespace: string, topic: string, typeUrl: string, value: Uint8Array): void =>
    send({ namespace, topic, timestamp: undefined, event: { typeUrl: `containerd.events.${typeUrl}`, value: Buffer.from(value) } });

  server.addService(VersionService, { version: (_call: unknown, callback: sendUnaryData<object>) => callback(null, { version: "1.6.20", revision: "" }) });
  server.addService(NamespacesService, {
    list: (_call: unknown, callback: sendUnaryData<object>) => callback(null, { namespaces: Object.keys(fake.shelves).map((name) => ({ name, labels: {} })) }),
  });
  server.addService(ContainersService, {
    list: (call, callback) => callback(null, { containers: shelfOf(call.metadata, "containers").containers }),
    get: (call, callback) => {
      const found = shelfOf(call.metadata, "container").containers.find(({ id }) => id === call.request.id);
      orNotFound(callback, found && { container: found });
    },
  } satisfies Partial<ContainersServer>);
  server.addService(TasksService, {
    list: (call, callback) => callback(null, { tasks: shelfOf(call.metadata, "tasks").tasks }),
  } satisfies Partial<TasksServer>);
  server.addService(ImagesService, {
    get: (call, callback) => {
      const image = shelfOf(call.metadata, "image").images.find(({ name }) => name === call.request.name);
      orNotFound(callback, image && { image });
    },
  } satisfies Partial<ImagesServer>);
  server.addService(SnapshotsService, {
    stat: (call, callback) => {
      const parent = fake.parents[call.request.key];
      orNotFound(callback, parent === undefined ? undefined : { info: { name: call.request.key, parent } });
    },
  } satisfies Partial<SnapshotsServer>);
  server.addService(ContentService, {
    read: (call) => {
      const bytes = fake.content[call.request.digest];
      if (bytes === undefined) return void call.emit("error", { code: status.NOT_FOUND, details: "not found" });
      // In two pieces, as a large one comes.
      const half = Math.ceil(bytes.length / 2);
      call.write({ offset: 0n, data: Buffer.from(bytes.slice(0, half)) });
      call.write({ offset: BigInt(half), data: Buffer.from(bytes.slice(half)) });
      call.end();
    },
  } satisfies Partial<ContentServer>);
  server.addService(EventsService, {
    publish: (call, callback) => {
      const namespace = String(call.metadata.get("containerd-namespace")[0] ?? "");
      if (!fake.deaf) send({ namespace, topic: call.request.topic, timestamp: undefined, event: call.request.event });
      callback(null, {});
    },
    subscribe: (call) => {
      streams.add(call);
      call.on("cancelled", () => streams.delete(call));
    },
  } satisfies Partial<EventsServer>);

  await promisify(server.bindAsync.bind(server))(`unix:${socket}`, ServerCredentials.createInsecure());
  const fake: FakeContainerd = {
    socket, asked: [], shelves: {}, content: {}, parents: {}, deaf: false,
    created: (namespace, id) => tell(namespace, "/containers/create", "ContainerCreate", ContainerCreate.encode({ id, image: "" }).finish()),
    updated: (namespace, id) => tell(namespace, "/containers/update", "ContainerUpdate", ContainerUpdate.encode({ id, image: "", labels: {}, snapshotKey: "" }).finish()),
    taskCreated: (namespace, id, pid) => tell(namespace, "/tasks/create", "TaskCreate", TaskCreate.encode({ containerId: id, bundle: "", checkpoint: "", pid }).finish()),
    taskStarted: (namespace, id, pid) => tell(namespace, "/tasks/start", "TaskStart", TaskStart.encode({ containerId: id, pid }).finish()),
    taskEnded: (namespace, id, pid, process = id) => tell(namespace, "/tasks/exit", "TaskExit", TaskExit.encode({ containerId: id, id: process, pid, exitStatus: 0 }).finish()),
    hangUp: () => {
      for (const stream of streams) stream.emit("error", { code: status.UNAVAILABLE, details: "transport is closing" });
      streams.clear();
    },
    subscribers: () => streams.size,
    async [Symbol.asyncDispose]() {
      server.forceShutdown();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  return fake;
}

/** Resolves once the fact holds. */
export async function until(fact: () => boolean): Promise<void> {
  while (!fact()) await new Promise((resolve) => setTimeout(resolve, 5));
}
