// One Docker host of the lab: a network, mount and UTS namespace and a cgroup2 folder with its own containerd, dockerd and agent.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { ask } from "./ask.ts";
import { daemon, type Daemon } from "./daemon.ts";
import { decodeDrops, type Drops } from "./drops.ts";
import { image } from "./image.ts";
import { alone, type Settings } from "./installation.ts";
import { setCable, setMtu, type Machine } from "./lan.ts";
import { driver, inCgroup, root, type Names } from "./names.ts";
import { place, type Place } from "./place.ts";
import { CommandFailed, waitFor, type Output, type RunOptions } from "./run.ts";
import { stringify } from "yaml";

export interface Host extends Place {
  readonly containerd: Daemon;
  readonly dockerd: Daemon;
  readonly agent: Daemon;
  readonly configuration: string;
  /** `docker …` on this host; what it printed, trimmed. @throws CommandFailed */
  docker(...args: readonly string[]): Promise<string>;
  /** The same, for commands that should fail. */
  dockerOutput(args: readonly string[], options?: RunOptions): Promise<Output>;
  /** `hawser …` against this host's agent. */
  hawser(args: readonly string[], options?: RunOptions): Promise<Output>;
  /** `hawser … -o json`, parsed, of a command that only looks. @throws CommandFailed */
  json(...args: readonly string[]): Promise<unknown>;
  /** The network namespace of a running container, with the tools of the machine. */
  inside(container: string): Promise<Place>;
  /** `docker run -d` of the lab's image; what follows the name is `docker run`'s options, then the command. */
  container(name: string, options: readonly string[], command?: readonly string[]): Promise<string>;
  /** `docker network create` with Hawser as network and address driver. */
  network(name: string, ...options: readonly string[]): Promise<void>;
  /** Removes every container and network. */
  clear(): Promise<void>;
  /** Links on the host that carry Hawser's name. */
  links(): Promise<readonly string[]>;
  drops(): Promise<Drops>;
  /** Of its uplink, at both ends of the cable. */
  setMtu(bytes: number): Promise<void>;
  /** Pulls its cable: carrier goes and nothing passes. */
  unplug(): Promise<void>;
  plug(): Promise<void>;
}

export interface HostPlan {
  readonly names: Names;
  readonly machine: Machine;
  /** Its agent's; without it a host alone, on the lab's first pool. */
  readonly settings?: Settings;
}

/** A host whose namespaces exist (see `makeHost`); starts nothing. */
export function host({ names, machine, settings = alone(0) }: HostPlan): Host {
  const { name, ipv4, ipv6 } = machine;
  const directory = `${names.directory}/${name}`;
  const holder = readFileSync(`${directory}/holder.pid`, "utf8").trim();
  const cgroup = `${names.cgroup(name)}/daemons`;
  const enter = [
    "nsenter", `--net=${names.netnsPath(name)}`, `--mount=/proc/${holder}/ns/mnt`, `--uts=/proc/${holder}/ns/uts`, "--",
    ...inCgroup(cgroup),
  ];
  const base = place(name, ipv4, ipv6, enter);
  const works = async (command: readonly string[]): Promise<boolean> => (await base.run(command, { mayFail: true, timeoutMs: 5_000 })).code === 0;
  const docker = existsSync("/usr/bin/docker") ? "/usr/bin/docker" : "docker";
  const cli = [docker, "-H", "unix:///run/docker.sock"];
  const hawser = [`${root}/bin/hawser`];
  const look = async (...words: readonly string[]): Promise<string> => {
    const output = await ask(`/proc/${holder}/root/run/hawser/hawser.sock`, [...words, "-o", "json"]);
    if (output.code !== 0) throw new CommandFailed(["hawser", ...words], output);
    return output.stdout;
  };
  const configuration = `${directory}/hawser.yaml`;
  // What a test has changed stays when another process opens the lab.
  if (!existsSync(configuration)) {
    writeFileSync(configuration, stringify({
      ...settings,
      node: { name, ...settings.node },
      // The machine's /etc/group is not ours to change.
      api: { group: "root" },
      paths: { state: `${directory}/state`, run: "/run/hawser", bpffs: "/sys/fs/bpf/hawser", cgroup: names.cgroup(name) },
    }));
  }
  const self: Host = {
    ...base,
    configuration,
    containerd: daemon({
      name: "containerd",
      directory,
      command: () => [...enter, "containerd", "--config", `${directory}/containerd.toml`],
      serves: () => works(["ctr", "--address", "/run/containerd/containerd.sock", "version"]),
    }),
    dockerd: daemon({
      name: "dockerd",
      directory,
      command: (extra) => [
        ...enter, "dockerd", "--config-file", `${directory}/daemon.json`, "--data-root", `${directory}/docker`,
        "--exec-root", "/run/docker", "--pidfile", "/run/docker.pid", "-H", "unix:///run/docker.sock",
        "--containerd", "/run/containerd/containerd.sock", "--cgroup-parent", `/${names.netns(name)}`,
        "--storage-driver", "overlay2", ...(driver === "hawser" ? [] : ["--experimental", "--ip6tables"]), ...extra,
      ],
      serves: () => works([...cli, "version"]),
    }),
    agent: daemon({
      name: "agent",
      directory,
      command: () => [...enter, ...hawser, "agent", "--config", configuration],
      serves: async () => existsSync(`/proc/${holder}/root/run/docker/plugins/hawser.sock`) && (await ready(self)),
    }),
    docker: async (...args) => (await base.run([...cli, ...args])).stdout.trim(),
    dockerOutput: (args, options) => base.run([...cli, ...args], { mayFail: true, ...options }),
    hawser: (args, options) => base.run([...hawser, ...args], options),
    json: async (...args) => JSON.parse(await look(...args)) as unknown,
    inside: async (container) => {
      const format = "{{.State.Pid}} {{range .NetworkSettings.Networks}}{{.IPAddress}} {{.GlobalIPv6Address}} {{end}}";
      const [pid = "", v4 = "", v6 = ""] = (await self.docker("inspect", "-f", format, container)).split(" ");
      return place(container, v4, v6, [...enter, "nsenter", `--net=/proc/${pid}/ns/net`, "--"]);
    },
    container: async (container, options, command = ["sleep", "infinity"]) =>
      self.docker("run", "-d", "--init=false", "--stop-timeout", "0", "--name", container, "--hostname", container, ...options, image, ...command),
    network: async (network, ...options) => {
      const ipam = driver === "hawser" ? ["--ipam-driver", driver] : [];
      // Debian 12's Docker has no IPv6 pools of its own.
      const pool = driver !== "hawser" && options.includes("--ipv6") && !options.some((option) => option.includes("::/"))
        ? ["--subnet", `fd00:${Buffer.from(network).toString("hex").slice(0, 4)}::/64`] : [];
      await self.docker("network", "create", "-d", driver, ...ipam, ...options, ...pool, network);
    },
    clear: async () => {
      const containers = await self.docker("ps", "-aq");
      if (containers !== "") await self.docker("rm", "-f", "-v", ...containers.split("\n"));
      // Docker passes over a network of which it still counts an endpoint, which it may for a moment after many containers went at once.
      const none = (): Promise<void> => waitFor(`${self.name} to have no network`, async () => {
        await self.docker("network", "prune", "-f");
        return (await self.docker("network", "ls", "-q", "--filter", "type=custom")) === "";
      }, { promisedMs: 15_000 });
      // Or for good: it counts apart from what it counts, and puts that right when it starts.
      await none().catch(async () => {
        await self.dockerd.stop();
        await self.dockerd.start();
        await none();
      });
    },
    links: async () => {
      const { stdout } = await base.run(["ip", "-o", "link", "show"]);
      return [...stdout.matchAll(/^\d+: (hw[^:@]*)/gm)].map((match) => match[1] ?? "").sort();
    },
    setMtu: (bytes) => setMtu(names, machine, bytes),
    unplug: () => setCable(names, machine, "down"),
    plug: () => setCable(names, machine, "up"),
    drops: async () => driver !== "hawser" ? {} : decodeDrops(await look("status")),
  };
  return self;
}

