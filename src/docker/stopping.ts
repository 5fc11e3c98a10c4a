// Whether a signal that was sent to a container tells it to stop: by default SIGTERM, else what `--stop-signal` or its image says.
import { constants } from "node:os";
import type { DockerClient } from "./client.ts";

/** The first of the kernel's real-time signals that the C library leaves to programs. */
const firstRealTime = 34;

/** `signal` as Docker's events have it: a number. A container that Docker does not tell of in time is taken to stop at SIGTERM. */
export async function isStopping(docker: Pick<DockerClient, "inspectContainer">, containerId: string, signal: string, aborted?: AbortSignal): Promise<boolean> {
  const sent = numberOf(signal);
  // Nothing is left to drain: whoever was killed is gone before anybody can ask.
  if (sent === undefined || sent === constants.signals.SIGKILL) return false;
  const inspected = await docker.inspectContainer(containerId, aborted).catch(() => undefined);
  const own = (inspected?.Config as { readonly StopSignal?: string } | undefined)?.StopSignal;
  return sent === (own === undefined || own === "" ? constants.signals.SIGTERM : numberOf(own));
}

/** `15`, `SIGTERM`, `TERM`, `SIGRTMIN+3`. */
function numberOf(signal: string): number | undefined {
  if (/^\d+$/.test(signal)) return Number(signal);
  const name = signal.toUpperCase().replace(/^(?:SIG)?/, "SIG");
  const realTime = /^SIGRTMIN(?:\+(\d+))?$/.exec(name);
  if (realTime !== null) return firstRealTime + Number(realTime[1] ?? 0);
  return (constants.signals as Readonly<Record<string, number>>)[name];
}
