// The wires of a lab: namespaces, links, addresses and default routes, before anything runs there.
import { mkdirSync } from "node:fs";
import type { Names } from "./names.ts";
import { run, waitFor } from "./run.ts";

/** `one`: all hosts on the LAN. `each`: every host on a subnet of its own, with the router between them. */
export type Subnets = "one" | "each";

export interface Machine {
  readonly name: string;
  readonly ipv4: string;
  readonly ipv6: string;
  readonly gateway4: string;
  readonly gateway6: string;
  /** The namespace at the other end of its cable, where the link has the machine's name. */
  readonly far: "sw" | "rt";
  readonly mtu: number;
}

const hostNames = ["a", "b", "c", "d", "e", "f", "g", "h"];
export const mostHosts = hostNames.length;

/** The Docker hosts. `mtus` are those of their cables; without one 1500. */
export function hostMachines(count: number, subnets: Subnets, mtus: readonly number[] = []): readonly Machine[] {
  return hostNames.slice(0, count).map((name, index) => {
    const mtu = mtus[index] ?? 1500;
    return subnets === "one" ? onLan(name, 11 + index, mtu) : {
      name, ipv4: `10.99.${index + 1}.11`, ipv6: `fd99:0:0:${index + 1}::11`, gateway4: `10.99.${index + 1}.1`, gateway6: `fd99:0:0:${index + 1}::1`, far: "rt", mtu,
    };
  });
}

/** etcd's members: 10.99.0.21 and on. */
export function etcdMachines(count: number): readonly Machine[] {
  return Array.from({ length: count }, (_, index) => onLan(`e${index + 1}`, 21 + index, 1500));
}

export const neighbourMachine: Machine = onLan("nb", 100, 1500);

function onLan(name: string, last: number, mtu: number): Machine {
  return { name, ipv4: `10.99.0.${last}`, ipv6: `fd99::${last}`, gateway4: "10.99.0.1", gateway6: "fd99::1", far: "sw", mtu };
}

/** Makes the namespaces of all machines, of the switch, the router and the outside, and what joins them. */
export async function makeLan(names: Names, machines: readonly Machine[]): Promise<void> {
  mkdirSync(names.cgroup("places"), { recursive: true });
  for (const name of ["sw", "rt", "out", ...machines.map((each) => each.name)]) {
    await run(["ip", "netns", "add", names.netns(name)]);
    // Duplicate address detection would keep addresses tentative for a second; nobody here has a duplicate.
    await inside(names, name, ["sh", "-c", `
echo 0 > /proc/sys/net/ipv6/conf/all/accept_dad
echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad
echo 0 > /proc/sys/net/ipv6/conf/default/accept_ra
ip link set lo up`]);
  }
  // A router keeps its addresses when a cable is pulled.
  await inside(names, "rt", ["sh", "-c", `
echo 1 > /proc/sys/net/ipv4/ip_forward
echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
echo 1 > /proc/sys/net/ipv6/conf/all/keep_addr_on_down
echo 1 > /proc/sys/net/ipv6/conf/default/keep_addr_on_down`]);
  await inside(names, "sw", ["ip", "link", "add", "lan", "up", "mtu", "9000", "type", "bridge", "stp_state", "0", "mcast_snooping", "0"]);
  const router: Machine = { name: "rt", ipv4: "10.99.0.1", ipv6: "fd99::1", gateway4: "", gateway6: "", far: "sw", mtu: 1500 };
  for (const machine of [...machines, router]) {
    const { name, ipv4, ipv6, gateway4, gateway6, far } = machine;
    // Both ends are made where they belong: no link of the lab is ever in the machine's own namespace.
    await run(["ip", "link", "add", "eth0", "netns", names.netns(name), "type", "veth", "peer", "name", name, "netns", names.netns(far)]);
    if (far === "sw") await inside(names, "sw", ["ip", "link", "set", "dev", name, "master", "lan", "up"]);
    else await address(names, "rt", name, `${gateway4}/24`, `${gateway6}/64`);
    await setMtu(names, machine, machine.mtu);
    await address(names, name, "eth0", `${ipv4}/24`, `${ipv6}/64`);
  }
  await run(["ip", "link", "add", "eth1", "netns", names.netns("rt"), "type", "veth", "peer", "name", "eth0", "netns", names.netns("out")]);
  await address(names, "rt", "eth1", "203.0.113.1/24", "2001:db8:113::1/64");
  await address(names, "out", "eth0", "203.0.113.10/24", "2001:db8:113::10/64");
  for (const { name, gateway4, gateway6 } of machines) await defaultRoute(names, name, gateway4, gateway6);
  await defaultRoute(names, "out", "203.0.113.1", "2001:db8:113::1");
  await waitFor("the LAN", async () =>
    (await inside(names, "nb", ["ping", "-c1", "-W1", "203.0.113.10"], true)) && inside(names, "nb", ["ping", "-6", "-c1", "-W1", "2001:db8:113::10"], true));
}

/** Of a machine's cable, at both ends. */
export async function setMtu(names: Names, { name, far }: Machine, bytes: number): Promise<void> {
  await inside(names, far, ["ip", "link", "set", "dev", name, "mtu", String(bytes)]);
  await inside(names, name, ["ip", "link", "set", "dev", "eth0", "mtu", String(bytes)]);
}

/** Pulls a machine's cable, or puts it in again: the machine sees its carrier go. */
export async function setCable(names: Names, { name, far }: Machine, state: "up" | "down"): Promise<void> {
  await inside(names, far, ["ip", "link", "set", "dev", name, state]);
}

async function inside(names: Names, name: string, command: readonly string[], mayFail = false): Promise<boolean> {
  return (await run(["nsenter", `--net=${names.netnsPath(name)}`, "--", ...command], { mayFail })).code === 0;
}

async function address(names: Names, name: string, device: string, ipv4: string, ipv6: string): Promise<void> {
  await inside(names, name, ["sh", "-c", `ip address add ${ipv4} dev ${device} && ip address add ${ipv6} dev ${device} && ip link set dev ${device} up`]);
}

async function defaultRoute(names: Names, name: string, ipv4: string, ipv6: string): Promise<void> {
  await inside(names, name, ["sh", "-c", `ip route add default via ${ipv4} && ip -6 route add default via ${ipv6}`]);
}