async function ready(self: Host): Promise<boolean> {
  const status = await self.json("status").catch((error: unknown) => {
    if (error instanceof CommandFailed) return null;
    throw error;
  });
  return typeof status === "object" && status !== null && (status as Record<string, unknown>)["ready"] === true;
}

/** Makes the mount and UTS namespace around the network namespace, held by one sleeping process. */
export async function makeHost({ names, machine: { name } }: Pick<HostPlan, "names" | "machine">): Promise<void> {
  const directory = `${names.directory}/${name}`;
  const cgroup = `${names.cgroup(name)}/daemons`;
  for (const folder of [directory, cgroup, `${directory}/state`]) mkdirSync(folder, { recursive: true });
  writeFileSync(`${directory}/daemon.json`, "{}\n");
  // Nothing answers there, and the router says so at once, so that an unknown name fails quickly.
  writeFileSync(`${directory}/resolv.conf`, "nameserver 203.0.113.10\noptions timeout:1 attempts:1\n");
  writeFileSync(`${directory}/containerd.toml`, [
    "version = 2", `root = "${directory}/containerd"`, 'state = "/run/containerd"',
    'disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp"]',
    "[grpc]", 'address = "/run/containerd/containerd.sock"', "",
  ].join("\n"));
  // `ip netns exec` would mount a new /sys and lose the cgroup mounts; dockerd's plugin directory is fixed, hence the private /run.
  const script = `
set -e
echo 0 > ${cgroup}/cgroup.procs
mount --make-rprivate /
hostname ${name}
mount -t tmpfs tmpfs /run
mkdir -p /run/docker/plugins /run/containerd /run/lock
# Not the machine's below it: a test that takes the bpffs away would leave its pins there.
while umount /sys/fs/bpf 2>/dev/null; do :; done
mount -t bpf bpf /sys/fs/bpf
mount --bind ${directory}/resolv.conf /etc/resolv.conf
echo $$ > ${directory}/holder.pid.new
mv ${directory}/holder.pid.new ${directory}/holder.pid
exec sleep infinity`;
  const holder = daemon({
    name: "namespaces",
    directory,
    command: () => ["nsenter", `--net=${names.netnsPath(name)}`, "unshare", "--mount", "--uts", "sh", "-c", script],
    serves: () => Promise.resolve(existsSync(`${directory}/holder.pid`)),
  });
  await holder.start();
}

/** Starts containerd and dockerd and imports the image. */
export async function startDocker(self: Host, tar: string): Promise<void> {
  await self.containerd.start();
  await self.dockerd.start();
  await self.docker("import", "-c", 'CMD ["/bin/sh"]', tar, image);
  await waitFor(`the image on ${self.name}`, async () => (await self.docker("images", "-q", image)) !== "");
}
