// The door to containerd: knows its containers and tasks, finds their veths, and tells the engine who they are.
import { statSync } from "node:fs";
import type { Commands, GuestReport, PartStatus } from "../engine/types.ts";
import type { Clock } from "../std/clock.ts";
import { messageOf } from "../std/errors.ts";
import type { Log } from "../std/log.ts";
import type { ContainerdClient } from "./client.ts";
import { cniResults, readCniResults } from "./cni.ts";
import type { CniResult } from "./cni.ts";
import { watchContainerd } from "./events.ts";
import type { Happening } from "./events.ts";
import { cniNames, guestsOf } from "./guests.ts";
import type { Household, Outcome } from "./guests.ts";
import { openLedger } from "./ledger.ts";
import type { Standing } from "./ledger.ts";
import type { Entry, InspectNamespaces, NamespaceView, Task } from "./types.ts";

export interface ContainerdDoorOptions {
  readonly containerd: ContainerdClient;
  /** Empty: all but `k8s.io`, whose pods somebody else's network policy is for. */
  readonly namespaces: readonly string[];
  /** Whether Docker's containers come in by Docker's own door. */
  readonly docker: boolean;
  readonly inspect: InspectNamespaces;
  readonly commands: Pick<Commands, "syncGuests">;
  readonly clock: Clock;
  readonly log: Log;
  /** Where libcni keeps its results. */
  readonly cniResults?: string;
}

export interface DockerTask {
  readonly containerId: string;
  readonly what: "started" | "ended";
  /** When containerd says that it happened, in milliseconds since the epoch. */
  readonly at: number;
}

export interface ContainerdDoor {
  /** Reads everything and tells the engine. Rejects when containerd does not answer; what the engine knows then stays. */
  sync(reason: string, signal?: AbortSignal): Promise<GuestReport>;
  /** Looks soon at what is known; many requests make one look. Never fails. */
  nudge(reason: string): void;
  /** Follows containerd's events until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
  /** Starts and ends of Docker's containers as containerd sees them: a second witness beside Docker's own events. */
  onDockerTask(listener: (task: DockerTask) => void): Disposable;
  status(): PartStatus;
}

/** Docker's own, and its managed plugins'. */
const dockers: readonly string[] = ["moby", "plugins.moby"];
const kubernetes = "k8s.io";
/** A namespace that is still being wired is looked at again and again: every 5 ms at first, less and less often, for a minute. */
const patience = 60_000;
const pauseAt = (age: number): number => Math.min(1000, Math.max(5, age / 20));
const afterFailure = 1000;
const namesShown = 5;

