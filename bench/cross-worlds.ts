// What is compared between two hosts: a container on each, joined by plain routing (as it is, and with what Docker adds to every container
// on a network of the user's), by Docker's overlay driver in Swarm mode, and by Hawser.
//
//  client ── host a ── LAN (a bridge) ── host b ── server      each in a lab of its own, so that none meets another's rules
import { allReady } from "../test/lab/cluster.ts";
import type { Host } from "../test/lab/host.ts";
import { inCgroup, names as namesOf } from "../test/lab/names.ts";
import { place } from "../test/lab/place.ts";
import type { Place } from "../test/lab/place.ts";
import { run } from "../test/lab/run.ts";
import { lab } from "../test/lab/world.ts";
import type { LabOptions, World } from "../test/lab/world.ts";

export const ways = ["plain", "resolver", "docker", "overlay", "device", "native"] as const;
export type Way = (typeof ways)[number];

export const described: Readonly<Record<Way, string>> = {
  plain: "namespaces, veth and routes alone",
  resolver: "plain routing with Docker's resolver rules in the containers' namespaces",
  docker: "Docker's overlay driver (Swarm)",
  overlay: "Hawser, VXLAN",
  device: "Hawser, VXLAN by the kernel's device",
  native: "Hawser, native routing",
};

export interface Pair {
  readonly way: Way;
  /** Their `ipv4` is what the other end reaches. */
  readonly client: Place;
  readonly server: Place;
}

const subnetOfDocker = "10.98.0.0/24";

/** As `iptables-save` shows them in a container on a network of the user's: whatever the driver, they make the kernel track every flow there. */
const resolverRules = `iptables-restore <<'END'
*nat
:DOCKER_OUTPUT - [0:0]
:DOCKER_POSTROUTING - [0:0]
-A OUTPUT -d 127.0.0.11/32 -j DOCKER_OUTPUT
-A POSTROUTING -d 127.0.0.11/32 -j DOCKER_POSTROUTING
-A DOCKER_OUTPUT -d 127.0.0.11/32 -p tcp -m tcp --dport 53 -j DNAT --to-destination 127.0.0.11:38139
-A DOCKER_OUTPUT -d 127.0.0.11/32 -p udp -m udp --dport 53 -j DNAT --to-destination 127.0.0.11:47416
-A DOCKER_POSTROUTING -s 127.0.0.11/32 -p tcp -m tcp --sport 38139 -j SNAT --to-source :53
-A DOCKER_POSTROUTING -s 127.0.0.11/32 -p udp -m udp --sport 47416 -j SNAT --to-source :53
COMMIT
END`;

/** The two ends, connected as far as whoever made the network says so: the first packets may still be lost. */
export async function makePair(way: Way, stack: AsyncDisposableStack): Promise<Pair> {
  const world = stack.use(await lab(labOf(way)));
  // Between the hosts is a wire, which would not show the frames on it to iptables.
  const wire = place("sw", "", "", ["nsenter", `--net=${namesOf(world.id).netnsPath("sw")}`, "--"]);
  await wire.sh("for family in ip ip6 arp; do sysctl -qw net.bridge.bridge-nf-call-${family}tables=0; done");
  switch (way) {
    case "plain":
    case "resolver": return plainPair(world, way);
    case "docker": return dockerPair(world);
    case "overlay":
    case "device":
    case "native": return hawserPair(world, way);
  }
}

function labOf(way: Way): LabOptions {
  switch (way) {
    case "plain":
    case "resolver": return { hosts: 0 };
    case "docker": return { hosts: 2, agent: false };
    case "overlay":
    // By routes a packet brings no network with it, and nodes that know only one another's slices keep such strangers apart.
    case "device":
    case "native": return { hosts: 2, cluster: { store: "etcd", mode: way === "native" ? way : "overlay", direct: way === "overlay", encapsulation: "vxlan" } };
  }
}

/** The neighbour and the router are the two machines on the LAN that have no Docker, and so no rules nor flows to track. */
async function plainPair(world: World, way: "plain" | "resolver"): Promise<Pair> {
  const names = namesOf(world.id);
  const [client, server] = [
    await plainContainer(world.neighbour, "10.45.1", "10.45.2", world.router.ipv4),
    await plainContainer(world.router, "10.45.2", "10.45.1", world.neighbour.ipv4),
  ];
  if (way === "resolver") for (const each of [client, server]) await each.sh(resolverRules);
  return { way, client, server };

  async function plainContainer(machine: Place, subnet: string, others: string, hop: string): Promise<Place> {
    const name = `c${machine.name}`;
    const within = ["nsenter", `--net=${names.netnsPath(name)}`, "--", ...inCgroup(names.cgroup("places"))];
    const container = place(name, `${subnet}.2`, "", within);
    await run(["ip", "netns", "add", names.netns(name)]);
    await run(["ip", "link", "add", "eth0", "netns", names.netns(name), "type", "veth", "peer", "name", "container", "netns", names.netns(machine.name)]);
    await machine.sh(`ip address add ${subnet}.1/24 dev container && ip link set container up && ip route add ${others}.0/24 via ${hop} && echo 1 > /proc/sys/net/ipv4/ip_forward`);
    await container.sh(`ip link set lo up && ip address add ${subnet}.2/24 dev eth0 && ip link set eth0 up && ip route add default via ${subnet}.1`);
    return container;
  }
}

async function dockerPair(world: World): Promise<Pair> {
  const [a, b] = bothOf(world);
  await a.docker("swarm", "init", "--advertise-addr", a.ipv4, "--listen-addr", `${a.ipv4}:2377`);
  const token = await a.docker("swarm", "join-token", "-q", "worker");
  await b.docker("swarm", "join", "--advertise-addr", b.ipv4, "--listen-addr", `${b.ipv4}:2377`, "--token", token, `${a.ipv4}:2377`);
  await a.docker("network", "create", "-d", "overlay", "--attachable", "--subnet", subnetOfDocker, "bench");
  return { way: "docker", client: await containerOn(a, "client"), server: await containerOn(b, "server") };
}

async function hawserPair(world: World, way: "overlay" | "device" | "native"): Promise<Pair> {
  const [a, b] = bothOf(world);
  await allReady(world.hosts);
  for (const each of [a, b]) await each.network("bench");
  return { way, client: await containerOn(a, "client"), server: await containerOn(b, "server") };
}

async function containerOn(on: Host, name: string): Promise<Place> {
  await on.container(name, ["--network", "bench"]);
  const address = await on.docker("inspect", "-f", "{{.NetworkSettings.Networks.bench.IPAddress}}", name);
  return { ...(await on.inside(name)), ipv4: address };
}

function bothOf({ hosts: [a, b] }: World): readonly [Host, Host] {
  if (a === undefined || b === undefined) throw new Error("the lab lacks a host");
  return [a, b];
}
