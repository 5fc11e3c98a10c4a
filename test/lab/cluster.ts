// One installation of several hosts for a test file, and what scenarios ask of it: who knows whom, who talks to whom, what is on the wire.
import type { ExecutionContext, TestFn } from "ava";
import { writeFileSync } from "node:fs";
import type { Drops } from "./drops.ts";
import type { Etcd } from "./etcd.ts";
import type { Host } from "./host.ts";
import { encapsulationOf, portOf, type ClusterOptions } from "./installation.ts";
import type { Place } from "./place.ts";
import { waitFor, type Running, type WaitOptions } from "./run.ts";
import { scene, type Scene } from "./scenario.ts";
import type { LabOptions } from "./world.ts";

/** A row of `hawser node list -o json`. */
export interface NodeRow {
  readonly name: string;
  readonly address: string;
  readonly ipv4: string;
  readonly ipv6: string;
  readonly state: string;
  /** Milliseconds since the epoch. */
  readonly lastSeen: number;
  readonly rttMs: number | null;
}

/** A row of `hawser endpoint list -o json`. */
export interface EndpointRow {
  readonly id: string;
  readonly name: string;
  readonly node: string;
  readonly ipv4: string;
  readonly ipv6: string;
  readonly identity: number;
  readonly state: string;
}

export const nodesOf = async (host: Host): Promise<readonly NodeRow[]> => (await host.json("node", "list")) as readonly NodeRow[];

/** Of the containers on that host. */
export const endpointsOf = async (host: Host): Promise<readonly EndpointRow[]> =>
  ((await host.json("endpoint", "list")) as readonly EndpointRow[]).filter(({ node }) => node === host.name);

export async function endpointOf(host: Host, name: string): Promise<EndpointRow> {
  const found = (await endpointsOf(host)).find((each) => each.name === name);
  if (found === undefined) throw new Error(`${host.name} lists no endpoint of ${name}`);
  return found;
}

/** Waits until `host` says that of the other node; `gone`: it lists none of that name. */
export async function nodeIs(host: Host, other: string, state: "ready" | "unreachable" | "gone", options: WaitOptions = {}): Promise<void> {
  let last: readonly NodeRow[] = [];
  await waitFor(`${host.name} to say that ${other} is ${state}`, async () => {
    last = await nodesOf(host);
    return (last.find(({ name }) => name === other)?.state ?? "gone") === state;
  }, { everyMs: 100, explain: () => `${JSON.stringify(last)}\n${host.agent.tail(10)}`, ...options });
}

/** Waits until each lists each other as one that answers. */
export async function allReady(hosts: readonly Host[]): Promise<void> {
  for (const host of hosts) for (const { name } of hosts) if (name !== host.name) await nodeIs(host, name, "ready");
}

/** Waits until each place reaches each other: what starts on one node is known on the others a moment later. */
export async function meet(places: readonly Place[], options: WaitOptions = {}): Promise<void> {
  for (const [from, to] of pairs(places)) {
    for (const address of [to.ipv4, to.ipv6].filter(Boolean)) await reaches(from, address, options);
  }
}

export async function reaches(from: Place, address: string, options: WaitOptions = {}): Promise<void> {
  await waitFor(`${from.name} to reach ${address}`, async () => (await from.run(["ping", "-c1", "-W1", address], { mayFail: true })).code === 0, options);
}

/** TCP, UDP and ICMP from each place to each other, in every family that they have; each sees the other's own address. */
export async function allTalk(t: ExecutionContext, places: readonly Place[], why = ""): Promise<void> {
  const servers = await Promise.all(places.map((place) => place.serve({ tcp: [7900], udp: [7900] })));
  try {
    for (const [from, to] of pairs(places)) {
      for (const [mine, theirs] of [[from.ipv4, to.ipv4], [from.ipv6, to.ipv6]] as const) {
        if (mine === "" || theirs === "") continue;
        const seen = new RegExp(`^${mine} \\d+$`);
        const [tcp, udp, { code }] = await Promise.all([
          from.ask("tcp", theirs, 7900), from.ask("udp", theirs, 7900), from.run(["ping", "-c1", "-W2", theirs], { mayFail: true }),
        ]);
        t.regex(tcp, seen, `${from.name} to ${to.name} (${theirs}) by TCP ${why}`);
        t.regex(udp, seen, `${from.name} to ${to.name} (${theirs}) by UDP ${why}`);
        t.is(code, 0, `${from.name} pings ${to.name} (${theirs}) ${why}`);
      }
    }
  } finally {
    for (const server of servers) await server[Symbol.asyncDispose]();
  }
}

