// Probes of backends by this node: whom the engine names is asked, and what was found goes back to it.
import type { Engine } from "../engine/engine.ts";
import type { PartStatus, ProbeTarget, Queries } from "../engine/types.ts";
import { silence } from "../health/ask.ts";
import { createHealthDoor } from "../health/door.ts";
import type { Target } from "../health/types.ts";
import { endText } from "../lb/fields.ts";
import type { Clock } from "../std/clock.ts";
import { parseIp } from "../std/ip.ts";
import type { Log } from "../std/log.ts";

export interface Health {
  /** Asks until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
  status(): PartStatus;
}

const mostShown = 5;

export function openHealth(engine: Pick<Engine, "commands" | "queries" | "onProbeTargets">, clock: Clock, log: Log): Health {
  /** By the id of the target that asks for all of them: services that ask a backend alike share one probe. */
  let asked: ReadonlyMap<string, readonly ProbeTarget[]> = new Map();
  /** Of those whose last answer was none, or a bad one. */
  const failing = new Map<string, string>();
  const door = createHealthDoor({
    clock, log,
    told: (results) => {
      const heard = results.flatMap(({ id, ok, why }) => {
        if (ok) failing.delete(id);
        else failing.set(id, why);
        return (asked.get(id) ?? []).map(({ service, backend, port }) => ({ service, backend, port, passed: ok, why }));
      });
      void engine.commands.healthHeard(heard);
    },
  });
  const follow = (): void => {
    asked = Map.groupBy(engine.queries.probeTargets(), idOf);
    for (const id of failing.keys()) if (!asked.has(id)) failing.delete(id);
    door.follow([...asked].flatMap(([id, [first]]) => (first === undefined ? [] : targetOf(id, first))));
  };
  return {
    run: async (signal) => {
      using _following = engine.onProbeTargets(follow);
      follow();
      await door.run(signal);
    },
    status: () => {
      const trouble = door.trouble();
      const names = [...failing].map(([id, why]) => `${nameOf(asked.get(id)?.[0])} (${why})`).toSorted();
      const more = names.length > mostShown ? `, and ${names.length - mostShown} more` : "";
      const detail = [
        ...(trouble === undefined ? [] : [trouble]),
        asked.size === 0 ? "nobody is to be asked" : `${asked.size} asked`,
        ...(names.length === 0 ? [] : [`not well: ${names.slice(0, mostShown).join(", ")}${more}`]),
        ...keptOut([...failing].flatMap(([id, why]) => (why.startsWith(silence) ? (asked.get(id)?.[0] ?? []) : [])), engine.queries),
      ].join("; ");
      return { part: "health", state: trouble === undefined ? "ok" : "degraded", detail };
    },
  };
}

/** Probes are packets of the host's, which a default that closes a container keeps out like any others. Of the first that are `silent`: all mostly are for one reason. */
export function keptOut(silent: readonly ProbeTarget[], { trace }: Pick<Queries, "trace">): readonly string[] {
  for (const { address, port } of silent.slice(0, mostShown)) {
    const at = endText({ address: parseIp(address), port });
    try {
      const { verdict, decidedBy } = trace("host", at);
      if (verdict === "deny") return [`policy keeps this host, which probes, from ${at} (${typeof decidedBy === "string" ? decidedBy : `${decidedBy.policy}: ${decidedBy.rule}`})`];
    } catch {
      // No container of Hawser's: policy is not asked.
    }
  }
  return [];
}

function targetOf(id: string, { address, port, health: { kind, path, interval, timeout } }: ProbeTarget): readonly Target[] {
  return kind === "none" ? [] : [{ id, address: parseIp(address), port, kind, path, interval, timeout }];
}

/** With the backend's own: what was on its way to a container is no word of the next one's that has its address. */
function idOf({ backend, address, port, health: { kind, path, interval, timeout } }: ProbeTarget): string {
  return JSON.stringify([backend, address, port, kind, path, interval, timeout]);
}

function nameOf(target: ProbeTarget | undefined): string {
  if (target === undefined) return "";
  const { service, address, port } = target;
  return `${service} ${endText({ address: parseIp(address), port })}`;
}
