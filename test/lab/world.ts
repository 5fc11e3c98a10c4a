// A whole lab: Docker hosts on one LAN, a neighbour beside them, a router, and an outside beyond it.
//
//   host a        host b …      neighbour
//  10.99.0.11    10.99.0.12    10.99.0.100
//      │             │             │
//  ────┴─────────────┴──────┬──────┴──── LAN 10.99.0.0/24, fd99::/64 (a bridge in a namespace of its own)
//                           │ 10.99.0.1
//                        router
//                           │ 203.0.113.1
//  ─────────────────────────┴──────┬──── 203.0.113.0/24, 2001:db8:113::/64
//                               outside
//                            203.0.113.10
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { host, makeHost, startDocker, type Host } from "./host.ts";
import { buildImage } from "./image.ts";
import { driver, inCgroup, names as namesOf, type Names } from "./names.ts";
import { place, type Place } from "./place.ts";
import { leaks, remove } from "./remove.ts";
import { run, waitFor } from "./run.ts";

export interface LabOptions {
  /** Docker hosts; default 1. */
  readonly hosts?: number;
  /** Start Hawser's agent on each; default true. */
  readonly agent?: boolean;
  /** Up to 8 small letters and digits; default random. */
  readonly id?: string;
  /** The process without which `scripts/lab sweep` removes the world; default this one, 0 for none. */
  readonly owner?: number;
}

export interface World extends AsyncDisposable {
  readonly id: string;
  readonly directory: string;
  readonly hosts: readonly Host[];
  /** A machine on the hosts' LAN, without Docker. */
  readonly neighbour: Place;
  readonly router: Place;
  /** A machine beyond the router. */
  readonly outside: Place;
  /** Removes everything. @throws Error naming what is left. */
  down(): Promise<void>;
}

const hostNames = ["a", "b", "c", "d", "e", "f", "g", "h"];

/** Builds a world. What fails half-way removes what it had made. */
export async function lab(options: LabOptions = {}): Promise<World> {
  const id = options.id ?? randomBytes(2).toString("hex");
  const names = namesOf(id);
  const count = options.hosts ?? 1;
  if (count < 0 || count > hostNames.length) throw new Error(`a lab has 0 to ${hostNames.length} hosts`);
  if (leaks(id).length > 0) throw new Error(`lab ${id} is there already; \`scripts/lab down ${id}\` removes it`);
  try {
    mkdirSync(names.directory, { recursive: true });
    writeFileSync(`${names.directory}/world.json`, JSON.stringify({ hosts: count, owner: options.owner ?? process.pid }));
    await makeLan(names, hostNames.slice(0, count));
    await Promise.all(hostNames.slice(0, count).map((name) => makeHost({ names, name })));
    const world = openLab(id);
    if (count > 0) {
      const tar = await buildImage(names.directory);
      await Promise.all(world.hosts.map((each) => startDocker(each, tar)));
    }
    if (options.agent !== false && driver === "hawser") await Promise.all(world.hosts.map((each) => each.agent.start()));
    return world;
  } catch (error) {
    const log = `${names.directory}/a/agent.log`;
    if (existsSync(log) && process.env["HAWSER_LAB_VERBOSE"] !== undefined) process.stderr.write(readFileSync(log));
    await remove(id);
    throw error;
  }
}

/** A world that another process has built. */
export function openLab(id: string): World {
  const names = namesOf(id);
  const file = `${names.directory}/world.json`;
  if (!existsSync(file)) throw new Error(`there is no lab ${id}; \`scripts/lab up\` makes one`);
  const { hosts } = JSON.parse(readFileSync(file, "utf8")) as { readonly hosts: number };
  const down = async (): Promise<void> => {
    await remove(id);
    const left = leaks(id);
    if (left.length > 0) throw new Error(`lab ${id} left behind:\n${left.join("\n")}`);
  };
  return {
    id,
    directory: names.directory,
    hosts: hostNames.slice(0, hosts).map((name, index) =>
      host({ names, name, index, ipv4: `10.99.0.${11 + index}`, ipv6: `fd99::${11 + index}` })),
    neighbour: plainPlace(names, "nb", "10.99.0.100", "fd99::100"),
    router: plainPlace(names, "rt", "10.99.0.1", "fd99::1"),
    outside: plainPlace(names, "out", "203.0.113.10", "2001:db8:113::10"),
    down,
    [Symbol.asyncDispose]: down,
  };
}

