// What stands between a client and nginx in bench/lb-connections.ts: each way on a machine of its own, all in labs that stand at once.
//
//   outside (wrk) ── router ── LAN ── machine: the way ── nginx in a namespace behind it
//                                      or with Hawser ▸ another node ── nginx in a container there, which answers the client itself
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { parse, stringify } from "yaml";
import { allReady } from "../test/lab/cluster.ts";
import type { Host } from "../test/lab/host.ts";
import { inCgroup, names as namesOf, root } from "../test/lab/names.ts";
import { place, type Place } from "../test/lab/place.ts";
import { run, waitFor } from "../test/lab/run.ts";
import { lab, type World } from "../test/lab/world.ts";

export interface Way {
  readonly name: string;
  readonly client: Place;
  readonly url: string;
  /** nginx's log: the address of each request's client, a line each. */
  readonly log: string;
  /** Whether the server sees the client's own address. */
  readonly keepsClient: boolean;
}

export type Acceleration = "off" | "native" | "generic";

/** Of Hawser's services: for each kind of attachment a node, whose service leads to a container there and one that leads to one on another node. */
export async function hawserWays(stack: AsyncDisposableStack, accelerations: readonly Acceleration[]): Promise<readonly Way[]> {
  const world = stack.use(await lab({ hosts: Math.max(2, accelerations.length), agent: false, cluster: { store: "etcd" } }));
  const wire = await onlyWires(world);
  await Promise.all(world.hosts.map(async (host, i) => {
    if (accelerations[i] === "native") await wire.run(["ip", "link", "set", "dev", host.name, "xdpdrv", "obj", await compilePass(world), "sec", "xdp"]);
    const settings = parse(readFileSync(host.configuration, "utf8")) as Record<string, unknown>;
    writeFileSync(host.configuration, stringify({ ...settings, loadBalancer: { acceleration: accelerations[i] ?? "off" } }));
    await host.agent.start();
  }));
  await allReady(world.hosts);
  await Promise.all(world.hosts.map((host) => host.network("shop")));
  const logs = new Map<Host, string>();
  for (const host of world.hosts) {
    await host.container("web", ["--network", "shop", "--label", `on=${host.name}`]);
    logs.set(host, await startNginx(stack, world, `web-${host.name}`, await host.inside("web")));
  }
  const ways: { readonly name: string; readonly at: Host; readonly on: Host }[] = accelerations.flatMap((acceleration, i) => {
    const [at, other] = [world.hosts[i], world.hosts[(i + 1) % world.hosts.length]];
    if (at === undefined || other === undefined) throw new Error("the lab lacks a host");
    return [{ name: `Hawser (${shownAs[acceleration]}), container here`, at, on: at }, { name: `Hawser (${shownAs[acceleration]}), container on another node`, at, on: other }];
  });
  const made: Way[] = [];
  for (const [i, { name, at, on }] of ways.entries()) {
    const address = `198.18.0.${i + 1}`;
    const file = `${world.directory}/way${i}.json`;
    writeFileSync(file, JSON.stringify({ service: `way${i}`, frontends: [`${address}:80`], backends: [{ select: { network: "shop", label: `on=${on.name}` }, port: 80 }], health: { kind: "none" } }));
    await at.hawser(["service", "apply", file]);
    await world.router.run(["ip", "route", "replace", address, "via", at.ipv4]);
    const url = `http://${address}/`;
    await waitFor(`${name} to answer`, async () => (await world.outside.run(["curl", "-sf", "-m1", "-o/dev/null", url], { mayFail: true })).code === 0);
    made.push({ name, client: world.outside, url, log: logs.get(on) ?? "", keepsClient: true });
  }
  await Promise.all(accelerations.map((acceleration, i) => attachedAs(world.hosts[i], acceleration)));
  return made;
}

const shownAs: Readonly<Record<Acceleration, string>> = { off: "tc", native: "native XDP", generic: "generic XDP" };

/** @throws Error when the uplink carries another kind of program than it should */
async function attachedAs(host: Host | undefined, acceleration: Acceleration): Promise<void> {
  const expected = { off: "", native: "xdp ", generic: "xdpgeneric " }[acceleration];
  const shown = (await host?.sh("ip -o link show eth0"))?.match(/ (xdp(?:generic)?) /)?.[0].trimStart() ?? "";
  if (shown !== expected) throw new Error(`${host?.name}'s uplink has ${shown === "" ? "no XDP program" : shown}, and should have ${expected === "" ? "none" : expected}`);
}

/** What else is used: a route alone, DNAT by nftables and by iptables, HAProxy, and a port that Docker publishes. */
export async function otherWays(stack: AsyncDisposableStack): Promise<readonly Way[]> {
  const world = stack.use(await lab({ hosts: 1, agent: false }));
  await onlyWires(world);
  const [docker] = world.hosts;
  if (docker === undefined) throw new Error("the lab lacks a host");
  await docker.container("web", ["-p", "80:80"]);
  const published = await startNginx(stack, world, "docker", await docker.inside("web"));
  const made: Way[] = [];
  for (const [i, { name, rules, keepsClient = true }] of others.entries()) {
    const machine = await plainMachine(world, `m${i}`, `10.99.0.${50 + i}`);
    const behind = await namespaceBehind(world, machine, `10.45.${i}`);
    await rules(machine, behind, stack, world);
    const log = await startNginx(stack, world, machine.name, behind);
    const direct = name === "routed, no balancer";
    if (direct) await world.router.run(["ip", "route", "add", `${behind.ipv4}/32`, "via", machine.ipv4]);
    made.push({ name, client: world.outside, url: `http://${direct ? behind.ipv4 : machine.ipv4}/`, log, keepsClient });
  }
  return [...made, { name: "Docker's published port", client: world.outside, url: `http://${docker.ipv4}/`, log: published, keepsClient: true }];
}

