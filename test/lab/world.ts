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
//
// With `cluster` the hosts are one installation, and etcd's members e1, e2 and e3 (10.99.0.21 to .23) may stand on the LAN as well.
// With `subnets: "each"` host a is 10.99.1.11 on a cable of its own to the router (10.99.1.1), b is 10.99.2.11 (10.99.2.1), and so on.
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { etcd, type Etcd } from "./etcd.ts";
import { host, makeHost, startDocker, type Host } from "./host.ts";
import { buildImage } from "./image.ts";
import { alone, member, type ClusterOptions, type Settings } from "./installation.ts";
import { etcdMachines, hostMachines, makeLan, mostHosts, neighbourMachine, type Machine, type Subnets } from "./lan.ts";
import { driver, inCgroup, names as namesOf, type Names } from "./names.ts";
import { place, type Place } from "./place.ts";
import { leaks, remove } from "./remove.ts";

export interface LabOptions {
  /** Docker hosts; default 1. */
  readonly hosts?: number;
  /** Start Hawser's agent on each; default true. */
  readonly agent?: boolean;
  /** Up to 8 small letters and digits; default random. */
  readonly id?: string;
  /** The process without which `scripts/lab sweep` removes the world; default this one, 0 for none. */
  readonly owner?: number;
  /** The hosts are one installation; without it each is alone. */
  readonly cluster?: ClusterOptions;
  /** Default one. */
  readonly subnets?: Subnets;
  /** Of the hosts' uplinks, in their order; default 1500. */
  readonly mtus?: readonly number[];
}

export interface World extends AsyncDisposable {
  readonly id: string;
  readonly directory: string;
  readonly hosts: readonly Host[];
  /** A machine on the LAN, without Docker. */
  readonly neighbour: Place;
  readonly router: Place;
  /** A machine beyond the router. */
  readonly outside: Place;
  /** null: the hosts share none. */
  readonly etcd: Etcd | null;
  readonly cluster: ClusterOptions | null;
  /** Removes everything. @throws Error naming what is left. */
  down(): Promise<void>;
}

/** What another process needs to open the world. */
interface Plan {
  readonly hosts: number;
  readonly owner: number;
  readonly cluster: ClusterOptions | null;
  readonly subnets: Subnets;
  readonly mtus: readonly number[];
}

/** Builds a world. What fails half-way removes what it had made. */
export async function lab(options: LabOptions = {}): Promise<World> {
  const id = options.id ?? randomBytes(2).toString("hex");
  const names = namesOf(id);
  const count = options.hosts ?? 1;
  if (count < 0 || count > mostHosts) throw new Error(`a lab has 0 to ${mostHosts} hosts`);
  if (leaks(id).length > 0) throw new Error(`lab ${id} is there already; \`scripts/lab down ${id}\` removes it`);
  const plan: Plan = {
    hosts: count, owner: options.owner ?? process.pid, cluster: options.cluster ?? null, subnets: options.subnets ?? "one", mtus: options.mtus ?? [],
  };
  try {
    mkdirSync(names.directory, { recursive: true });
    writeFileSync(`${names.directory}/world.json`, JSON.stringify(plan));
    const hosts = hostsOf(plan);
    await makeLan(names, [...hosts, ...membersOf(plan), neighbourMachine]);
    await Promise.all(hosts.map((machine) => makeHost({ names, machine })));
    const world = openLab(id);
    const tar = count > 0 ? await buildImage(names.directory) : "";
    await Promise.all([world.etcd?.start(), ...world.hosts.map((each) => startDocker(each, tar))]);
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
  const plan = JSON.parse(readFileSync(file, "utf8")) as Plan;
  const down = async (): Promise<void> => {
    await remove(id);
    const left = leaks(id);
    if (left.length > 0) throw new Error(`lab ${id} left behind:\n${left.join("\n")}`);
  };
  const machines = hostsOf(plan);
  const placeOf = ({ name, ipv4, ipv6 }: Machine): Place => plainPlace(names, name, ipv4, ipv6);
  const router = plainPlace(names, "rt", "10.99.0.1", "fd99::1");
  const members = membersOf(plan);
  const server = members.length === 0 ? null : etcd({ names, machines: members, placeOf, client: router });
  const settingsOf = (machine: Machine, index: number): Settings =>
    plan.cluster === null ? alone(index) : member(plan.cluster, machines, machine, server?.endpoints(plan.cluster.underlay ?? 4) ?? []);
  return {
    id,
    directory: names.directory,
    hosts: machines.map((machine, index) => host({ names, machine, settings: settingsOf(machine, index) })),
    neighbour: placeOf(neighbourMachine),
    router,
    outside: plainPlace(names, "out", "203.0.113.10", "2001:db8:113::10"),
    etcd: server,
    cluster: plan.cluster,
    down,
    [Symbol.asyncDispose]: down,
  };
}

const hostsOf = ({ hosts, subnets, mtus }: Plan): readonly Machine[] => hostMachines(hosts, subnets, mtus);
const membersOf = ({ cluster }: Plan): readonly Machine[] => (cluster === null || cluster.store === "peers" ? [] : etcdMachines(3));

function plainPlace(names: Names, name: string, ipv4: string, ipv6: string): Place {
  return place(name, ipv4, ipv6, ["nsenter", `--net=${names.netnsPath(name)}`, "--", ...inCgroup(names.cgroup("places"))]);
}