const pairs = (places: readonly Place[]): readonly (readonly [Place, Place])[] =>
  places.flatMap((from) => places.filter((to) => to !== from).map((to) => [from, to] as const));

/** Lines of tcpdump on a device of a place. */
export async function sniff(place: Place, filter: string, device = "eth0"): Promise<Running> {
  const running = place.start(["tcpdump", "-n", "-l", "--immediate-mode", "-i", device, filter]);
  await running.says("listening on");
  return running;
}

/** What a sniffer has seen. */
export const packetsOf = (sniffer: Running): readonly string[] => sniffer.printed().split("\n").filter((line) => /^\d\d:\d\d:\d\d/.test(line));

/** Datagrams that came to a place since it began, whether or not somebody listened. */
export const datagrams = async (place: Place): Promise<string> =>
  place.sh("cat /proc/net/snmp /proc/net/snmp6 | awk '/^Udp: [0-9]/ { print $2 + $3 } /^Udp6(InDatagrams|NoPorts)/ { print $2 }'");

export const dropsOf = (hosts: readonly Host[]): Promise<readonly Drops[]> => Promise.all(hosts.map((host) => host.drops()));

/** Can be answered within a second of the change (R59). */
export const withinASecond: WaitOptions = { promisedMs: 1000, everyMs: 10 };

export interface ClusterScene extends Scene {
  readonly a: Host;
  readonly b: Host;
  readonly c: Host;
  readonly etcd: Etcd;
  /** What crafted tunnel packets need to be of the hosts' kind. */
  readonly tunnels: { readonly encapsulation: string; readonly outerPort: number };
  /** The same policy on each of the hosts: all of them, or those given. */
  apply(text: string, hosts?: readonly Host[]): Promise<void>;
  /** `docker network create` on each host. */
  network(name: string, ...options: readonly string[]): Promise<void>;
  /** A container of the lab's image on a network, from the inside. */
  container(host: Host, name: string, network: string, ...options: readonly string[]): Promise<Place>;
}

/** A world whose hosts know each other before the first test. After each test every agent runs, no policy is left and etcd serves. */
export function clusterScene(test: TestFn, cluster: ClusterOptions = {}, options: LabOptions = {}): ClusterScene {
  const hostAt = (index: number): Host => {
    const host = stage.world.hosts[index];
    if (host === undefined) throw new Error(`this world has no host ${index + 1}`);
    return host;
  };
  // Before the scene's own hooks, which remove containers: for that the agents are needed.
  test.serial.afterEach.always("agents run, and no policy is left", async () => {
    await stage.world.etcd?.start();
    await Promise.all(stage.world.hosts.map(async (host) => {
      await host.plug();
      await host.agent.start();
      for (const { name, source } of (await host.json("policy", "list")) as readonly { readonly name: string; readonly source: string }[]) {
        if (source.startsWith("apply")) await host.hawser(["policy", "delete", name]);
      }
    }));
  });
  const stage: Scene = scene(test, { hosts: 3, cluster, ...options });
  test.serial.before("the nodes know each other", async () => {
    await allReady(stage.world.hosts);
  });
  return {
    get world() {
      return stage.world;
    },
    get host() {
      return stage.host;
    },
    get a() {
      return hostAt(0);
    },
    get b() {
      return hostAt(1);
    },
    get c() {
      return hostAt(2);
    },
    get etcd() {
      const { etcd } = stage.world;
      if (etcd === null) throw new Error("this world has no etcd");
      return etcd;
    },
    tunnels: { encapsulation: encapsulationOf(cluster), outerPort: portOf(cluster) },
    apply: async (text, hosts = stage.world.hosts) => {
      const file = `${stage.world.directory}/${/^\s*policy: (\w+)$/m.exec(text)?.[1] ?? "policy"}.yaml`;
      writeFileSync(file, text);
      await Promise.all(hosts.map((host) => host.hawser(["policy", "apply", file])));
    },
    network: async (name, ...more) => void (await Promise.all(stage.world.hosts.map((host) => host.network(name, ...more)))),
    container: async (host, name, network, ...more) => {
      await host.container(name, ["--network", network, ...more]);
      return host.inside(name);
    },
  };
}