function plainPlace(names: Names, name: string, ipv4: string, ipv6: string): Place {
  return place(name, ipv4, ipv6, ["nsenter", `--net=${names.netnsPath(name)}`, "--", ...inCgroup(names.cgroup("places"))]);
}

async function makeLan(names: Names, hosts: readonly string[]): Promise<void> {
  mkdirSync(names.cgroup("places"), { recursive: true });
  const machines = [
    ...hosts.map((name, index) => ({ name, ipv4: `10.99.0.${11 + index}`, ipv6: `fd99::${11 + index}` })),
    { name: "nb", ipv4: "10.99.0.100", ipv6: "fd99::100" },
  ];
  for (const name of ["sw", "rt", "out", ...machines.map((each) => each.name)]) {
    await run(["ip", "netns", "add", names.netns(name)]);
    // Duplicate address detection would keep addresses tentative for a second; nobody here has a duplicate.
    await inside(names, name, ["sh", "-c", `
echo 0 > /proc/sys/net/ipv6/conf/all/accept_dad
echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad
echo 0 > /proc/sys/net/ipv6/conf/default/accept_ra
ip link set lo up`]);
  }
  await inside(names, "sw", ["ip", "link", "add", "lan", "up", "type", "bridge", "stp_state", "0", "mcast_snooping", "0"]);
  for (const { name, ipv4, ipv6 } of [...machines, { name: "rt", ipv4: "10.99.0.1", ipv6: "fd99::1" }]) {
    // Both ends are made where they belong: no link of the lab is ever in the machine's own namespace.
    await run(["ip", "link", "add", "eth0", "netns", names.netns(name), "type", "veth", "peer", "name", name, "netns", names.netns("sw")]);
    await inside(names, "sw", ["ip", "link", "set", "dev", name, "master", "lan", "up"]);
    await address(names, name, "eth0", `${ipv4}/24`, `${ipv6}/64`);
  }
  await run(["ip", "link", "add", "eth1", "netns", names.netns("rt"), "type", "veth", "peer", "name", "eth0", "netns", names.netns("out")]);
  await address(names, "rt", "eth1", "203.0.113.1/24", "2001:db8:113::1/64");
  await address(names, "out", "eth0", "203.0.113.10/24", "2001:db8:113::10/64");
  await inside(names, "rt", ["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding"]);
  for (const { name } of machines) await defaultRoute(names, name, "10.99.0.1", "fd99::1");
  await defaultRoute(names, "out", "203.0.113.1", "2001:db8:113::1");
  await waitFor("the LAN", async () =>
    (await inside(names, "nb", ["ping", "-c1", "-W1", "203.0.113.10"], true)) && inside(names, "nb", ["ping", "-6", "-c1", "-W1", "2001:db8:113::10"], true));
}

async function inside(names: Names, name: string, command: readonly string[], mayFail = false): Promise<boolean> {
  return (await run(["nsenter", `--net=${names.netnsPath(name)}`, "--", ...command], { mayFail })).code === 0;
}

async function address(names: Names, name: string, device: string, ipv4: string, ipv6: string): Promise<void> {
  await inside(names, name, ["sh", "-c", `ip address add ${ipv4} dev ${device} && ip address add ${ipv6} dev ${device} && ip link set ${device} up`]);
}

async function defaultRoute(names: Names, name: string, ipv4: string, ipv6: string): Promise<void> {
  await inside(names, name, ["sh", "-c", `ip route add default via ${ipv4} && ip -6 route add default via ${ipv6}`]);
}
