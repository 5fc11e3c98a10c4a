// What no list tells: whether a container may leave its namespace (R50), its further names, and the signal that stops it. Asked behind everything else, because an inspection may wait.
import type { ContainerInspectInfo } from "dockerode";
import type { DockerClient } from "./client.ts";
import { inLanes } from "./lanes.ts";

export interface Privileges {
  /** What is known so far. */
  notesOf(id: string): readonly string[];
  /** Further names on that network, sorted; undefined: not known yet. */
  aliasesOf(id: string, network: string): readonly string[] | undefined;
  /** As `--stop-signal` or its image says it; undefined: neither does, or it is not known yet. */
  stopSignalOf(id: string): string | undefined;
  /** Asks for those that are not known, running ones only, and forgets all others. True: there is something new to say. */
  learn(running: readonly RunningContainer[], signal?: AbortSignal): Promise<boolean>;
}

export interface RunningContainer {
  readonly id: string;
  /** Ids of those networks of ours that it is on. */
  readonly networks: readonly string[];
}

interface Known {
  readonly stopSignal: string | undefined;
  readonly notes: readonly string[];
  /** By the network's id. */
  readonly aliases: ReadonlyMap<string, readonly string[]>;
  /** Those that were asked about: connected to another one, it may have names there. */
  readonly networks: ReadonlySet<string>;
}

const atOnce = 2;

const telling: Readonly<Record<string, string>> = {
  ALL: "has every capability: it may leave its namespace",
  SYS_ADMIN: "has SYS_ADMIN: it may leave its namespace",
  NET_ADMIN: "has NET_ADMIN: it may change its own addresses, routes and devices",
};

/** Privileges cannot change while the container exists, and names not while it stays on the network. */
export function createPrivileges(docker: Pick<DockerClient, "inspectContainer">): Privileges {
  const known = new Map<string, Known>();
  return {
    notesOf: (id) => known.get(id)?.notes ?? [],
    stopSignalOf: (id) => known.get(id)?.stopSignal,
    aliasesOf: (id, network) => {
      const found = known.get(id);
      return found?.networks.has(network) === true ? (found.aliases.get(network) ?? []) : undefined;
    },
    learn: async (running, signal) => {
      const wanted = new Set(running.map(({ id }) => id));
      for (const id of known.keys()) if (!wanted.has(id)) known.delete(id);
      const unknown = running.filter(({ id, networks }) => networks.some((network) => known.get(id)?.networks.has(network) !== true));
      const news = await inLanes(unknown, atOnce, async ({ id, networks }) => {
        // One that does not answer in time is asked again at the next round.
        const inspected = await docker.inspectContainer(id, signal).catch(() => undefined);
        const host = inspected?.HostConfig;
        if (!inspected || !host) return false;
        const before = known.get(id);
        const notes = host.Privileged ? ["privileged: it may leave its namespace"] : capabilityNotes(host.CapAdd as readonly string[] | null | undefined);
        const aliases = aliasesIn(inspected, id);
        // dockerode's type does not know it.
        const { StopSignal: stopSignal } = (inspected.Config ?? {}) as { readonly StopSignal?: string };
        known.set(id, { stopSignal, notes, aliases, networks: new Set([...networks, ...aliases.keys()]) });
        return before === undefined ? notes.length > 0 || aliases.size > 0 : [...aliases].some(([network, names]) => names.join() !== before.aliases.get(network)?.join());
      });
      return news.includes(true);
    },
  };
}

/** Without the beginning of its id, which Docker lists among them and everybody knows. */
function aliasesIn({ NetworkSettings: settings }: ContainerInspectInfo, id: string): ReadonlyMap<string, readonly string[]> {
  // An engine between two states lists networks without details.
  const networks = Object.values((settings?.Networks ?? {}) as Readonly<Record<string, { readonly NetworkID?: string; readonly Aliases?: readonly string[] | null } | null>>);
  return new Map(networks.flatMap((network) => {
    const names = [...new Set(network?.Aliases ?? [])].filter((name) => name !== "" && !id.startsWith(name)).toSorted();
    return network?.NetworkID === undefined || names.length === 0 ? [] : [[network.NetworkID, names] as const];
  }));
}

/** Docker takes `NET_ADMIN`, `CAP_NET_ADMIN` and either in small letters. */
function capabilityNotes(added: readonly string[] | null | undefined): readonly string[] {
  return (added ?? []).flatMap((name) => telling[name.toUpperCase().replace(/^CAP_/, "")] ?? []).toSorted();
}
