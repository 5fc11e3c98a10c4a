// The two worlds that are compared: the same two containers and client, joined by Hawser or by a bridge with iptables.
//
//   ns PREa: eth0 .2 ─┐
//                      ├─ hwhost or bridge ── uplink 192.0.2.10 ── ns PREc: 192.0.2.1 (a client on the wire)
//   ns PREb: eth0 .3 ─┘
import { join } from "node:path";
import { openDatapath } from "../src/datapath/bootstrap.ts";
import { cgroupRoot } from "../src/datapath/kernel-facts.ts";
import { mapPath } from "../src/datapath/pins.ts";
import type { Doers, NetworkPlan, Step } from "../src/network/types.ts";
import type { PolicyTables } from "../src/policy/types.ts";
import { createKernel, openNetlink } from "../src/kernel/index.ts";
import { systemClock } from "../src/std/clock.ts";
import { parseCidr, parseIp, parseMac } from "../src/std/ip.ts";
import { createLog } from "../src/std/log.ts";
import { root, run, runIn } from "./run.ts";

export interface World {
  readonly name: string;
  /** Namespaces of the containers and of the client on the wire. */
  readonly a: string;
  readonly b: string;
  readonly client: string;
  readonly addressB: string;
  /** Where b's port 9000 is published to the wire as 8080. */
  readonly hostAddress: string;
  readonly clientAddress: string;
}

interface Layout extends World {
  readonly uplink: string;
  readonly subnet: string;
}

function layout(name: string, prefix: string, wire: string, subnet: string): Layout {
  return {
    name, a: `${prefix}a`, b: `${prefix}b`, client: `${prefix}c`, uplink: `${prefix}wan`, subnet,
    addressB: `${subnet}.3`, hostAddress: `${wire}.10`, clientAddress: `${wire}.1`,
  };
}

export interface HawserWorld extends World {
  /** Puts a policy in force. */
  install(tables: PolicyTables): Promise<void>;
  forgetFlows(): void;
}

export interface HawserOptions {
  /** Of a and of b; 0: as if no policy were for them. */
  readonly identities?: readonly [number, number];
  readonly masquerade?: boolean;
}

/** Endpoints made by the very doers that the agent uses. */
export async function hawserWorld(stack: AsyncDisposableStack, { identities: [ofA, ofB] = [0, 0], masquerade = true }: HawserOptions = {}): Promise<HawserWorld> {
  const world = layout("hawser", "hw-", "192.0.2", "10.44.0");
  makeWire(world);
  const netlink = stack.use(await openNetlink());
  const kernel = createKernel();
  const network = { ...networkPlan, masquerade };
  const datapath = stack.use(await openDatapath({
    node: "bench", bpffs, objectDirectory: join(root, "build/bpf"), cgroup: cgroupRoot(), devices: [world.uplink], addresses: [], routing: null, acceleration: "off", ipv6: false, betweenNetworks: false,
    published: true, untilIdentified: true,
    kernel, netlink, log: createLog((line) => console.error(line), Date.now, "warn"), clock: systemClock, nodeMac: parseMac("02:48:57:00:00:01"),
  }));
  await perform(datapath.doers, [{ kind: "policy", tables: openTables, before: null }, { kind: "network", network }]);
  for (const [namespace, id, host, identity] of [[world.a, "aaaaaaaaaaa", 2, ofA], [world.b, "bbbbbbbbbbb", 3, ofB]] as const) {
    await perform(datapath.doers, endpointSteps(network, id, host, identity));
    plug(world, namespace, `hw${id}c`, host);
  }
  await perform(datapath.doers, portSteps(world));
  const flows = stack.use(kernel.openPinnedMap(mapPath(bpffs, "hw_ct4")));
  return {
    ...world,
    install: (tables) => perform(datapath.doers, [{ kind: "policy", tables, before: null }]),
    forgetFlows: () => void flows.deleteBatch([...flows.entries()].map(([key]) => key)),
  };
}

