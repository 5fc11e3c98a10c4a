// What Docker says exists: our networks, their endpoints and whose they are, and the subnets that our IPAM driver feeds.
import type { ContainerInfo, NetworkInspectInfo } from "dockerode";
import type { ContainerIdentity, DockerTruth, EndpointId, NetworkId } from "../engine/types.ts";
import type { DockerClient } from "./client.ts";

const driver = "hawser";

/**
 * Networks are read before containers: a container that starts in between is in neither list's way, while the other order
 * would show an endpoint whose container is not listed yet.
 */
export async function readTruth(docker: DockerClient, signal?: AbortSignal): Promise<DockerTruth> {
  const listed = await docker.networks(signal);
  const ours = listed.filter((network) => isOurs(network.Driver));
  const detailed: NetworkInspectInfo[] = [];
  for (const { Id } of ours) {
    const network = await docker.network(Id, signal);
    if (network !== undefined) detailed.push(network);
  }
  const containers = detailed.some((network) => Object.keys(network.Containers ?? {}).length > 0) ? await docker.containers(signal) : [];
  return { networks: detailed.map((network) => networkOf(network, containers)), pools: poolsOf(listed) };
}

function networkOf(network: NetworkInspectInfo, containers: readonly ContainerInfo[]): DockerTruth["networks"][number] {
  const endpoints = Object.entries(network.Containers ?? {}).map(([key, { EndpointID, Name }]) => ({
    id: EndpointID as EndpointId,
    container: identityOf(key, Name, containers),
  }));
  return { id: network.Id as NetworkId, name: network.Name, endpoints };
}

/** While a container starts, the key is `ep-` and the endpoint's id, and only the name tells whose it is (facts 0.1). */
function identityOf(key: string, name: string, containers: readonly ContainerInfo[]): ContainerIdentity | null {
  const starting = key.startsWith("ep-");
  const container = containers.find((candidate) => (starting ? candidate.Names.includes(`/${name}`) : candidate.Id === key));
  if (container === undefined) return null;
  return { id: container.Id, name: nameOf(container) ?? name, labels: container.Labels ?? {} };
}

/** Links add names such as `/web/db`; the container's own has one slash. */
function nameOf({ Names }: ContainerInfo): string | undefined {
  return Names.find((name) => name.lastIndexOf("/") === 0)?.slice(1);
}

function poolsOf(networks: readonly NetworkInspectInfo[]): readonly string[] {
  return networks
    .filter((network) => isOurs(network.IPAM?.Driver ?? ""))
    .flatMap((network) => (network.IPAM?.Config ?? []).map((config) => config.Subnet))
    .filter((subnet) => typeof subnet === "string");
}

/** Docker shows a managed plugin with its tag. */
function isOurs(name: string): boolean {
  return name === driver || name.startsWith(`${driver}:`);
}