interface Other {
  readonly name: string;
  readonly rules: (machine: Place, behind: Place, stack: AsyncDisposableStack, world: World) => Promise<unknown>;
  readonly keepsClient?: boolean;
}

const others: readonly Other[] = [
  { name: "routed, no balancer", rules: async () => {} },
  {
    name: "nftables DNAT",
    rules: (machine, behind) => machine.run(["/usr/sbin/nft", "-f", "-"], {
      input: `table ip lb { chain in { type nat hook prerouting priority dstnat; ip daddr ${machine.ipv4} tcp dport 80 dnat to ${behind.ipv4}; }; }\n`,
    }),
  },
  { name: "iptables DNAT", rules: (machine, behind) => machine.run(["iptables", "-t", "nat", "-A", "PREROUTING", "-d", machine.ipv4, "-p", "tcp", "--dport", "80", "-j", "DNAT", "--to-destination", behind.ipv4]) },
  {
    name: "HAProxy, TCP mode",
    keepsClient: false,
    rules: async (machine, behind, stack, world) => {
      const file = `${world.directory}/haproxy.cfg`;
      writeFileSync(file, `global\n maxconn 4096\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 30s\n timeout server 30s\nfrontend in\n bind ${machine.ipv4}:80\n default_backend out\nbackend out\n server web ${behind.ipv4}:80\n`);
      stack.use(machine.start(["haproxy", "-db", "-f", file]));
      await waitFor("HAProxy", async () => (await machine.sh("ss -ltnH sport = :80")) !== "");
    },
  },
];

async function compilePass(world: World): Promise<string> {
  const object = `${world.directory}/pass.bpf.o`;
  await run(["sh", "-c", `clang-16 -O2 -g -target bpf -I/usr/include/$(gcc -print-multiarch) -c ${root}/bench/pass.bpf.c -o ${object}`]);
  return object;
}

/** Returns the switch. Between the machines are wires: they do not show frames to iptables, and what the client sends has its checksum, which XDP cannot leave to a device. */
async function onlyWires(world: World): Promise<Place> {
  const wire = place("sw", "", "", ["nsenter", `--net=${namesOf(world.id).netnsPath("sw")}`, "--"]);
  await wire.sh("for family in ip ip6 arp; do sysctl -qw net.bridge.bridge-nf-call-${family}tables=0; done");
  await world.outside.run(["ethtool", "-K", "eth0", "tx", "off"]);
  return wire;
}

/** On the LAN, without Docker. */
async function plainMachine(world: World, name: string, address: string): Promise<Place> {
  const names = namesOf(world.id);
  const machine = await namespace(world, name, address);
  await run(["ip", "link", "add", "eth0", "netns", names.netns(name), "type", "veth", "peer", "name", name, "netns", names.netns("sw")]);
  await run(["nsenter", `--net=${names.netnsPath("sw")}`, "--", "ip", "link", "set", "dev", name, "master", "lan", "up"]);
  await machine.sh(`ip address add ${address}/24 dev eth0 && ip link set eth0 up && ip route add default via ${world.router.ipv4} && echo 1 > /proc/sys/net/ipv4/ip_forward`);
  return machine;
}

async function namespaceBehind(world: World, machine: Place, subnet: string): Promise<Place> {
  const names = namesOf(world.id);
  const behind = await namespace(world, `c${machine.name}`, `${subnet}.2`);
  await run(["ip", "link", "add", "eth0", "netns", names.netns(behind.name), "type", "veth", "peer", "name", "container", "netns", names.netns(machine.name)]);
  await machine.sh(`ip address add ${subnet}.1/24 dev container && ip link set container up`);
  await behind.sh(`ip address add ${subnet}.2/24 dev eth0 && ip link set eth0 up && ip route add default via ${subnet}.1`);
  return behind;
}

async function namespace(world: World, name: string, address: string): Promise<Place> {
  const names = namesOf(world.id);
  await run(["ip", "netns", "add", names.netns(name)]);
  const made = place(name, address, "", ["nsenter", `--net=${names.netnsPath(name)}`, "--", ...inCgroup(names.cgroup("places"))]);
  await made.sh("ip link set lo up");
  return made;
}

/** Returns the path of its log. */
async function startNginx(stack: AsyncDisposableStack, world: World, name: string, where: Place): Promise<string> {
  const folder = `${world.directory}/nginx-${name}`;
  mkdirSync(folder, { recursive: true });
  const log = `${folder}/clients.log`;
  writeFileSync(`${folder}/nginx.conf`, `
user root;
daemon off;
master_process off;
pid ${folder}/pid;
events { worker_connections 4096; }
http {
  log_format client '$remote_addr';
  access_log ${log} client buffer=32k flush=1s;
  ${["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((kind) => `${kind}_temp_path ${folder}/${kind};`).join(" ")}
  server { listen 80 backlog=4096; location / { return 200 "hello\\n"; } }
}
`);
  stack.use(where.start(["nginx", "-c", `${folder}/nginx.conf`, "-e", `${folder}/error.log`]));
  await waitFor(`nginx of ${name}`, async () => (await where.sh("ss -ltnH sport = :80")) !== "", { explain: () => readFileSync(`${folder}/error.log`, "utf8") });
  return log;
}
