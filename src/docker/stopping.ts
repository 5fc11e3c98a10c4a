// Whether a signal that was sent to a container tells it to stop: by default SIGTERM, else what `--stop-signal` or its image says.
import { constants } from "node:os";

/** The first of the kernel's real-time signals that the C library leaves to programs. */
const firstRealTime = 34;

/** `sent` as Docker's events have it, a number; `own`: the container's stop signal, `SIGQUIT`; undefined: it has none. */
export function isStopping(sent: string, own: string | undefined): boolean {
  const number = numberOf(sent);
  // Nothing is left to drain: whoever was killed is gone before anybody can ask.
  if (number === undefined || number === constants.signals.SIGKILL) return false;
  return number === (own === undefined || own === "" ? constants.signals.SIGTERM : numberOf(own));
}

/** `15`, `SIGTERM`, `TERM`, `SIGRTMIN+3`. */
function numberOf(signal: string): number | undefined {
  if (/^\d+$/.test(signal)) return Number(signal);
  const name = signal.toUpperCase().replace(/^(?:SIG)?/, "SIG");
  const realTime = /^SIGRTMIN(?:\+(\d+))?$/.exec(name);
  if (realTime !== null) return firstRealTime + Number(realTime[1] ?? 0);
  return (constants.signals as Readonly<Record<string, number>>)[name];
}
