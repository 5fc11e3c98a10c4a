// What no list tells: whether a container may leave its namespace (R50). Asked behind everything else, because an inspection may wait.
import type { DockerClient } from "./client.ts";
import { inLanes } from "./lanes.ts";

export interface Privileges {
  /** What is known so far. */
  notesOf(id: string): readonly string[];
  /** Asks for those that are not known, running ones only, and forgets all others. True: there is something new to say. */
  learn(running: readonly string[], signal?: AbortSignal): Promise<boolean>;
}

const atOnce = 2;

const telling: Readonly<Record<string, string>> = {
  ALL: "has every capability: it may leave its namespace",
  SYS_ADMIN: "has SYS_ADMIN: it may leave its namespace",
  NET_ADMIN: "has NET_ADMIN: it may change its own addresses, routes and devices",
};

/** Neither can change while the container exists. */
export function createPrivileges(docker: Pick<DockerClient, "inspectContainer">): Privileges {
  const known = new Map<string, readonly string[]>();
  return {
    notesOf: (id) => known.get(id) ?? [],
    learn: async (running, signal) => {
      const wanted = new Set(running);
      for (const id of known.keys()) if (!wanted.has(id)) known.delete(id);
      const news = await inLanes([...wanted].filter((id) => !known.has(id)), atOnce, async (id) => {
        // One that does not answer in time is asked again at the next round.
        const host = (await docker.inspectContainer(id, signal).catch(() => undefined))?.HostConfig;
        if (!host) return false;
        const notes = host.Privileged ? ["privileged: it may leave its namespace"] : capabilityNotes(host.CapAdd as readonly string[] | null | undefined);
        known.set(id, notes);
        return notes.length > 0;
      });
      return news.includes(true);
    },
  };
}

/** Docker takes `NET_ADMIN`, `CAP_NET_ADMIN` and either in small letters. */
function capabilityNotes(added: readonly string[] | null | undefined): readonly string[] {
  return (added ?? []).flatMap((name) => telling[name.toUpperCase().replace(/^CAP_/, "")] ?? []).toSorted();
}
