// Where clients of services are: one entry for each container, by the address that it has towards the world.
import test from "ava";
import { sameClients, serviceClients } from "../../../src/network/service-clients.ts";
import type { Endpoint, Network, State } from "../../../src/network/types.ts";

const endpoint = (id: string, network: string, sandboxKey: string | null, ipv4: string | null, ipv6: string | null = null): Endpoint =>
  ({ id, network, sandboxKey, ipv4, ipv6, joined: sandboxKey !== null }) as unknown as Endpoint;
const network = (id: string, name: string | null, internal = false): Network => ({ id, name, internal }) as unknown as Network;

function state(...endpoints: readonly Endpoint[]): Pick<State, "endpoints" | "networks"> {
  const networks = [network("n1", "web"), network("n2", "back"), network("n3", "a-secret", true)];
  return { endpoints: new Map(endpoints.map((one) => [one.id, one])), networks: new Map(networks.map((one) => [one.id, one])) };
}

test("a container is one namespace; on several networks its address is the first named one's that leads to the world", (t) => {
  const known = serviceClients(state(
    endpoint("e1", "n1", "/run/a", "10.44.1.2/24", "fd44:1::2/64"), endpoint("e2", "n3", "/run/a", "10.44.3.2/24"), endpoint("e3", "n2", "/run/a", "10.44.2.2/24"),
    endpoint("e4", "n3", "/run/b", "10.44.3.3/24"), endpoint("e5", "n1", null, "10.44.1.9/24"),
  ), true);
  t.deepEqual(known, {
    known: true,
    namespaces: [{ sandbox: "/run/a", ipv4: "10.44.2.2", ipv6: "fd44:1::2" }, { sandbox: "/run/b", ipv4: "10.44.3.3", ipv6: null }],
  } as unknown as typeof known);
});

test("what differs in nothing is not told again", (t) => {
  const one = serviceClients(state(endpoint("e1", "n1", "/run/a", "10.44.1.2/24")), false);
  t.true(sameClients(one, serviceClients(state(endpoint("e1", "n1", "/run/a", "10.44.1.2/24")), false)));
  t.false(sameClients(one, serviceClients(state(endpoint("e1", "n1", "/run/a", "10.44.1.3/24")), false)));
  t.false(sameClients(one, serviceClients(state(endpoint("e1", "n1", "/run/b", "10.44.1.2/24")), false)));
  t.false(sameClients(one, serviceClients(state(), false)));
  t.false(sameClients(one, { ...one, known: true }));
  t.false(sameClients(null, one));
});
