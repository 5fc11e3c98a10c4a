// Every check, in the order in which a person would look.
import { messageOf } from "../std/errors.ts";
import { dockerNetworks, firewalld, ipsec, networkd, networkManager, otherPrograms, serviceAddresses, ufw } from "./conflicts.ts";
import { agent, build, docker, node, plugin } from "./docker.ts";
import { bpffs, btf, cgroup2, jit, kernelBuild, kernelVersion, lockdown, privileges, tcHooks } from "./kernel.ts";
import { nameServers } from "./names.ts";
import { forwarding, localPorts, mtu, nodeAddress, pool, reversePath, uplinks } from "./network.ts";
import { lookAround } from "./scene.ts";
import { type Check, type Finding, type Host, type Installation, type Settings, warn } from "./types.ts";
import { xdp } from "./xdp.ts";

export const checks: Readonly<Record<string, Check>> = {
  privileges, kernelVersion, kernelBuild, jit, btf, tcHooks, bpffs, cgroup2, lockdown,
  node, build,
  uplinks, mtu, nodeAddress, pool, localPorts, forwarding, reversePath,
  docker, plugin, agent, nameServers, dockerNetworks,
  ufw, firewalld, ipsec, networkManager, networkd, otherPrograms, xdp,
  serviceAddresses,
};

/** Changes nothing and never throws: a check that breaks is itself a finding. */
export async function examine(settings: Settings, installation: Installation, host: Host): Promise<readonly Finding[]> {
  const scene = await lookAround(host, settings, installation);
  const results = await Promise.all(Object.entries(checks).map(([name, check]) =>
    check(scene).catch((error: unknown) => [warn(name, `the check itself failed: ${messageOf(error)}`, "please report it")])));
  return results.flat();
}
