// What Docker says exists: our networks, their endpoints and whose they are, and the subnets that our IPAM driver feeds.
import type { NetworkInspectInfo } from "dockerode";
import type { ContainerIdentity, CreateNetwork, DockerTruth, EndpointId, EndpointTruth, NetworkId, NetworkTruth, PoolTruth } from "../engine/types.ts";
import { DockerAbsent } from "./client.ts";
import type { DockerClient, ListedContainer } from "./client.ts";
import { identityOf, isStarting, isTheirs, withAliases } from "./identity.ts";
import type { Images } from "./images.ts";
import { inLanes } from "./lanes.ts";
import { notesIn, unenforcedIn } from "./limits.ts";

const driver = "hawser";
const atOnce = 4;

export interface TruthOptions {
  /** Without what inspects a container. */
  readonly docker: Pick<DockerClient, "networks" | "network" | "containers">;
  readonly images: Images;
  /** What else is known already, by the container's id. */
  readonly notesOf: (id: string) => readonly string[];
  /** By the container's and the network's id; undefined: not known yet. */
  readonly aliasesOf: (id: string, network: string) => readonly string[] | undefined;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/**
 * Networks are read before containers: a container that starts in between is in neither list's way, while the other order
 * would show an endpoint whose container is not listed yet.
 */
export async function readTruth({ docker, images, notesOf, aliasesOf, now }: TruthOptions, signal?: AbortSignal): Promise<DockerTruth> {
  const askedAt = now();
  const listed = await docker.networks(signal);
  const ours = listed.filter((network) => (isOurs(network.Driver) || isFedByUs(network)) && !network.ConfigOnly);
  const detailed = (await inLanes(ours, atOnce, ({ Id }) => docker.network(Id, signal))).filter((network) => network !== undefined);
  const containers = await docker.containers({}, signal);
  const limits = notesIn(containers, listed.map(({ Id, Name, Driver }) => ({ id: Id, name: Name, driver: Driver, ours: isOurs(Driver) })));
  // null, where Docker is too slow to tell its image, keeps what is known of the container: one image must not stop the reading.
  const known = (container: ListedContainer, network: string): Promise<ContainerIdentity | null> =>
    identityOf(container, images, [...(limits.get(container.Id) ?? []), ...notesOf(container.Id)], signal).then((one) => withAliases(one, aliasesOf(container.Id, network))).catch((error: unknown) => {
      if (error instanceof DockerAbsent) return null;
      throw error;
    });
  return {
    askedAt,
    networks: await Promise.all(detailed.filter((network) => isOurs(network.Driver)).map((network) => networkOf(network, containers, known))),
    pools: detailed.filter(isFedByUs).flatMap(poolsOf),
    unenforced: unenforcedIn(containers),
  };
}

async function networkOf(
  network: NetworkInspectInfo, containers: readonly ListedContainer[], known: (container: ListedContainer, network: string) => Promise<ContainerIdentity | null>,
): Promise<NetworkTruth> {
  const endpoints = await inLanes(Object.entries(network.Containers ?? {}), atOnce, async ([key, { EndpointID, Name, ...has }]): Promise<EndpointTruth> => {
    const container = containers.find((each) => isTheirs(each, key, Name));
    const endpoint = { id: EndpointID as EndpointId, container: container ? await known(container, network.Id) : null };
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
