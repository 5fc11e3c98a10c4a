// A listed container as its identity: id, name, labels, and which of these are its own.
import type { ContainerIdentity } from "../engine/types.ts";
import type { ListedContainer } from "./client.ts";
import { ownOf } from "./images.ts";
import type { Images } from "./images.ts";

/** While a container starts, its endpoint's key in a network is this and the endpoint's id, and only the name tells whose it is. */
const startingKey = "ep-";

export function isStarting(key: string): boolean {
  return key.startsWith(startingKey);
}

/** `key` and `name` as `GET /networks/ID` has them. */
export function isTheirs(container: ListedContainer, key: string, name: string): boolean {
  return isStarting(key) ? container.Names.includes(`/${name}`) : container.Id === key;
}

/** Links add names such as `/web/db`; the container's own has one slash. */
export function nameOf({ Id, Names }: ListedContainer): string {
  return Names.find((name) => name.lastIndexOf("/") === 0)?.slice(1) ?? Id.slice(0, 12);
}

/** On one network; undefined: not known. */
export function withAliases(container: ContainerIdentity, aliases: readonly string[] | undefined): ContainerIdentity {
  return aliases === undefined ? container : { ...container, aliases };
}

/** Where the image's labels cannot be told, none is surely the container's own: a label that may be forged must not open anything (R88). */
export async function identityOf(container: ListedContainer, images: Images, notes: readonly string[], signal?: AbortSignal): Promise<ContainerIdentity> {
  const labels = container.Labels ?? {};
  const image = await images.labelsOf(container, signal);
  const several = Object.keys(container.NetworkSettings?.Networks ?? {}).length > 1;
  const known = { id: container.Id, name: nameOf(container), labels, ...(several ? { several } : {}) };
  if ("labels" in image) return { ...known, own: ownOf(labels, image.labels), notes };
  return { ...known, own: {}, doubtful: labels, notes: [`${image.unknown}, so which labels are the container's own cannot be told: none counts for policy that opens, all for policy that closes`, ...notes] };
}
