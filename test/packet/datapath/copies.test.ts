// What only copies can do, with sockets at both ends: groups of a network, and fragments from the wire that arrive in any order.
//
//   ns a: eth0 10.44.0.2 ── hwaaaaaaaaaaa ┐                ┌ wan0 192.0.2.10 ── lan0 in ns lan 192.0.2.1
//   ns b: eth0 10.44.0.3 ── hwbbbbbbbbbbb ┴─ hwhost .1 ────┘
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import type { Step } from "../../../src/network/types.ts";
import type { PolicyTables } from "../../../src/policy/types.ts";
import { parseCidr } from "../../../src/std/ip.ts";
import { inOwnHost } from "./namespace.ts";
import { doAll } from "./perform.ts";
import { cableA, cableB, desired, endpointA, endpointB, noPolicy, port } from "./plans.ts";
import { inside, plug, prepare } from "./plug.ts";

/** A group that a socket joins, by which address and where a sender speaks to it. */
interface Group {
  readonly family: 4 | 6;
  readonly address: string;
  readonly port: number;
}

const groups: readonly Group[] = [
  { family: 4, address: "239.1.2.3", port: 5353 },
  { family: 6, address: "ff02::123", port: 5353 },
  { family: 4, address: "255.255.255.255", port: 6767 },
  { family: 4, address: "10.44.0.255", port: 6767 },
];

/** Identity 1 is a, 2 is b; what a may say to every group. */
function policyOf(toGroups: "allow" | null, bListens: "allow" | "deny" | null = null): PolicyTables {
  const open = (identity: number) => [identity, { class: identity, denyIn: false, denyOut: false, covered: false }] as const;
  const rule = (ruleset: number, verdict: "allow" | "deny") => ({ ruleset, protocol: null, port: 0, bits: 0, wide: true, verdict, rule: ruleset });
  const pairs = new Map([...(toGroups ? [["out 1 9", 1] as const] : []), ...(bListens ? [["in 2 1", 2] as const] : [])]);
  const ports = new Map([...(toGroups ? [["1 *", rule(1, toGroups)] as const] : []), ...(bListens ? [["2 *", rule(2, bListens)] as const] : [])]);
  const prefixes = new Map(["224.0.0.0/4", "ff00::/8", "255.255.255.255/32", "10.44.0.255/32"].map((text) => [parseCidr(text), 9] as const));
  return { ...noPolicy, classes: new Map([open(1), open(2)]), prefixes, pairs, ports };
}

const identified: readonly Step[] = desired.map((step) => {
  if (step.kind !== "endpoint") return step;
  return { kind: "endpoint", endpoint: step.endpoint === endpointA ? { ...endpointA, identity: 1 } : { ...endpointB, identity: 2 } };
});

await inOwnHost(import.meta.url, {
  "a group that a rule opens is heard by a neighbour that joined it, and by nobody when no rule does (R49)": async (world) => {
    await using datapath = await world.open();
    prepare(world);
    await doAll(datapath.doers, identified);
    const install = (tables: PolicyTables): Promise<void> => datapath.doers.policy.do({ kind: "policy", tables, before: null });
    plug(world, "a", cableA.containerInterface, 2);
    plug(world, "b", cableB.containerInterface, 3);
    for (const group of groups) {
      using listener = listen("b", group);
      await world.until("b has joined", () => listener.output().includes("ready"));
      await install(policyOf(null));
      say("a", group, "closed");
      await install(policyOf("allow", "deny"));
      say("a", group, "refused");
      await install(policyOf("allow"));
      say("a", group, "x".repeat(2000));
      say("a", group, "open");
      await world.until(`b hears ${group.address}`, () => listener.output().includes("open\n"));
      const heard = listener.output().split("\n").filter((line) => line !== "" && line !== "ready");
      assert.deepEqual(heard.map((line) => line.split(" ")[1]), ["x".repeat(2000), "open"], "and the long one arrived in fragments");
      assert.match(heard[0] ?? "", group.family === 4 ? /^10\.44\.0\.2 / : /^(fd44::2|fe80::)/);
    }
    const dropped = datapath.counters().filter(({ direction, reason }) => direction === "from-container" && reason === "multicast");
    assert.ok(dropped.some(({ packets }) => packets >= BigInt(groups.length)));
    assert.ok(datapath.counters().some(({ direction, reason, packets }) => direction === "to-container" && reason === "forwarded" && packets >= 8n));
  },

  "fragments from the wire that arrive in any order make a whole datagram in the container (R47)": async (world) => {
    await using datapath = await world.open();
    prepare(world);
    await doAll(datapath.doers, [{ kind: "policy", tables: policyOf(null), before: null }, ...identified.slice(1)]);
    await datapath.doers.port.do({ kind: "port", port: { ...port, protocol: "udp" } });
    plug(world, "a", cableA.containerInterface, 2);
    using listener = listen("a", { family: 4, address: "10.44.0.2", port: 80 });
    await world.until("a listens", () => listener.output().includes("ready"));
    for (const [i, order] of ["0123", "3210", "1203", "3102", "2013"].entries()) {
      throwFragments("192.0.2.10", 8080, order, 100 + i);
      await world.until(`${order} arrives`, () => listener.output().includes(`192.0.2.1 ${order}${"x".repeat(4092)}\n`));
    }
  },
});


/** Prints `ready`, then each datagram as `SENDER TEXT`. */
function listen(namespace: string, { family, address, port }: Group): Disposable & { output(): string } {
  const program = `
import socket, struct, sys
family, address, port = ${family}, ${JSON.stringify(address)}, ${port}
s = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(("" if family == 4 else "::", port))
index = socket.if_nametoindex("eth0")
if family == 6:
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(socket.AF_INET6, address) + struct.pack("@I", index))
elif address.startswith("239."):
    s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, struct.pack("=4s4si", socket.inet_aton(address), bytes(4), index))
print("ready", flush=True)
while True:
    data, sender = s.recvfrom(65536)
    print(sender[0], data.decode(), flush=True)
`;
  const child = spawn("nsenter", [`--net=/run/netns/${namespace}`, "python3", "-c", program], { stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()));
  return { output: () => text, [Symbol.dispose]: () => void child.kill("SIGKILL") };
}

function say(namespace: string, { family, address, port }: Group, text: string): void {
  inside(namespace, ["python3", "-c", `
import socket
s = socket.socket(socket.AF_INET if ${family} == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
s.sendto(b"${text}", ("${address}", ${port}) if ${family} == 4 else ("${address}", ${port}, 0, socket.if_nametoindex("eth0")))
`]);
}

/** A datagram of 4096 bytes in four fragments, in this order, by a raw socket: the text is the order and then x. */
function throwFragments(host: string, port: number, order: string, id: number): void {
  inside("lan", ["python3", "-c", `
import socket, struct
text = b"${order}" + b"x" * 4092
datagram = struct.pack("!HHHH", 4000, ${port}, 8 + len(text), 0) + text
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
for index in map(int, "${order}"):
    part = datagram[index * 1280:(index + 1) * 1280]
    more = 0x2000 if index < 3 else 0
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(part), ${id}, more | index * 160, 64, 17, 0, socket.inet_aton("192.0.2.1"), socket.inet_aton("${host}"))
    s.sendto(head + part, ("${host}", 0))
`]);
}
