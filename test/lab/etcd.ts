// A real etcd of several members on the lab's LAN, each in a namespace of its own, and what can happen to it.
//
//      e1            e2            e3
//  10.99.0.21    10.99.0.22    10.99.0.23     clients 2379, members among themselves 2380
import { existsSync, mkdirSync, rmSync } from "node:fs";
import { daemon, type Daemon } from "./daemon.ts";
import type { Machine } from "./lan.ts";
import type { Names } from "./names.ts";
import type { Place } from "./place.ts";
import { waitFor } from "./run.ts";

/** Not the one of that name that a package may have put first in the path. */
const nft = "/usr/sbin/nft";

export interface Member extends Place {
  readonly process: Daemon;
  /** SIGSTOP: connections are taken and never answered. */
  pause(): void;
  /** SIGCONT. */
  resume(): void;
  /** Nothing reaches it and nothing leaves it, without a word to anybody. */
  blackHole(): Promise<void>;
  heal(): Promise<void>;
  /** What it sends takes its time. @param rate as `tc` writes it, such as `64kbit`; null: as fast as it can. */
  slow(rate: string | null): Promise<void>;
}

export interface Etcd {
  readonly members: readonly Member[];
  /** What belongs into `store.endpoints`. */
  endpoints(family: 4 | 6): readonly string[];
  /** Starts who does not run and waits until they agree. */
  start(): Promise<void>;
  /** kill -9 of all. */
  kill(): Promise<void>;
  /** Kills all, removes what they knew, and starts them again. */
  startEmpty(): Promise<void>;
  /** `etcdctl …` against all members; what it printed, trimmed. @throws CommandFailed */
  ctl(...args: readonly string[]): Promise<string>;
  /** Key → value below a prefix. */
  read(prefix: string): Promise<ReadonlyMap<string, string>>;
}

export interface EtcdPlan {
  readonly names: Names;
  readonly machines: readonly Machine[];
  readonly placeOf: (machine: Machine) => Place;
  /** Where `etcdctl` runs. */
  readonly client: Place;
}

/** Members whose namespaces exist; starts nothing. */
export function etcd({ names, machines, placeOf, client }: EtcdPlan): Etcd {
  const cluster = machines.map(({ name, ipv4 }) => `${name}=http://${ipv4}:2380`).join(",");
  const members = machines.map((machine) => member(names, placeOf(machine), cluster));
  const all = machines.map(({ ipv4 }) => `${ipv4}:2379`).join(",");
  const ctl = async (...args: readonly string[]): Promise<string> =>
    (await client.run(["etcdctl", "--endpoints", all, "--dial-timeout", "2s", "--command-timeout", "3s", ...args], { env: { ETCDCTL_API: "3" } })).stdout.trim();
  const start = async (): Promise<void> => {
    await Promise.all(members.map(({ process }) => process.start()));
    await waitFor("etcd's members to agree", async () => {
      try {
        await ctl("endpoint", "health");
        return true;
      } catch {
        return false;
      }
    }, { explain: () => members.map(({ process }) => process.tail(5)).join("\n") });
  };
  const kill = async (): Promise<void> => {
    await Promise.all(members.map(({ process }) => process.kill()));
  };
  return {
    members,
    endpoints: (family) => machines.map(({ ipv4, ipv6 }) => `http://${family === 4 ? ipv4 : `[${ipv6}]`}:2379`),
    start,
    kill,
    startEmpty: async () => {
      await kill();
      for (const { name } of machines) rmSync(dataOf(names, name), { recursive: true, force: true });
      await start();
    },
    ctl,
    read: async (prefix) => decodeKeys(JSON.parse(await ctl("get", "--prefix", prefix, "-w", "json"))),
  };
}

const dataOf = (names: Names, name: string): string => `${names.directory}/${name}/data`;

function member(names: Names, at: Place, cluster: string): Member {
  const { name, ipv4, ipv6 } = at;
  const directory = `${names.directory}/${name}`;
  mkdirSync(directory, { recursive: true });
  const process_ = daemon({
    name: "etcd",
    directory,
    command: () => at.command([
      "etcd", "--name", name, "--data-dir", dataOf(names, name), "--initial-cluster", cluster, "--initial-cluster-token", names.prefix,
      "--initial-advertise-peer-urls", `http://${ipv4}:2380`, "--listen-peer-urls", `http://${ipv4}:2380`,
      "--advertise-client-urls", `http://${ipv4}:2379`, "--listen-client-urls", `http://127.0.0.1:2379,http://${ipv4}:2379,http://[${ipv6}]:2379`,
      // Machines that run tests are busy: members must not take one another for dead.
      "--heartbeat-interval", "200", "--election-timeout", "2000",
    ]),
    serves: async () => existsSync(dataOf(names, name))
      && (await at.run(["curl", "-sS", "-m", "1", `http://${ipv4}:2379/version`], { mayFail: true, timeoutMs: 5_000 })).code === 0,
  });
  const signal = (what: "SIGSTOP" | "SIGCONT") => (): void => {
    const pid = process_.pid();
    if (pid === null) throw new Error(`${name} does not run`);
    process.kill(pid, what);
  };
  return {
    ...at,
    process: process_,
    pause: signal("SIGSTOP"),
    resume: signal("SIGCONT"),
    blackHole: async () => {
      const chain = (hook: string): string => `chain ${hook} {\n type filter hook ${hook} priority -500; policy drop; ${hook === "input" ? "iifname" : "oifname"} lo accept; }\n`;
      await at.run([nft, "-f", "-"], { input: `table inet hole {\n${chain("input")}${chain("output")}}\n` });
    },
    heal: async () => void (await at.run([nft, "delete", "table", "inet", "hole"], { mayFail: true })),
    slow: async (rate) => {
      if (rate === null) await at.run(["tc", "qdisc", "del", "dev", "eth0", "root"], { mayFail: true });
      else await at.run(["tc", "qdisc", "replace", "dev", "eth0", "root", "tbf", "rate", rate, "burst", "3000", "latency", "5s"]);
    },
  };
}

/** What `etcdctl get -w json` prints: keys and values in base64. */
function decodeKeys(printed: unknown): ReadonlyMap<string, string> {
  const rows = typeof printed === "object" && printed !== null ? ((printed as Record<string, unknown>)["kvs"] ?? []) : undefined;
  if (!Array.isArray(rows)) throw new Error("etcdctl printed no keys");
  const text = (value: unknown): string => Buffer.from(String(value ?? ""), "base64").toString("utf8");
  return new Map((rows as readonly Record<string, unknown>[]).map((row) => [text(row["key"]), text(row["value"])]));
}
