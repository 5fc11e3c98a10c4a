// The door to Docker: whenever something may have changed there, reads what exists and lets the engine reconcile.
import type { Commands, PartStatus, ReconcileReport } from "../engine/types.ts";
import type { Clock } from "../std/clock.ts";
import { messageOf } from "../std/errors.ts";
import type { Log } from "../std/log.ts";
import type { DockerClient } from "./client.ts";
import { watchDocker } from "./events.ts";
import { readTruth } from "./truth.ts";

export interface DockerDoorOptions {
  readonly docker: DockerClient;
  readonly commands: Pick<Commands, "reconcile">;
  readonly clock: Clock;
  readonly log: Log;
}

export interface DockerDoor {
  /** Reads and reconciles now, or joins a run that has not read yet. Rejects when Docker does not answer. */
  sync(reason: string, signal?: AbortSignal): Promise<ReconcileReport>;
  /** Asks for a sync soon; many requests make one. Never fails. */
  nudge(reason: string): void;
  /** Follows Docker's events until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
  status(): PartStatus;
}

/** How long requests are gathered, in milliseconds: an identity is known some tens of milliseconds after Join. */
const gathering = 50;

export function createDockerDoor({ docker, commands, clock, log }: DockerDoorOptions): DockerDoor {
  let status: PartStatus = { part: "docker", state: "degraded", detail: "not asked yet" };
  let running: Promise<unknown> = Promise.resolve();
  let waiting: Promise<void> | undefined;

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
      const truth = await readTruth(docker, clock.now(), signal);
      if (status.state !== "ok") say("ok", await docker.version(signal));
      const report = await commands.reconcile(truth, signal);
      if (report.removedEndpoints.length + report.removedNetworks.length + report.identified + report.restored.length > 0) {
        log.info("reconciled with Docker", { reason, ...report });
      }
      for (const why of report.refused) sayRefused(why);
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

  const run = async (signal: AbortSignal): Promise<void> => {
    for await (const notice of watchDocker(docker, clock, signal)) {
      if (notice.kind === "lost") say("degraded", notice.why);
      else nudge(notice.kind === "connected" ? "Docker's events begin" : notice.what);
    }
    await waiting?.catch(() => undefined);
    await running;
  };

  return { sync, nudge, run, status: () => status };
}
