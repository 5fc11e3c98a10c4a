// Where the clients of services on this node are: containers' network namespaces, each with the address by which it is known. Pure.
import { addressOf } from "../std/ip.ts";
import type { ClientsPlan, Endpoint, State } from "./types.ts";

/** `known`: whether services ask for their clients' addresses. */
export function serviceClients({ endpoints, networks }: Pick<State, "endpoints" | "networks">, known: boolean): ClientsPlan {
  // Docker's default route is by the first network, in order of names, that has a way to the world.
  const rank = ({ network }: Endpoint): number => (networks.get(network)?.internal === true ? 1 : 0);
  const nameOf = ({ network }: Endpoint): string => networks.get(network)?.name ?? network;
  const inside = [...endpoints.values()].filter(({ joined, sandboxKey }) => joined && sandboxKey !== null);
  const namespaces = [...Map.groupBy(inside, ({ sandboxKey }) => sandboxKey ?? "")].map(([sandbox, together]) => {
    const sorted = together.length === 1 ? together : together.toSorted((a, b) => rank(a) - rank(b) || (nameOf(a) < nameOf(b) ? -1 : 1));
    const first = (family: "ipv4" | "ipv6") => sorted.flatMap((endpoint) => endpoint[family] ?? []).map(addressOf)[0] ?? null;
    return { sandbox, ipv4: first("ipv4"), ipv6: first("ipv6") };
  });
  return { known, namespaces };
}

export function sameClients(a: ClientsPlan | null, b: ClientsPlan): boolean {
  return a !== null && a.known === b.known && a.namespaces.length === b.namespaces.length
    && a.namespaces.every((one, i) => {
      const other = b.namespaces[i];
      return one.sandbox === other?.sandbox && one.ipv4 === other.ipv4 && one.ipv6 === other.ipv6;
    });
}
