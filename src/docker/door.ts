// The door to Docker: whenever something may have changed there, reads what exists and lets the engine reconcile; and says whose an endpoint is.
import type { Commands, ContainerIdentity, DockerTruth, EndpointRef, PartStatus, ReconcileReport } from "../engine/types.ts";
import type { Clock } from "../std/clock.ts";
import { messageOf } from "../std/errors.ts";
import type { Log } from "../std/log.ts";
import type { DockerClient } from "./client.ts";
import { watchDocker } from "./events.ts";
import { createImages } from "./images.ts";
import { createPrivileges } from "./privileges.ts";
import type { RunningContainer } from "./privileges.ts";
import { isStopping } from "./stopping.ts";
import { readTruth } from "./truth.ts";
import { createWhose } from "./whose.ts";

export interface DockerDoorOptions {
  readonly docker: DockerClient;
  readonly commands: Pick<Commands, "reconcile" | "containerEnds">;
  readonly clock: Clock;
  readonly log: Log;
}

export interface DockerDoor {
  /** Reads and reconciles now, or joins a run that has not read yet. Rejects when Docker does not answer. */
  sync(reason: string, signal?: AbortSignal): Promise<ReconcileReport>;
  /** Asks for a sync soon; many requests make one. Never fails. */
  nudge(reason: string): void;
  /** Whose an endpoint is, within 2 s of a Docker that answers, 300 ms of one that does not; null when it does not say in that time. For a start that waits for it, and never fails. */
  whose(ref: EndpointRef, signal: AbortSignal): Promise<ContainerIdentity | null>;
  /** Follows Docker's events until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
  status(): PartStatus;
}

/** How long requests are gathered, in milliseconds: an identity is known some tens of milliseconds after Join. */
const gathering = 50;
/**
 * How long a container's start may wait for its identity, in milliseconds; it starts closed without. A Docker that answers others is only busy (with
 * fifty starts, say), and dropping a first packet costs its sender a second; one that answers nobody is starting up, and holds its start for us.
 */
const patience = { answering: 2000, silent: 300 };
/** In one line of the status. */
const mostNamed = 5;

export function createDockerDoor({ docker, commands, clock, log }: DockerDoorOptions): DockerDoor {
  let status: PartStatus = { part: "docker", state: "degraded", detail: "not asked yet" };
  let running: Promise<unknown> = Promise.resolve();
  let waiting: Promise<void> | undefined;
  let learning: Promise<void> | undefined;
  /** While Docker starts it drives containers but answers nothing: one wait is enough to know, until it has answered again. */
  let dumb = false;
  let version = "";
  const images = createImages(docker);
  const privileges = createPrivileges(docker);
  const { notesOf, aliasesOf } = privileges;
  const ask = createWhose({ docker, images, notesOf, aliasesOf, patience: () => clock.deadline(patience[status.state === "ok" ? "answering" : "silent"]) });

  const say = (state: PartStatus["state"], detail: string): void => {
    if (state !== status.state) log[state === "ok" ? "info" : "warn"](state === "ok" ? "Docker answers" : "Docker does not answer", { detail });
    status = { part: "docker", state, detail };
  };

  /** Each once: it stays refused at every look. */
  const said = new Set<string>();
  const sayRefused = (why: string): void => {
    if (!said.has(why)) log.warn("Docker has what Hawser does not know and cannot take over", { why });
    said.add(why);
  };

  const read = async (reason: string, signal?: AbortSignal): Promise<ReconcileReport> => {
    try {
      const truth = await readTruth({ docker, images, notesOf, aliasesOf, now: () => clock.now() }, signal);
      dumb = false;
      if (status.state !== "ok") version = await docker.version(signal);
      say("ok", [version, ...unenforcedLine(truth)].join("; "));
      const report = await commands.reconcile(truth, signal);
      if (report.removedEndpoints.length + report.removedNetworks.length + report.identified + report.restored.length > 0) {
        log.info("reconciled with Docker", { reason, ...report });
      }
      for (const why of report.refused) sayRefused(why);
      learn(runningIn(truth));
      return report;
    } catch (error) {
      if (!(signal?.aborted ?? false)) say("degraded", messageOf(error));
      throw error;
    }
  };

  /** One at a time: a second reading must not overtake the first and remove what the first has just seen. */
  const sync = (reason: string, signal?: AbortSignal): Promise<ReconcileReport> => {
    const turn = running.then(() => read(reason, signal));
    running = turn.catch(() => undefined);
    return turn;
  };

  const nudge = (reason: string): void => {
    waiting ??= clock.sleep(gathering).then(async () => {
      await running;
      waiting = undefined;
      await sync(reason).catch((error: unknown) => log.debug("reconciling failed", { reason, error }));
    });
  };

  /** Behind the reading: an inspection may wait a second, and an identity must not. */
  const learn = (running: readonly RunningContainer[]): void => {
    learning ??= privileges.learn(running).then((news) => {
      learning = undefined;
      if (news) nudge("privileges were learnt");
    });
  };

  const whose = async (ref: EndpointRef, signal: AbortSignal): Promise<ContainerIdentity | null> => {
    if (dumb && status.state !== "ok") return null;
    const limit = clock.deadline(patience[status.state === "ok" ? "answering" : "silent"]);
    try {
      const owner = await ask(ref, AbortSignal.any([signal, limit]));
      dumb = false;
      return owner;
    } catch (error) {
      dumb = true;
      log.debug("Docker did not say whose an endpoint is", { endpoint: ref.id, error });
      return null;
    }
  };

  /** `docker stop` sends a container its own signal first, and kills it only when it has not gone by then (R76). */
  const signalled = async (containerId: string, signal: string, at: number): Promise<void> => {
    if (isStopping(signal, privileges.stopSignalOf(containerId))) await commands.containerEnds({ containerId, ending: "stopping", at });
  };

  const run = async (signal: AbortSignal): Promise<void> => {
    for await (const notice of watchDocker(docker, clock, signal)) {
      if (notice.kind === "lost") say("degraded", notice.why);
      else if (notice.kind === "signal") {
        void signalled(notice.containerId, notice.signal, notice.at || clock.now())
          .catch((error: unknown) => log.warn("a container that was told to stop could not be noted", { container: notice.containerId, error }));
      }
      else nudge(notice.kind === "connected" ? "Docker's events begin" : notice.what);
    }
    await waiting?.catch(() => undefined);
    await running;
    await learning;
  };

  return { sync, nudge, whose, run, status: () => status };
}

/** For the status: what runs beside every policy (R50). */
function unenforcedLine({ unenforced = [] }: DockerTruth): readonly string[] {
  if (unenforced.length === 0) return [];
  const named = unenforced.slice(0, mostNamed).map(({ name, why }) => `${name} (${why})`);
  return [`not enforced: ${named.join(", ")}${unenforced.length > mostNamed ? ` and ${unenforced.length - mostNamed} more` : ""}`];
}

function runningIn({ networks }: DockerTruth): readonly RunningContainer[] {
  const places = networks.flatMap(({ id: network, endpoints }) => endpoints.flatMap(({ container, running }) => (container && running ? [{ id: container.id, network }] : [])));
  return [...Map.groupBy(places, ({ id }) => id)].map(([id, all]) => ({ id, networks: all.map(({ network }) => network) }));
}
