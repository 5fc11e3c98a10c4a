// What the tests of the shared store over etcd have in common: a store, a server and a gate that end with the test, and waiting for facts.
import type { ExecutionContext } from "ava";
import { systemClock } from "../../../src/std/clock.ts";
import { createLog } from "../../../src/std/log.ts";
import { openEtcd } from "../../../src/store/etcd.ts";
import type { EtcdOptions } from "../../../src/store/etcd.ts";
import type { SharedStore } from "../../../src/store/shared.ts";
import { EtcdServer } from "./etcd-server.ts";
import type { ServerOptions } from "./etcd-server.ts";
import { Gate } from "./gate.ts";
import type { follow } from "./shared-compliance.ts";

/** So that a machine that is busy with other things fails no test: what is about time says its own. */
export const patient = { callTime: 30_000, silence: 30_000 };

export function opened(t: ExecutionContext, endpoints: readonly string[], options: Partial<EtcdOptions> = {}): SharedStore {
  const store = openEtcd({ endpoints, prefix: "/hawser/", ttl: 60, ...patient, clock: systemClock, log: createLog(() => undefined, () => 0), ...options });
  t.teardown(() => store[Symbol.asyncDispose]());
  return store;
}

export async function served(t: ExecutionContext, options?: ServerOptions): Promise<EtcdServer> {
  const server = await EtcdServer.started(options);
  t.teardown(() => server.remove());
  return server;
}

export async function gated(t: ExecutionContext, server: EtcdServer): Promise<Gate> {
  const gate = await Gate.opened(server.endpoint);
  t.teardown(() => gate.remove());
  return gate;
}

/** Reads on until the view is so. */
export async function until(watched: ReturnType<typeof follow>, holds: (view: ReadonlyMap<string, string>) => boolean): Promise<void> {
  while (!holds(watched.view)) await watched.next();
}

/** Asks again and again until the answer is so. */
export async function seen<T>(ask: () => Promise<T>, holds: (answer: T) => boolean): Promise<T> {
  for (;;) {
    const answer = await ask();
    if (holds(answer)) return answer;
  }
}
