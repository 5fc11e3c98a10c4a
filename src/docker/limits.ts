// What of a container no policy reaches, or who else speaks with its identity (R50), as far as lists tell.
import type { Unenforced } from "../engine/types.ts";
import type { ListedContainer } from "./client.ts";
import { nameOf } from "./identity.ts";

/** A Docker network, of whatever driver. */
export interface ListedNetwork {
  readonly id: string;
  readonly name: string;
  readonly driver: string;
  readonly ours: boolean;
}

const hostMode = "host";
const sharedMode = "container:";
/** Docker's network of those that have none. */
const noDriver = "null";

/** By the container's id, for those that have any. */
export function notesIn(containers: readonly ListedContainer[], networks: readonly ListedNetwork[]): ReadonlyMap<string, readonly string[]> {
  const notes = new Map<string, string[]>();
  const add = (id: string, note: string): void => void notes.set(id, [...(notes.get(id) ?? []), note]);
  for (const container of containers) {
    for (const network of otherNetworksOf(container, networks)) {
      add(container.Id, `also attached to network ${network.name} (driver ${network.driver}), which Hawser does not enforce`);
    }
    const owner = namespaceOwner(container, containers);
    if (owner && owner !== container && isRunning(container)) add(owner.Id, `container ${nameOf(container)} shares this network namespace and identity`);
  }
  return new Map([...notes].map(([id, lines]) => [id, lines.toSorted()]));
}

/** A container on no network of Hawser's is nobody's concern here, unless it may speak with everybody's addresses. */
export function unenforcedIn(containers: readonly ListedContainer[]): readonly Unenforced[] {
  return containers.filter(isRunning).flatMap((container): readonly Unenforced[] => {
    const owner = namespaceOwner(container, containers);
    if (owner === undefined || modeOf(owner) !== hostMode) return [];
    const why = owner === container ? "it is on the host's own network" : `it shares the network of ${nameOf(owner)}, which is the host's own`;
    return [{ name: nameOf(container), why }];
  }).toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

function otherNetworksOf({ NetworkSettings }: ListedContainer, networks: readonly ListedNetwork[]): readonly ListedNetwork[] {
  return Object.entries(NetworkSettings?.Networks ?? {}).flatMap(([name, { NetworkID }]) => {
    // A container that has not run yet has no network's id.
    const network = networks.find((each) => (NetworkID ? each.id === NetworkID : each.name === name));
    return network && !network.ours && network.driver !== noDriver ? [network] : [];
  });
}

/** The container whose namespace it runs in, through any number of others; undefined when that one is gone. */
function namespaceOwner(container: ListedContainer, containers: readonly ListedContainer[]): ListedContainer | undefined {
  let owner: ListedContainer | undefined = container;
  for (let hops = 0; owner !== undefined && modeOf(owner).startsWith(sharedMode); hops++) {
    if (hops > containers.length) return undefined;
    const wanted: string = modeOf(owner).slice(sharedMode.length);
    owner = containers.find((each) => each.Id === wanted || each.Names.includes(`/${wanted}`));
  }
  return owner;
}

function modeOf({ HostConfig }: ListedContainer): string {
  return HostConfig?.NetworkMode ?? "";
}

function isRunning({ State }: ListedContainer): boolean {
  return State === "running" || State === "paused";
}
