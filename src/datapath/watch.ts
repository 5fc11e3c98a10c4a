// The kernel's notices of changed links, addresses and routes, made into runs of syncHost and calls to listeners.
import type { Netlink } from "../kernel/types.ts";
import type { Log } from "../std/log.ts";
import type { HostFacts } from "./types.ts";

export interface HostWatch extends AsyncDisposable {
  listen(listener: (facts: HostFacts) => void): Disposable;
}

export function watchHost(netlink: Netlink, sync: () => Promise<HostFacts>, log: Log): HostWatch {
  const listeners = new Set<(facts: HostFacts) => void>();
  let last: Promise<void> = Promise.resolve();
  const onChange = (): void => {
    last = sync().then(
      (facts) => listeners.forEach((listener) => listener(facts)),
      (error: unknown) => log.error("the host's devices could not be read again", { error }),
    );
  };
  const watch = netlink.watch(onChange);
  return {
    listen: (listener) => {
      listeners.add(listener);
      return { [Symbol.dispose]: () => void listeners.delete(listener) };
    },
    // A run that has begun still uses the handles that close after us.
    [Symbol.asyncDispose]: async () => {
      watch[Symbol.dispose]();
      await last;
    },
  };
}
