// What systemd gives and wants: a socket opened before us, word when we are ready, and a sign of life.
import type { Kernel } from "../kernel/types.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** SD_LISTEN_FDS_START in sd-daemon.h. */
const firstDescriptor = 3;

/** The plugin socket that `hawser.socket` opened; undefined without socket activation. */
export function inheritedSocket(env: Environment, pid: number): number | undefined {
  if (env["LISTEN_PID"] !== String(pid) || !(Number(env["LISTEN_FDS"]) >= 1)) return undefined;
  return firstDescriptor;
}

/** Milliseconds between two signs of life: half of what systemd allows (sd_watchdog_enabled(3)); undefined: none wanted. */
export function watchdogPause(env: Environment, pid: number): number | undefined {
  const allowed = Number(env["WATCHDOG_USEC"]);
  if (!(allowed > 0) || (env["WATCHDOG_PID"] !== undefined && env["WATCHDOG_PID"] !== String(pid))) return undefined;
  return Math.max(1, Math.floor(allowed / 2000));
}

/** Sends READY and then signs of life from the event loop, so that a hung loop is a dead agent (R114). Disposing says STOPPING. */
export function tellSystemd(kernel: Pick<Kernel, "sdNotify">, env: Environment, pid: number): Disposable {
  kernel.sdNotify("READY=1");
  const pause = watchdogPause(env, pid);
  const timer = pause === undefined ? undefined : setInterval(() => kernel.sdNotify("WATCHDOG=1"), pause);
  return {
    [Symbol.dispose]: () => {
      clearInterval(timer);
      kernel.sdNotify("STOPPING=1");
    },
  };
}
