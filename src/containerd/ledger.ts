// The door's book of containerd's containers and tasks: read whole at times, kept by events in between.
import { messageOf } from "../std/errors.ts";
import { ContainerdAbsent } from "./client.ts";
import type { ContainerdClient, Container } from "./client.ts";
import type { Happening } from "./events.ts";
import { Status } from "./generated/task.ts";
import { imageLabelsOf } from "./image.ts";
import type { ImageLabels } from "./image.ts";
import type { Entry, Task } from "./types.ts";

export interface Ledger {
  readonly entries: () => readonly Entry[];
  /** Reads everything anew. */
  read(signal?: AbortSignal): Promise<void>;
  /** Whether something changed. */
  note(namespace: string, what: Happening): Promise<boolean>;
}

export interface LedgerOptions {
  readonly containerd: ContainerdClient;
  /** Which namespaces are read; of Docker's only the tasks. */
  readonly standing: (namespace: string) => Standing;
  readonly now: () => number;
}

export type Standing = "ours" | "docker" | "none";

export function openLedger({ containerd, standing, now }: LedgerOptions): Ledger {
  let entries = new Map<string, Entry>();
  /** An image's labels as they were when its container was first seen: its name may mean another one later. */
  const remembered = new Map<string, ImageLabels>();

  const keyOf = (namespace: string, id: string): string => `${namespace}/${id}`;
  const birthOf = (namespace: string, { id, createdAt }: Container): string => `${keyOf(namespace, id)}@${createdAt?.seconds}.${createdAt?.nanos}`;

  const imageOf = async (namespace: string, container: Container, signal?: AbortSignal): Promise<ImageLabels> => {
    const birth = birthOf(namespace, container);
    const before = remembered.get(birth);
    if (before !== undefined) return before;
    const labels = await imageLabelsOf(containerd, namespace, container, signal).catch((error: unknown): ImageLabels => {
      if (error instanceof ContainerdAbsent || signal?.aborted) throw error;
      return { known: false, why: `its image ${container.image} could not be read: ${messageOf(error)}` };
    });
    // What is not known may be known at the next look.
    if (labels.known) remembered.set(birth, labels);
    return labels;
  };

  const change = (namespace: string, id: string, part: Partial<Pick<Entry, "container" | "image" | "task">>): void => {
    const before = entries.get(keyOf(namespace, id)) ?? { namespace, id, container: undefined, image: undefined, task: undefined };
    const after = { ...before, ...part };
    if (after.container === undefined && after.task === undefined) entries.delete(keyOf(namespace, id));
    else entries.set(keyOf(namespace, id), after);
  };

  const taskOf = (namespace: string, id: string, pid: number, started: boolean): Task => {
    const before = entries.get(keyOf(namespace, id))?.task;
    return before?.pid === pid ? { ...before, started: before.started || started } : { pid, started, since: now() };
  };

  const readNamespace = async (namespace: string, signal?: AbortSignal): Promise<readonly Entry[]> => {
    const containers = standing(namespace) === "docker" ? [] : await containerd.containers(namespace, signal);
    const tasks = new Map((await containerd.tasks(namespace, signal))
      .filter(({ pid, status }) => pid > 0 && status !== Status.STOPPED && status !== Status.UNKNOWN)
      .map(({ id, pid, status }) => [id, taskOf(namespace, id, pid, status !== Status.CREATED)]));
    const found: Entry[] = [];
    for (const container of containers) {
      found.push({ namespace, id: container.id, container, image: await imageOf(namespace, container, signal), task: tasks.get(container.id) });
      tasks.delete(container.id);
    }
    return [...found, ...[...tasks].map(([id, task]): Entry => ({ namespace, id, container: undefined, image: undefined, task }))];
  };

  return {
    entries: () => [...entries.values()],
    read: async (signal) => {
      const found: Entry[] = [];
      for (const namespace of await containerd.namespaces(signal)) {
        if (standing(namespace) !== "none") found.push(...(await readNamespace(namespace, signal)));
      }
      entries = new Map(found.map((entry) => [keyOf(entry.namespace, entry.id), entry]));
      const alive = new Set(found.flatMap(({ namespace, container }) => (container === undefined ? [] : [birthOf(namespace, container)])));
      for (const birth of remembered.keys()) if (!alive.has(birth)) remembered.delete(birth);
    },
    note: async (namespace, what) => {
      const whose = standing(namespace);
      if (whose === "none") return false;
      const { id } = what;
      switch (what.kind) {
        case "container": {
          if (whose === "docker") return false;
          const container = await containerd.container(namespace, id);
          change(namespace, id, { container, image: container && (await imageOf(namespace, container)) });
          return true;
        }
        case "container gone":
          change(namespace, id, { container: undefined, image: undefined });
          return true;
        case "task":
          change(namespace, id, { task: taskOf(namespace, id, what.pid, what.started) });
          return true;
        case "task gone":
          if (entries.get(keyOf(namespace, id))?.task?.pid !== what.pid) return false;
          change(namespace, id, { task: undefined });
          return true;
      }
    },
  };
}