export function createContainerdDoor(options: ContainerdDoorOptions): ContainerdDoor {
  const { containerd, clock, log, commands, inspect } = options;
  const standing = standingFor(options);
  const ledger = openLedger({ containerd, standing, now: () => clock.now() });
  const listeners = new Set<(task: DockerTask) => void>();
  /** Namespaces that are wired to the end, as long as the same tasks live in them, until the next whole reading. */
  const settled = new Map<string, { readonly view: NamespaceView; readonly tasks: string }>();
  let version = "";
  let trouble: string | undefined = "not asked yet";
  let last: Outcome = { guests: [], unjudged: [], unfinished: false };
  /** What CNI plugins wrote of the interfaces that stand. */
  let results: readonly CniResult[] = [];
  /** What the engine was last told, as text. */
  let told = "";
  let reading: Promise<unknown> = Promise.resolve();
  let telling: Promise<unknown> = Promise.resolve();
  let waiting: Promise<GuestReport> | undefined;
  let ended: AbortSignal | undefined;

  const say = (why: string | undefined): void => {
    if ((why === undefined) !== (trouble === undefined)) log[why === undefined ? "info" : "warn"](why === undefined ? "containerd answers" : "containerd does not answer", { detail: why ?? version });
    trouble = why;
  };

  const said = new Set<string>();
  /** Each once: it stays as it is at every look. */
  const sayOnce = (message: string, lines: readonly string[]): void => {
    for (const why of lines) {
      if (!said.has(why)) log.info(message, { why });
      said.add(why);
    }
  };

  /** Whom there is and where: what lives in Docker's namespaces is Docker's, whoever else moved in. */
  const look = async (): Promise<Outcome> => {
    const [homes, docker] = [new Map<string, { pid: number; members: Entry[] }>(), new Set<string>()];
    for (const entry of ledger.entries()) {
      if (entry.task === undefined) continue;
      const id = namespaceOf(entry.task.pid);
      if (id === undefined) continue;
      const home = homes.get(id);
      if (standing(entry.namespace) === "docker") docker.add(id);
      else if (entry.container === undefined) continue;
      else if (home === undefined) homes.set(id, { pid: entry.task.pid, members: [entry] });
      else home.members.push(entry);
    }
    for (const id of docker) homes.delete(id);
    // A namespace's number is given out again as soon as it is free.
    for (const [id, { tasks }] of settled) if (tasksOf(homes.get(id)?.members ?? []) !== tasks) settled.delete(id);

    const unknown = [...homes].filter(([id]) => !settled.has(id));
    const views = await inspect(unknown.map(([, { pid }]) => `/proc/${pid}/ns/net`));
    const seen = new Map(views.flatMap((view) => (view === null ? [] : [[view.id, view] as const])));
    const households = [...homes].flatMap(([id, { members }]): Household[] => {
      const view = settled.get(id)?.view ?? seen.get(id);
      return view === undefined ? [] : [{ view, members }];
    });
    const devices = new Set(households.flatMap(({ view }) => view.devices.flatMap(({ host }) => (host === null ? [] : [host.name]))));
    const written = await readCniResults(options.cniResults ?? cniResults, households.flatMap(({ members }) => members.flatMap(cniNames)));
    // Of a container that ended, others may still use the interfaces.
    results = [...written, ...results].filter(({ hostDevices }, i, all) =>
      i < written.length || (hostDevices.some((name) => devices.has(name)) && !all.slice(0, i).some((other) => other.hostDevices.join() === hostDevices.join())));
    for (const { view, members } of households) {
      const wired = !guestsOf([{ view, members }], results).unfinished && members.some(({ task }) => task?.started);
      if (wired || members.every(({ task }) => isOld(task))) settled.set(view.id, { view, tasks: tasksOf(members) });
    }
    return guestsOf(households, results);
  };

  const tell = async (always: boolean, signal?: AbortSignal): Promise<GuestReport> => {
    last = await look();
    sayOnce("not judged by Hawser", last.unjudged);
    if (last.unfinished) lookAgain();
    const text = JSON.stringify(last.guests);
    if (text === told && !always) return { added: [], removed: [], refused: [] };
    const report = await commands.syncGuests({ guests: last.guests }, signal);
    told = text;
    if (report.added.length + report.removed.length > 0) log.info("told of containerd's containers", { ...report });
    sayOnce("a container of containerd's was not taken up", report.refused);
    return report;
  };

  const afterTold = (work: () => Promise<GuestReport>): Promise<GuestReport> => {
    const turn = telling.then(work);
    telling = turn.catch(() => undefined);
    return turn;
  };

  /** One at a time; requests that come while one runs make one more. */
  const tellSoon = (): Promise<GuestReport> => {
    waiting ??= afterTold(() => {
      waiting = undefined;
      return tell(false);
    });
    return waiting;
  };

  const nudge = (reason: string): void => {
    tellSoon().catch((error: unknown) => {
      log.warn("the engine could not take up containerd's containers", { reason, error });
      nudgeAfter(afterFailure, "after a failure");
    });
  };

  const nudgeAfter = (pause: number, reason: string): void => {
    if (ended === undefined || ended.aborted) return;
    clock.sleep(pause, ended).then(() => nudge(reason), () => undefined);
  };

  const isOld = (task: Task | undefined): boolean => task === undefined || clock.now() - task.since > patience;

  const lookAgain = (): void => {
    const ages = ledger.entries().flatMap(({ task }) => (task === undefined || isOld(task) ? [] : [clock.now() - task.since]));
    if (ages.length > 0) nudgeAfter(pauseAt(Math.min(...ages)), "a container is being wired");
  };

  const read = async (reason: string, signal?: AbortSignal): Promise<void> => {
    try {
      await ledger.read(signal);
      if (trouble !== undefined) version = await containerd.version(signal);
      settled.clear();
      say(undefined);
    } catch (error) {
      if (!(signal?.aborted ?? false)) say(messageOf(error));
      throw error;
    }
    log.debug("read containerd's containers", { reason, entries: ledger.entries().length });
  };

  /** Lists and events take turns, so that a list never undoes what an event after it has said. */
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const turn = reading.then(work);
    reading = turn.catch(() => undefined);
    return turn;
  };

  const sync = async (reason: string, signal?: AbortSignal): Promise<GuestReport> => {
    await inTurn(() => read(reason, signal));
    return afterTold(() => tell(true, signal));
  };

  const happened = async (namespace: string, what: Happening, at: number): Promise<void> => {
    if (dockers.includes(namespace) && (what.kind === "task gone" || (what.kind === "task" && what.started))) {
      for (const listener of listeners) listener({ containerId: what.id, what: what.kind === "task" ? "started" : "ended", at });
    }
    try {
      if (await inTurn(() => ledger.note(namespace, what))) nudge(what.kind);
    } catch (error) {
      log.debug("an event could not be followed", { namespace, what, error });
    }
  };

  const run = async (signal: AbortSignal): Promise<void> => {
    ended = signal;
    for await (const notice of watchContainerd(containerd, clock, signal)) {
      if (notice.kind === "lost") say(notice.why);
      else if (notice.kind === "happened") await happened(notice.namespace, notice.what, notice.at);
      else await sync("containerd's events begin", signal).catch((error: unknown) => log.debug("reading containerd failed", { error }));
    }
    await Promise.allSettled([waiting, telling, reading]);
  };

  return {
    sync, nudge, run,
    onDockerTask: (listener) => {
      listeners.add(listener);
      return { [Symbol.dispose]: () => void listeners.delete(listener) };
    },
    status: () => trouble === undefined
      ? { part: "containerd", state: "ok", detail: described(version, last) } : { part: "containerd", state: "degraded", detail: trouble },
  };
}

function standingFor({ namespaces, docker }: Pick<ContainerdDoorOptions, "namespaces" | "docker">): (namespace: string) => Standing {
  return (namespace) => {
    if (dockers.includes(namespace) && docker) return "docker";
    const named = namespaces.length > 0 ? namespaces.includes(namespace) : namespace !== kubernetes && !dockers.includes(namespace);
    return named ? "ours" : "none";
  };
}

function tasksOf(members: readonly Entry[]): string {
  return members.map(({ task }) => `${task?.pid} ${task?.started}`).join(", ");
}

/** Of the process; undefined when it is gone. */
function namespaceOf(pid: number): string | undefined {
  try {
    const { dev, ino } = statSync(`/proc/${pid}/ns/net`);
    return `${dev}:${ino}`;
  } catch {
    return undefined;
  }
}

function described(version: string, { guests, unjudged }: Outcome): string {
  const parts = [`containerd ${version}`, `${guests.length} ${guests.length === 1 ? "container" : "containers"} wired by others`];
  if (unjudged.length > 0) parts.push(`not judged: ${unjudged.slice(0, namesShown).join(", ")}${unjudged.length > namesShown ? `, and ${unjudged.length - namesShown} more` : ""}`);
  return parts.join("; ");
}
