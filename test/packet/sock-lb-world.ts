// A host for sock-lb: a network namespace whose loopback has the host's and the backends' addresses, and a cgroup of host programs.
import { execFileSync, execFile, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as wait } from "node:timers/promises";
import { promisify } from "node:util";
import { configCodec, frontendKeyCodec, backendCodec, hostAddressCodec, HostAddressFlags } from "../../src/abi/generated.ts";
import { ip } from "../../src/abi/codec.ts";
import { createKernel } from "../../src/kernel/index.ts";
import type { CgroupHook, KernelLink, KernelMap, KernelObject } from "../../src/kernel/types.ts";
import { parseIp, parseMac } from "../../src/std/ip.ts";
import { openSession } from "./sock-lb-session.ts";
import type { Session } from "./sock-lb-session.ts";

const run = promisify(execFile);
const object = join(import.meta.dirname, "../../build/bpf/sock-lb.bpf.o");
const probe = join(import.meta.dirname, "sock-lb-probe.py");
const hooks: readonly CgroupHook[] = [
  "connect4", "connect6", "sendmsg4", "sendmsg6", "recvmsg4", "recvmsg6", "getpeername4", "getpeername6", "bind4", "bind6",
];

export interface World extends AsyncDisposable {
  /** Publishes `address port` for both TCP and UDP. */
  publish(frontend: string, port: number, backend: string, backendPort: number): void;
  /** What a program among the host's own sees. */
  host(...call: readonly string[]): Promise<Readonly<Record<string, unknown>>>;
  /** The same program outside the cgroup, in the same namespace. */
  outsider(...call: readonly string[]): Promise<Readonly<Record<string, unknown>>>;
  /** As `host`, but the process that the configuration names as the agent. Once. */
  agent(...call: readonly string[]): Promise<Readonly<Record<string, unknown>>>;
  /** Among the host's own, in a namespace with nothing but loopback: a container. */
  container(...call: readonly string[]): Promise<Readonly<Record<string, unknown>>>;
  /** A program that keeps its sockets, among the host's own or in the container. */
  session(where: "host" | "container"): Session;
  map(name: string): KernelMap;
  /** Files of the network namespaces. */
  readonly namespaces: Readonly<Record<"host" | "container", string>>;
}

export interface Options {
  readonly hostAddresses: readonly string[];
  /** `address@port`. */
  readonly servers: readonly string[];
  /** Configures the cookie of the host's namespace; otherwise sockets of every namespace are the host's. */
  readonly ownNamespaceOnly: boolean;
  /** As `servers`, in the container's namespace. */
  readonly containerServers?: readonly string[];
  readonly setRetval: boolean;
}

