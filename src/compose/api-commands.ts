// What the API may change: the engine's commands, what Docker has, and what stands in the way of files in the watched directories.
import type { ApiCommands } from "../api/server.ts";
import type { DockerDoor } from "../docker/door.ts";
import type { Engine } from "../engine/engine.ts";
import { HawserError } from "../std/errors.ts";
import { sweptOf } from "./sweep.ts";
import type { WatchedDirectory } from "./watched-directory.ts";

export interface Directories {
  readonly policies: Pick<WatchedDirectory, "read">;
  readonly services: Pick<WatchedDirectory, "read">;
}

/** `docker` undefined: there is none. */
export function apiCommands(engine: Pick<Engine, "commands" | "heal">, docker: Pick<DockerDoor, "sync"> | undefined, { policies, services }: Directories): ApiCommands {
  const { commands } = engine;
  return {
    reconcile: async (signal) => {
      if (docker === undefined) throw new HawserError("UNSUPPORTED", "docker.enabled is false, so there is nothing to reconcile with");
      return docker.sync("asked for", signal);
    },
    sweep: async (signal) => sweptOf((await engine.heal(signal)).removed),
    applyPolicy: (command, signal) => commands.applyPolicy(command, signal),
    deletePolicy: async (name, signal) => {
      await commands.deletePolicy(name, signal);
      makeWay(policies);
    },
    applyService: (command, signal) => commands.applyService(command, signal),
    deleteService: async (name, signal) => {
      await commands.deleteService(name, signal);
      makeWay(services);
    },
  };
}

/** What is said of a directory that lost all its files may be true no more, and a file that found its name or its address taken may have them now: no event tells of either. */
function makeWay(directory: Directories["policies"]): void {
  void directory.read();
}
