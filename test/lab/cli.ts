// `scripts/lab`: the tests' lab as a tool for people.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import type { ClusterOptions } from "./installation.ts";
import { labIds, names } from "./names.ts";
import { leaks, remove } from "./remove.ts";
import { messageOf } from "../../src/std/errors.ts";
import { lab, openLab, type World } from "./world.ts";

const usage = `Usage: scripts/lab COMMAND

  up [HOSTS] [OPTION…]             build a world of Docker hosts with Hawser and leave it standing
      --plain                      without Hawser's agent
      --etcd                       one installation of all hosts, with an etcd of three members
      --peers                      one installation without a server: each host knows the others as static peers
      --native                     with --etcd or --peers: routes instead of tunnels
      --ipv6                       with --etcd or --peers: hosts reach one another over IPv6
      --subnets                    each host on a subnet of its own, with the router between them
      --id ID                      its name
  status                           what stands
  exec PLACE COMMAND…              run a command on a host (a, b, …), nb (neighbour), rt (router), out (outside)
                                   or a member of etcd (e1, e2, e3)
  docker HOST …                    Docker's command line on a host
  hawser HOST …                    Hawser's command line on a host
  down [ID]                        remove the world
  sweep                            remove what a dead test run left behind

The world is called "lab" unless --id says otherwise; HAWSER_LAB picks another for exec, docker and hawser.
`;

const upOptions = {
  plain: { type: "boolean", default: false }, etcd: { type: "boolean", default: false }, peers: { type: "boolean", default: false },
  native: { type: "boolean", default: false }, ipv6: { type: "boolean", default: false }, subnets: { type: "boolean", default: false }, id: { type: "string" },
} as const;

const [command, ...args] = process.argv.slice(2);
const id = process.env["HAWSER_LAB"] ?? "lab";

try {
  await run();
} catch (error) {
  process.stderr.write(`lab: ${process.env["HAWSER_DEBUG"] === undefined ? messageOf(error) : String((error as Error).stack)}\n`);
  process.exitCode = 1;
}

async function run(): Promise<void> {
  switch (command) {
    case "up": {
      const { values, positionals } = parseArgs({ args, allowPositionals: true, options: upOptions });
      const name = values.id ?? id;
      const count = positionals[0] ?? "1";
      if (positionals.length > 1 || !/^[1-8]$/.test(count)) throw new Error(`${JSON.stringify(positionals.join(" "))} is no number of hosts; 1 to 8 are`);
      if (values.etcd && values.peers) throw new Error("--etcd and --peers exclude one another");
      if ((values.native || values.ipv6) && !values.etcd && !values.peers) throw new Error("--native and --ipv6 are for one installation: add --etcd or --peers");
      const cluster: ClusterOptions = { store: values.peers ? "peers" : "etcd", mode: values.native ? "native" : "overlay", underlay: values.ipv6 ? 6 : 4 };
      const started = performance.now();
      const world = await lab({
        id: name, hosts: Number(count), agent: !values.plain, owner: Number(process.env["HAWSER_LAB_OWNER"] ?? 0), subnets: values.subnets ? "each" : "one",
        ...(values.etcd || values.peers ? { cluster } : {}),
      });
      console.log(`lab ${name} is up after ${((performance.now() - started) / 1000).toFixed(1)} s`);
      describe(world);
      break;
    }
    case "status": {
      const ids = labIds();
      if (ids.length === 0) console.log("no lab stands");
      for (const each of ids) {
        if (existsSync(`${names(each).directory}/world.json`)) {
          console.log(`lab ${each}`);
          describe(openLab(each));
        } else {
          console.log(`lab ${each} is broken:\n${leaks(each).join("\n")}`);
        }
      }
      break;
    }
    case "exec":
      enter(args[0], args.slice(1));
      break;
    case "docker":
      enter(args[0], ["docker", "-H", "unix:///run/docker.sock", ...args.slice(1)]);
      break;
    case "hawser":
      enter(args[0], [`${import.meta.dirname}/../../bin/hawser`, ...args.slice(1)]);
      break;
    case "down": {
      const name = args[0] ?? id;
      await remove(name);
      const left = leaks(name);
      if (left.length > 0) throw new Error(`left behind:\n${left.join("\n")}`);
      console.log(`lab ${name} is gone`);
      break;
    }
    case "sweep":
      for (const each of labIds()) {
        if (isWanted(each)) continue;
        await remove(each);
        console.log(`removed lab ${each}, whose maker is gone`);
      }
      break;
    case undefined:
    case "help":
    case "--help":
      process.stdout.write(usage);
      break;
    default:
      process.stderr.write(`there is no command ${JSON.stringify(command)}\n\n${usage}`);
      process.exitCode = 2;
  }
}

function describe(world: World): void {
  for (const host of world.hosts) {
    const parts = [host.containerd, host.dockerd, host.agent].map((part) => `${part.name} ${part.pid() ?? "stopped"}`);
    console.log(`  ${host.name.padEnd(4)} ${host.ipv4.padEnd(14)} ${host.ipv6.padEnd(18)} ${parts.join(", ")}`);
  }
  for (const { name, ipv4, ipv6, process: etcd } of world.etcd?.members ?? []) {
    console.log(`  ${name.padEnd(4)} ${ipv4.padEnd(14)} ${ipv6.padEnd(18)} ${etcd.name} ${etcd.pid() ?? "stopped"}`);
  }
  for (const place of [world.neighbour, world.router, world.outside]) {
    console.log(`  ${place.name.padEnd(4)} ${place.ipv4.padEnd(14)} ${place.ipv6}`);
  }
  console.log(`  logs and state: ${world.directory}`);
}

/** Gives the terminal to a command in a place. */
function enter(name: string | undefined, command: readonly string[]): void {
  const world = openLab(id);
  const all = [...world.hosts, world.neighbour, world.router, world.outside, ...(world.etcd?.members ?? [])];
  const place = all.find((each) => each.name === name);
  if (place === undefined || command.length === 0) {
    const places = all.map((each) => each.name).join(", ");
    process.stderr.write(`${place === undefined ? `there is no place ${JSON.stringify(name ?? "")}; there are ${places}` : `what shall run on ${place.name}?`}\n\n${usage}`);
    process.exitCode = 2;
    return;
  }
  const [file = "", ...rest] = place.command(command);
  process.exitCode = spawnSync(file, rest, { stdio: "inherit" }).status ?? 1;
}

/** Its owner lives, or somebody means to keep it. A world without a file is a ruin. */
function isWanted(each: string): boolean {
  try {
    const { owner } = JSON.parse(readFileSync(`${names(each).directory}/world.json`, "utf8")) as { readonly owner: number };
    return owner === 0 || existsSync(`/proc/${owner}`);
  } catch {
    return false;
  }
}