/** What Docker's bridge driver sets up, without its daemon: bridge, MASQUERADE, DNAT and the FORWARD rules that its packets meet. */
export function bridgeWorld(): World {
  const world = layout("bridge", "br-", "198.51.100", "172.18.0");
  makeWire(world);
  run("ip link add br0 type bridge");
  run(`ip address add ${world.subnet}.1/16 dev br0`);
  run("ip link set br0 up");
  for (const [namespace, host] of [[world.a, 2], [world.b, 3]] as const) {
    run(`ip link add veth${host} type veth peer name veth${host}c`);
    run(`ip link set veth${host} master br0 up`);
    plug(world, namespace, `veth${host}c`, host);
  }
  run("sysctl -qw net.ipv4.ip_forward=1");
  for (const rule of [
    `-t nat -A POSTROUTING -s ${world.subnet}.0/16 ! -o br0 -j MASQUERADE`,
    "-t nat -N DOCKER", "-t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER", "-t nat -A DOCKER -i br0 -j RETURN",
    `-t nat -A DOCKER ! -i br0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination ${world.addressB}:9000`,
    "-N DOCKER", "-N DOCKER-USER", "-N DOCKER-ISOLATION-STAGE-1", "-N DOCKER-ISOLATION-STAGE-2",
    "-A FORWARD -j DOCKER-USER", "-A FORWARD -j DOCKER-ISOLATION-STAGE-1",
    "-A FORWARD -o br0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "-A FORWARD -o br0 -j DOCKER",
    "-A FORWARD -i br0 ! -o br0 -j ACCEPT", "-A FORWARD -i br0 -o br0 -j ACCEPT",
    `-A DOCKER -d ${world.addressB}/32 ! -i br0 -o br0 -p tcp -m tcp --dport 9000 -j ACCEPT`,
    "-A DOCKER-ISOLATION-STAGE-1 -i br0 ! -o br0 -j DOCKER-ISOLATION-STAGE-2", "-A DOCKER-ISOLATION-STAGE-1 -j RETURN",
    "-A DOCKER-ISOLATION-STAGE-2 -o br0 -j DROP", "-A DOCKER-ISOLATION-STAGE-2 -j RETURN", "-A DOCKER-USER -j RETURN",
  ]) run(`iptables ${rule}`);
  return world;
}

function makeWire(world: Layout): void {
  for (const namespace of [world.a, world.b, world.client]) {
    run(`ip netns add ${namespace}`);
    runIn(namespace, "ip link set lo up");
  }
  run(`ip link add ${world.uplink} type veth peer name wire netns ${world.client}`);
  run(`ip address add ${world.hostAddress}/24 dev ${world.uplink}`);
  run(`ip link set ${world.uplink} up`);
  runIn(world.client, `ip address add ${world.clientAddress}/24 dev wire`);
  runIn(world.client, "ip link set wire up");
}

function plug(world: Layout, namespace: string, device: string, host: number): void {
  run(`ip link set ${device} netns ${namespace} name eth0`);
  runIn(namespace, `ip address add ${world.subnet}.${host}/24 dev eth0`);
  runIn(namespace, "ip link set eth0 up");
  runIn(namespace, `ip route add default via ${world.subnet}.1`);
}

export const bpffs = "/run/hawser/bpf";
const openTables: PolicyTables = { classes: new Map(), prefixes: new Map(), pairs: new Map(), ports: new Map(), rules: [] };
const networkPlan: NetworkPlan = {
  number: 1, ipv4: { prefix: parseCidr("10.44.0.0/24"), gateway: parseIp("10.44.0.1") }, ipv6: null,
  internal: false, icc: true, masquerade: true, snat4: null, snat6: null, key: 0,
};

function endpointSteps({ internal, icc, masquerade }: NetworkPlan, id: string, host: number, identity: number): Step[] {
  const cable = { hostInterface: `hw${id}`, containerInterface: `hw${id}c`, mac: parseMac(`02:42:0a:2c:00:0${host}`), mtu: 1500 };
  const { hostInterface, mac, mtu } = cable;
  const endpoint = { hostInterface, network: 1, ipv4: parseIp(`10.44.0.${host}`), ipv6: null, mac, mtu, internal, icc, masquerade, identity };
  return [{ kind: "cable", cable }, { kind: "attach", cable }, { kind: "endpoint", endpoint }];
}

function portSteps(world: World): Step[] {
  const port = { protocol: "tcp", hostIp: parseIp("0.0.0.0"), hostPort: 8080, address: parseIp(world.addressB), containerPort: 9000, network: 1 } as const;
  return [{ kind: "port", port }];
}

async function perform(doers: Doers, steps: readonly Step[]): Promise<void> {
  for (const step of steps) await (doers[step.kind] as { do(step: Step): Promise<void> }).do(step);
}
