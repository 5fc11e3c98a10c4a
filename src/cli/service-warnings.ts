// What of services that were applied is probably not meant as it is written.
import type { ApiClient, WrittenDocument } from "../api/client.ts";
import { HawserError } from "../std/errors.ts";
import { carriedBy } from "./carried-by.ts";

/** `web.yaml:4:5: …`; none of what only a newer agent understands. */
export async function serviceWarnings(documents: readonly WrittenDocument[], agent: Pick<ApiClient, "identities" | "networks" | "endpoints">): Promise<readonly string[]> {
  const [{ readServices }, { warningsOf }] = await Promise.all([import("../lb/read.ts"), import("../lb/warnings.ts")]);
  try {
    const services = readServices(documents);
    const [identities, networks, endpoints] = await Promise.all([agent.identities(), agent.networks(), agent.endpoints(true)]);
    const containers = endpoints.map((endpoint) => {
      const { labels: { network, project, service, own } } = carriedBy(endpoint, identities);
      return { name: endpoint.name, network, project, service, labels: own };
    });
    return warningsOf(services, { containers, networks: networks.map(({ name }) => name) });
  } catch (error) {
    if (error instanceof HawserError) return [];
    throw error;
  }
}
