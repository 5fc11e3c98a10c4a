// Every call of Docker's NetworkDriver and IpamDriver: what it asks of the engine, and for how long.
import type { DockerCommands, Queries } from "../engine/types.ts";
import {
  decodeCreateEndpoint, decodeCreateNetwork, decodeEndpoint, decodeJoin, decodeNetwork, decodePool, decodePublishPorts, decodeReleaseAddress,
  decodeRequestAddress, decodeRequestPool, encodeAddress, encodeCreateEndpoint, encodeJoin, encodeOperInfo, encodePool,
} from "./codec.ts";
import type { Fields } from "./fields.ts";
import { parseBody } from "./fields.ts";

export interface Route {
  /** Milliseconds until the answer is an error. dockerd's client waits for ever, and holds the container's lock meanwhile. */
  readonly deadline: number;
  /** Under which key Docker looks for an error: the two subsystems differ. */
  readonly errorKey: "Err" | "Error";
  /** Whether it must wait until the agent knows its state. */
  readonly waits: boolean;
  /** The answer as plain JSON. */
  readonly handle: (body: string, signal: AbortSignal) => Promise<unknown>;
}

/** What Docker looks up errors under; a call of no subsystem, as Plugin.Activate, has the network driver's. */
export function errorKeyOf(path: string): "Err" | "Error" {
  return path.startsWith("/IpamDriver.") ? "Error" : "Err";
}

const second = 1000;
/** A hundred containers that stop at once wait for each other, and Docker does not ask again for what we refuse to take away. */
const removal = 30 * second;

/** No handler here may ask Docker anything: dockerd holds locks while it waits for us (R92). */
export function createRoutes(commands: DockerCommands, queries: Pick<Queries, "endpoints">): ReadonlyMap<string, Route> {
  const routes = new Map<string, Route>();
  const constant = (name: string, answer: unknown): void => {
    routes.set(`/${name}`, { deadline: second, errorKey: errorKeyOf(`/${name}`), waits: false, handle: () => Promise.resolve(answer) });
  };
  const route = <C, R>(
    name: string, deadline: number, decode: (fields: Fields) => C, work: (command: C, signal: AbortSignal) => Promise<R>,
    encode: (reply: R) => unknown = () => ({}),
  ): void => {
    const handle: Route["handle"] = async (body, signal) => encode(await work(decode(parseBody(body)), signal));
    routes.set(`/${name}`, { deadline, errorKey: errorKeyOf(`/${name}`), waits: true, handle });
  };

  constant("Plugin.Activate", { Implements: ["NetworkDriver", "IpamDriver"] });

  // dockerd refuses socket plugins for swarm networks, so the scope is local and the two swarm calls have nothing to do.
  constant("NetworkDriver.GetCapabilities", { Scope: "local", ConnectivityScope: "local" });
  constant("NetworkDriver.AllocateNetwork", { Options: {} });
  constant("NetworkDriver.FreeNetwork", {});
  constant("NetworkDriver.GwAllocCheck", { SkipIPv4: false, SkipIPv6: false });
  constant("NetworkDriver.DiscoverNew", {});
  constant("NetworkDriver.DiscoverDelete", {});
  route("NetworkDriver.CreateNetwork", 5 * second, decodeCreateNetwork, (command, signal) => commands.createNetwork(command, signal));
  route("NetworkDriver.DeleteNetwork", removal, decodeNetwork, (id, signal) => commands.deleteNetwork(id, signal));
  route(
    "NetworkDriver.CreateEndpoint", 5 * second, decodeCreateEndpoint, (command, signal) => commands.createEndpoint(command, signal),
    encodeCreateEndpoint,
  );
  route("NetworkDriver.DeleteEndpoint", removal, decodeEndpoint, (ref, signal) => commands.deleteEndpoint(ref, signal));
  route("NetworkDriver.EndpointOperInfo", second, decodeEndpoint, async (ref) => queries.endpoints().find(({ id }) => id === ref.id), encodeOperInfo);
  route("NetworkDriver.Join", 5 * second, decodeJoin, (command, signal) => commands.join(command, signal), encodeJoin);
  route("NetworkDriver.Leave", removal, decodeEndpoint, (ref, signal) => commands.leave(ref, signal));
  route("NetworkDriver.ProgramExternalConnectivity", 5 * second, decodePublishPorts, (command, signal) => commands.publishPorts(command, signal));
  route("NetworkDriver.RevokeExternalConnectivity", removal, decodeEndpoint, (ref, signal) => commands.revokePorts(ref, signal));

  constant("IpamDriver.GetCapabilities", { RequiresMACAddress: false, RequiresRequestReplay: false });
  constant("IpamDriver.GetDefaultAddressSpaces", { LocalDefaultAddressSpace: "hawserlocal", GlobalDefaultAddressSpace: "hawserglobal" });
  route("IpamDriver.RequestPool", 3 * second, decodeRequestPool, (command, signal) => commands.requestPool(command, signal), encodePool);
  route("IpamDriver.ReleasePool", removal, decodePool, (id, signal) => commands.releasePool(id, signal));
  route("IpamDriver.RequestAddress", 3 * second, decodeRequestAddress, (command, signal) => commands.requestAddress(command, signal), encodeAddress);
  route("IpamDriver.ReleaseAddress", removal, decodeReleaseAddress, (command, signal) => commands.releaseAddress(command, signal));
  return routes;
}
