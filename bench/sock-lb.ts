// What sock-lb costs a socket call: the same program in a cgroup with it and in one without, turn by turn (connects.c). Turns are short and the
// lowest tenth of them counts, because others' work only ever adds. Options: --rounds N (60), --count N (10000) calls a turn, --only TEXT. It prints ns and
// what the hooks add, and writes build/bench/sock-lb.json. It runs what `make` built.
import { execFileSync } from "node:child_process";
import { mkdirSync, rmdirSync, writeFileSync } from "node:fs";
import { availableParallelism, release } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { backendCodec, configCodec, frontendKeyCodec } from "../src/abi/generated.ts";
import { cgroupRoot } from "../src/datapath/kernel-facts.ts";
import { createKernel } from "../src/kernel/index.ts";
import type { CgroupHook } from "../src/kernel/types.ts";
import { parseIp, parseMac } from "../src/std/ip.ts";
import { writeServices } from "../test/packet/sock-lb-services.ts";
import { compile, inPrivateHost, root, run } from "./run.ts";
import { quantile, table } from "./summary.ts";

const { values } = parseArgs({ options: { rounds: { type: "string", default: "60" }, count: { type: "string", default: "10000" }, only: { type: "string", default: "" } } });
const config = {
  hostIfindex: 0, hz: 250, hostMac: parseMac("02:48:57:00:00:01"), betweenNetworks: 0, ipv6: 1, ephemeralLow: 32768, ephemeralHigh: 60999, setRetval: 1,
  hostNetnsCookie: 0n, agentPid: 0, publishedDeny: 0, unidentifiedAllow: 0, mark: 0, tunnelIfindex: 0, tunnelPort: 0, probePort: 0, native: 0, tunnelHeader: 0,
  services: 1, lbIpv4: 0, lbIpv6: null, nodeIpv4: 0, nodeIpv6: null, snatFirst: 0, snatPorts: 0,
};
/** With sock-lb it may go elsewhere; without, what it asks for is taken as it is. */
const ways = [
  { name: "connect, no service", call: "connect 10.9.0.1 9" },
  { name: "connect, no service, IPv6", call: "connect fd09::1 9" },
  { name: "connect, a port of the host's that is not published", call: "connect 127.0.0.1 9" },
  { name: "connect, a service", call: "connect 203.0.113.1 9" },
  { name: "connect, a service, IPv6", call: "connect 2001:db8::1 9" },
  { name: "connect of a new socket, no service", call: "fresh 10.9.0.1 9" },
  { name: "connect of a new socket, a service", call: "fresh 203.0.113.1 9" },
  { name: "connect, a published port", call: "connect 127.0.0.1 8080" },
  { name: "send, no service", call: "send 10.9.0.1 9" },
  { name: "send, a service", call: "send 203.0.113.1 9" },
] as const;
const hooks: readonly CgroupHook[] = ["connect4", "connect6", "sendmsg4", "sendmsg6", "recvmsg4", "recvmsg6", "getpeername4", "getpeername6", "bind4", "bind6"];

await inPrivateHost(import.meta.url, async () => {
  const folder = join(root, "build/bench");
  mkdirSync(folder, { recursive: true });
  for (const line of ["link set lo up", "link add sink type veth peer name drain", "link set sink up", "link set drain up", "address add 10.9.0.254/24 dev sink", "-6 address add fd09::fe/64 dev sink nodad",
    "route add 203.0.113.0/24 dev sink", "-6 route add 2001:db8::/64 dev sink",
    "neighbour add 10.9.0.1 lladdr 02:00:00:00:00:01 dev sink", "neighbour add 203.0.113.1 lladdr 02:00:00:00:00:01 dev sink"]) run(`ip ${line}`);
  const tool = compile("connects");
  const name = `hwt-bench-${process.pid}`;
  const [watched, free] = ["with", "without"].map((one) => join(cgroupRoot(), `${name}-${one}`)) as [string, string];
  for (const path of [watched, free]) mkdirSync(path);
  try {
    const kernel = createKernel();
    using stack = new DisposableStack();
    const object = stack.use(await kernel.loadObject(join(root, "build/bpf/sock-lb.bpf.o"), { rodata: { hw_config: configCodec.encode(config) } }));
    const map = (wanted: string) => {
      const found = object.maps.get(wanted);
      if (found === undefined) throw new Error(`no map ${wanted}`);
      return found;
    };
    for (const hook of hooks) {
      const program = object.programs.get(hook);
      if (program === undefined) throw new Error(`no program ${hook}`);
      stack.use(kernel.attachCgroup(program, watched, hook));
    }
    const services = stack.use(writeServices(map));
    services.backend(1, "10.9.0.1@9");
    services.backend(2, "fd09::1@9");
    for (let i = 1; i <= 10_000; i++) {
      services.service(i, Array.from({ length: 3 }, () => 1 + (i % 2)));
      services.frontend(i % 2 === 0 ? (i === 2 ? "203.0.113.1@9" : `203.1.${i >> 8}.${i & 255}@9`) : i === 1 ? "2001:db8::1@9" : `2001:db8:1::${i.toString(16)}@9`, i === 1 ? 1 : i);
    }
    services.service(2, [1, 1, 1]);
    services.service(1, [2, 2, 2]);
    for (let port = 8080; port < 9080; port++) {
      map("hw_frontends").set(frontendKeyCodec.encode({ addr: parseIp("0.0.0.0"), port, proto: 17 }), backendCodec.encode({ addr: parseIp("10.9.0.1"), port: 9, network: 1 }));
    }
    const cpu = availableParallelism() - 1;
    const time = (cgroup: string, call: string): number =>
      Number(execFileSync("sh", ["-c", `echo $$ > ${cgroup}/cgroup.procs && exec taskset -c ${cpu} ${tool} ${call} ${values.count}`], { encoding: "utf8" }));
    const rows = ways.filter(({ name: way }) => way.includes(values.only)).map(({ name: way, call }) => {
      const pairs = Array.from({ length: Number(values.rounds) }, () => [time(free, call), time(watched, call)] as const);
      const [without, hooked] = [0, 1].map((side) => quantile(pairs.map((pair) => pair[side] ?? 0), 0.1)) as [number, number];
      return { way, without, with: hooked, added: hooked - without };
    });
    console.log(table([["", "without", "with", "added"], ...rows.map((row) => [row.way, ...[row.without, row.with, row.added].map((ns) => String(Math.round(ns)))])]));
    writeFileSync(join(folder, "sock-lb.json"), `${JSON.stringify({ kernel: release(), rounds: Number(values.rounds), count: Number(values.count), rows }, null, 2)}\n`);
  } finally {
    for (const path of [watched, free]) rmdirSync(path);
  }
});
