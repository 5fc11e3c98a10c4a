// Which CNI network made an interface, and with which addresses: what libcni wrote down when it had added a container.
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fieldOf, parsed, textOf } from "./json.ts";

/** One interface of one container on one network. */
export interface CniResult {
  readonly network: string;
  /** As the runtime calls it to CNI: `NAMESPACE-ID` by ctr and nerdctl, the sandbox's id by CRI. */
  readonly container: string;
  /** Names of devices on the host: the container's end of the cable among them. */
  readonly hostDevices: readonly string[];
  /** Inside the container. */
  readonly macs: readonly string[];
  /** `address/length`. */
  readonly addresses: readonly string[];
}

/** Where libcni keeps them unless told otherwise. */
export const cniResults = "/var/lib/cni/results";

/** libcni's cache of results ("cniCacheV1"), files `NETWORK-CONTAINER-INTERFACE`, those of these containers. Empty where there is none. */
export async function readCniResults(folder: string, containers: readonly string[]): Promise<readonly CniResult[]> {
  if (containers.length === 0) return [];
  const files = await readdir(folder).catch(() => []);
  const wanted = files.filter((file) => containers.some((container) => file.includes(`-${container}-`)));
  const results: CniResult[] = [];
  for (const file of wanted) {
    // It may be half written, or gone: the next look finds it.
    const result = decodeResult(await readFile(join(folder, file), "utf8").catch(() => ""));
    if (result !== undefined && containers.includes(result.container)) results.push(result);
  }
  return results;
}

/**
 * What was written of an interface. The host's end tells that it is this very one, not that of an earlier container of the same name:
 * from inside a container its name cannot be changed. Plugins that make no such end tell the MAC at least.
 */
export function resultOf(results: readonly CniResult[], containers: readonly string[], device: { readonly host: string; readonly mac: string }): CniResult | undefined {
  return results.find(({ hostDevices }) => hostDevices.includes(device.host))
    ?? results.find(({ hostDevices, container, macs }) => hostDevices.length === 0 && containers.includes(container) && macs.includes(device.mac));
}

export function decodeResult(text: string): CniResult | undefined {
  const file = parsed(text);
  const [kind, network, container, result] = ["kind", "networkName", "containerId", "result"].map((name) => fieldOf(file, name));
  const interfaces = fieldOf(result, "interfaces");
  if (kind !== "cniCacheV1" || typeof network !== "string" || typeof container !== "string" || !Array.isArray(interfaces)) return undefined;
  const [inside, outside] = [interfaces.filter((one) => textOf(one, "sandbox") !== ""), interfaces.filter((one) => textOf(one, "sandbox") === "")];
  const ips = fieldOf(result, "ips");
  return {
    network, container,
    hostDevices: outside.map((one) => textOf(one, "name")),
    macs: inside.map((one) => textOf(one, "mac").toLowerCase()).filter(Boolean),
    addresses: (Array.isArray(ips) ? ips : []).map((one) => textOf(one, "address")).filter(Boolean),
  };
}
