// Whose an endpoint is, asked while its container starts: only with calls that do not wait for that start (R92).
import type { ContainerIdentity, EndpointId, EndpointRef, NetworkId } from "../engine/types.ts";
import type { DockerClient, ListedContainer } from "./client.ts";
import { identityOf, isStarting, isTheirs, withAliases } from "./identity.ts";
import type { Images } from "./images.ts";

export interface WhoseOptions {
  /** Without what inspects a container. */
  readonly docker: Pick<DockerClient, "network" | "containers">;
  readonly images: Images;
  /** What is known already, by the container's id. */
  readonly notesOf: (id: string) => readonly string[];
  /** By the container's and the network's id; undefined: not known yet. */
  readonly aliasesOf: (id: string, network: string) => readonly string[] | undefined;
  /** Aborts when a reading that begins now has taken too long. */
  readonly patience: () => AbortSignal;
}

/** @throws DockerAbsent, or the signal's reason. null: Docker knows no container there. */
export type Whose = (ref: EndpointRef, signal: AbortSignal) => Promise<ContainerIdentity | null>;

/** Beyond this many names a list of all containers is the shorter question. */
const mostNames = 64;

interface Question {
  readonly id: EndpointId;
  readonly signal: AbortSignal;
  readonly answer: PromiseWithResolvers<ContainerIdentity | null>;
}

/**
 * One reading answers all who ask about a network meanwhile: at most one runs and one waits. A running one may have read the
 * network before an asker's endpoint was in it, so it answers only those who came before it began.
 */
export function createWhose({ docker, images, notesOf, aliasesOf, patience }: WhoseOptions): Whose {
  const desks = new Map<NetworkId, Question[]>();

  const answer = async (network: NetworkId, questions: readonly Question[]): Promise<void> => {
    try {
      const owners = await ownersIn(docker, network, new Set(questions.map(({ id }) => id)), patience());
      for (const { id, signal, answer: { resolve, reject } } of questions) {
        const owner = owners.get(id);
        // Not awaited: an image that is slow to read holds up its own containers alone.
        if (owner) identityOf(owner, images, notesOf(owner.Id), signal).then((known) => resolve(withAliases(known, aliasesOf(owner.Id, network))), reject);
        else resolve(null);
      }
    } catch (error) {
      for (const question of questions) question.answer.reject(error);
    }
  };

  const serve = async (network: NetworkId, desk: Question[]): Promise<void> => {
    while (desk.length > 0) {
      const wanted = desk.splice(0).filter(({ signal }) => !signal.aborted);
      if (wanted.length > 0) await answer(network, wanted);
    }
    desks.delete(network);
  };

  return async ({ network, id }, signal) => {
    signal.throwIfAborted();
    const question: Question = { id, signal, answer: Promise.withResolvers() };
    const { promise, reject } = question.answer;
    const onAbort = (): void => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    const desk = desks.get(network);
    if (desk) {
      desk.push(question);
    } else {
      const opened = [question];
      desks.set(network, opened);
      void serve(network, opened);
    }
    try {
      return await promise;
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  };
}

async function ownersIn(
  docker: WhoseOptions["docker"], network: NetworkId, ids: ReadonlySet<EndpointId>, signal: AbortSignal,
): Promise<ReadonlyMap<EndpointId, ListedContainer>> {
  const told = await docker.network(network, signal);
  const wanted = Object.entries(told?.Containers ?? {}).filter(([, { EndpointID }]) => ids.has(EndpointID as EndpointId));
  if (wanted.length === 0) return new Map();
  const names = wanted.filter(([key]) => isStarting(key)).map(([, { Name }]) => `^/${Name.replaceAll(".", "\\.")}$`);
  const keys = wanted.filter(([key]) => !isStarting(key)).map(([key]) => key);
  const containers = await listed(docker, names, keys, signal);
  const owners = new Map<EndpointId, ListedContainer>();
  for (const [key, { EndpointID, Name }] of wanted) {
    const owner = containers.find((container) => isTheirs(container, key, Name));
    if (owner) owners.set(EndpointID as EndpointId, owner);
  }
  return owners;
}

/** Docker wants every kind of filter met, and here either is enough. */
async function listed(docker: WhoseOptions["docker"], name: readonly string[], id: readonly string[], signal: AbortSignal): Promise<readonly ListedContainer[]> {
  if (name.length + id.length > mostNames) return docker.containers({}, signal);
  const parts = await Promise.all([name.length > 0 ? docker.containers({ name }, signal) : [], id.length > 0 ? docker.containers({ id }, signal) : []]);
  return parts.flat();
}