export async function buildWorld(tag: string, options: Options): Promise<World> {
  const name = `hwt-sock-${tag}-${process.pid}`;
  const [hostNs, containerNs] = [name, `${name}-c`];
  const cgroup = join(cgroup2(), name);
  await using undo = new AsyncDisposableStack();
  for (const namespace of [hostNs, containerNs]) {
    execFileSync("ip", ["netns", "add", namespace]);
    undo.defer(() => { execFileSync("ip", ["netns", "delete", namespace]); });
    execFileSync("ip", ["-n", namespace, "link", "set", "lo", "up"]);
  }
  const { containerServers = [] } = options;
  for (const [namespace, addresses, servers] of [[hostNs, options.hostAddresses, options.servers], [containerNs, [], containerServers]] as const) {
    for (const address of new Set([...addresses, ...servers.map((server) => server.split("@")[0] ?? "")])) {
      if (!/^(127\.|::1$)/.test(address)) execFileSync("ip", ["-n", namespace, "address", "add", address, "dev", "lo", ...(address.includes(":") ? ["nodad"] : [])]);
    }
  }
  mkdirSync(cgroup);
  undo.defer(() => removeCgroup(cgroup));

  const call = async (namespace: string, inside: boolean, args: readonly string[]): Promise<Readonly<Record<string, unknown>>> => {
    const join = inside ? `echo $$ > ${cgroup}/cgroup.procs && ` : "";
    const script = `${join}exec nsenter --net=/run/netns/${namespace} python3 "$@"`;
    const { stdout } = await run("sh", ["-c", script, "sh", probe, ...args]);
    return JSON.parse(stdout) as Readonly<Record<string, unknown>>;
  };

  const agent = spawn("sh", ["-c", 'read cgroup namespace call && echo $$ > $cgroup/cgroup.procs && exec nsenter --net=/run/netns/$namespace python3 $call'], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  undo.defer(() => stop(agent));

  for (const [namespace, servers] of [[hostNs, options.servers], [containerNs, containerServers]] as const) {
    if (servers.length === 0) continue;
    const server = await startServer(namespace, servers);
    undo.defer(() => stop(server));
  }

  const cookie = options.ownNamespaceOnly ? BigInt(String((await call(hostNs, false, ["cookie"]))["cookie"])) : 0n;
  const kernel = createKernel();
  const loaded = undo.use(await kernel.loadObject(object, { rodata: { hw_config: configOf(cookie, options.setRetval, agent.pid ?? 0) } }));
  for (const hook of hooks) undo.use(attach(kernel.attachCgroup, loaded, cgroup, hook));

  for (const address of options.hostAddresses) {
    mapOf(loaded, "hw_host_addrs").set(ip.encode(parseIp(address)), hostAddressCodec.encode({ flags: HostAddressFlags.LOCAL, network: 0 }));
  }
  const kept = undo.move();
  const namespaces = { host: `/run/netns/${hostNs}`, container: `/run/netns/${containerNs}` };
  return {
    namespaces,
    map: (name) => mapOf(loaded, name),
    session: (where) => kept.use(openSession(namespaces[where], cgroup)),
    publish: (frontend, port, backend, backendPort) => {
      for (const proto of [6, 17]) {
        mapOf(loaded, "hw_frontends").set(
          frontendKeyCodec.encode({ addr: parseIp(frontend), port, proto }),
          backendCodec.encode({ addr: parseIp(backend), port: backendPort, network: 1 }),
        );
      }
    },
    host: (...args) => call(hostNs, true, args),
    outsider: (...args) => call(hostNs, false, args),
    agent: async (...args) => {
      agent.stdin.end(`${cgroup} ${hostNs} ${[probe, ...args].join(" ")}\n`);
      return JSON.parse(await text(agent.stdout)) as Readonly<Record<string, unknown>>;
    },
    container: (...args) => call(containerNs, true, args),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

function configOf(hostNetnsCookie: bigint, setRetval: boolean, agentPid: number): Uint8Array {
  return configCodec.encode({
    hostIfindex: 0, hz: 250, hostMac: parseMac("02:00:00:00:00:01"), betweenNetworks: 0, ipv6: 1,
    ephemeralLow: 32768, ephemeralHigh: 60999, setRetval: setRetval ? 1 : 0, hostNetnsCookie, agentPid, publishedDeny: 0, unidentifiedAllow: 0, mark: 0,
    tunnelIfindex: 0, tunnelPort: 0, tunnelHeader: 0, services: 0, lbIpv4: 0, lbIpv6: null, nodeIpv4: 0, nodeIpv6: null, snatFirst: 0, snatPorts: 0, probePort: 0, native: 0,
  });
}

function attach(attachCgroup: ReturnType<typeof createKernel>["attachCgroup"], loaded: KernelObject, cgroup: string, hook: CgroupHook): KernelLink {
  const program = loaded.programs.get(hook);
  if (!program) throw new Error(`sock-lb has no program ${hook}`);
  return attachCgroup(program, cgroup, hook);
}

function mapOf(loaded: KernelObject, name: string): KernelMap {
  const map = loaded.maps.get(name);
  if (!map) throw new Error(`sock-lb has no map ${name}`);
  return map;
}

function cgroup2(): string {
  const mount = readFileSync("/proc/mounts", "utf8").split("\n").map((line) => line.split(" ")).find(([, , type]) => type === "cgroup2");
  if (!mount?.[1]) throw new Error("no cgroup2 is mounted; mount one: mount -t cgroup2 none /sys/fs/cgroup/unified");
  return mount[1];
}

async function startServer(namespace: string, servers: readonly string[]): Promise<ChildProcess> {
  const server = spawn("nsenter", [`--net=/run/netns/${namespace}`, "python3", probe, "serve", ...servers], { stdio: ["ignore", "pipe", "inherit"] });
  await new Promise<void>((resolve, reject) => {
    server.stdout?.once("data", () => resolve());
    server.once("exit", (code) => reject(new Error(`the backend ended with ${code}`)));
  });
  return server;
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await ended;
}

/** A program that has ended may still be listed for a moment. */
async function removeCgroup(path: string): Promise<void> {
  for (let tries = 0; tries < 100 && readdirSync(path).length > 0; tries++) {
    try {
      return rmdirSync(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EBUSY") throw error;
      await wait(20);
    }
  }
  rmdirSync(path);
}
