// What Docker says exists: our networks, their endpoints and whose they are, and the subnets that our IPAM driver feeds.
import type { ContainerInfo, NetworkInspectInfo } from "dockerode";
import type { ContainerIdentity, CreateNetwork, DockerTruth, EndpointId, EndpointTruth, NetworkId, NetworkTruth, PoolTruth } from "../engine/types.ts";
import type { DockerClient } from "./client.ts";

const driver = "hawser";

/**
 * Networks are read before containers: a container that starts in between is in neither list's way, while the other order
 * would show an endpoint whose container is not listed yet.
 */
export async function readTruth(docker: DockerClient, askedAt: number, signal?: AbortSignal): Promise<DockerTruth> {
  const listed = await docker.networks(signal);
  const ours = listed.filter((network) => (isOurs(network.Driver) || isFedByUs(network)) && !network.ConfigOnly);
  const detailed: NetworkInspectInfo[] = [];
  for (const { Id } of ours) {
    const network = await docker.network(Id, signal);
    if (network !== undefined) detailed.push(network);
  }
  const containers = detailed.some((network) => Object.keys(network.Containers ?? {}).length > 0) ? await docker.containers(signal) : [];
  return {
    askedAt,
    networks: detailed.filter((network) => isOurs(network.Driver)).map((network) => networkOf(network, containers)),
    pools: detailed.filter(isFedByUs).flatMap(poolsOf),
  };
}

function networkOf(network: NetworkInspectInfo, containers: readonly ContainerInfo[]): NetworkTruth {
  const endpoints = Object.entries(network.Containers ?? {}).map(([key, { EndpointID, Name, ...has }]): EndpointTruth => {
    const endpoint = { id: EndpointID as EndpointId, container: identityOf(key, Name, containers) };
    if (isStarting(key) || !has.MacAddress) return endpoint;
    return { ...endpoint, running: { ipv4: has.IPv4Address || null, ipv6: has.IPv6Address || null, mac: has.MacAddress } };
  });
  const made = madeBy(network);
  return { id: network.Id as NetworkId, name: network.Name, endpoints, ...(made && { made }) };
}

/** The request that Docker sent us once, as far as it still tells: driver options, subnets, and the two flags. */
function madeBy(network: NetworkInspectInfo): CreateNetwork | undefined {
  const subnets = configsOf(network).flatMap(({ Subnet, Gateway, AuxiliaryAddresses }) =>
    Subnet ? [{ pool: Subnet, gateway: Gateway || null, aux: AuxiliaryAddresses ?? {} }] : []);
  if (subnets.length === 0) return undefined;
  const [ipv4, ipv6] = [subnets.filter(({ pool }) => !pool.includes(":")), subnets.filter(({ pool }) => pool.includes(":"))];
  return {
    id: network.Id as NetworkId, ipv4, ipv6, internal: network.Internal === true,
    enableIpv4: ipv4.length > 0, enableIpv6: network.EnableIPv6 === true && ipv6.length > 0, options: network.Options ?? {},
  };
}

/** As Docker's API has it (`IPAM.Config`); dockerode's type knows less of it. */
interface SubnetConfig {
  readonly Subnet?: string;
  readonly IPRange?: string;
  readonly Gateway?: string;
  readonly AuxiliaryAddresses?: Readonly<Record<string, string>>;
}

function configsOf(network: NetworkInspectInfo): readonly SubnetConfig[] {
  return (network.IPAM?.Config ?? []) as readonly SubnetConfig[];
}

function isStarting(key: string): boolean {
  return key.startsWith("ep-");
}

/** While a container starts, the key is `ep-` and the endpoint's id, and only the name tells whose it is (facts 0.1). */
function identityOf(key: string, name: string, containers: readonly ContainerInfo[]): ContainerIdentity | null {
  const container = containers.find((candidate) => (isStarting(key) ? candidate.Names.includes(`/${name}`) : candidate.Id === key));
  if (container === undefined) return null;
  return { id: container.Id, name: nameOf(container) ?? name, labels: container.Labels ?? {} };
}

/** Links add names such as `/web/db`; the container's own has one slash. */
function nameOf({ Names }: ContainerInfo): string | undefined {
  return Names.find((name) => name.lastIndexOf("/") === 0)?.slice(1);
}

function poolsOf(network: NetworkInspectInfo): readonly PoolTruth[] {
  const addresses = Object.values(network.Containers ?? {}).flatMap(({ IPv4Address, IPv6Address }) => [IPv4Address, IPv6Address]).filter(Boolean);
  return configsOf(network).flatMap(({ Subnet, IPRange, Gateway, AuxiliaryAddresses }) => Subnet ? [{
    prefix: Subnet, range: IPRange || null, gateway: Gateway || null, aux: Object.values(AuxiliaryAddresses ?? {}),
    addresses: addresses.filter((address) => address.includes(":") === Subnet.includes(":")),
  }] : []);
}

function isFedByUs(network: NetworkInspectInfo): boolean {
  return isOurs(network.IPAM?.Driver ?? "");
}

/** Docker shows a managed plugin with its tag. */
function isOurs(name: string): boolean {
  return name === driver || name.startsWith(`${driver}:`);
}
