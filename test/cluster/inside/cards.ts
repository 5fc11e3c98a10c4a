// A host whose uplink is one of the virtual machine's network cards, virtio devices on one switch, and what it makes of services' packets.
//
//   ns a: eth0 10.44.0.2 ── hwaaaaaaaaaaa ─ wan0 192.0.2.10 ══ lan0 192.0.2.1, 198.18.5.1 in ns lan: clients, servers, the other node
//                                           wan1 198.18.5.10 ══╝
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import type { Datapath, DatapathOptions } from "../../../src/datapath/types.ts";
import type { LinkInfo } from "../../../src/kernel/types.ts";
import { advance, noBalancing } from "../../../src/lb/plan.ts";
import { readServices } from "../../../src/lb/read.ts";
import type { ServicePlan, ServingContainer } from "../../../src/lb/types.ts";
import type { Ip } from "../../../src/std/ip.ts";
import { patience } from "../../lab/run.ts";
import type { Case, World } from "../../packet/datapath/namespace.ts";
import { cluster, local, setUp } from "../../packet/datapath/nodes.ts";
import { routing } from "../../packet/datapath/other-node.ts";
import { inside, ping } from "../../packet/datapath/plug.ts";
import { describe, frame, ip, tcp } from "../../packet/packets.ts";

/** By MAC, as test/cluster/vm makes them. */
export const cards = {
  /** A queue for each CPU, and one more for each to send by out of XDP. */
  wide: "52:54:00:00:00:01",
  client: "52:54:00:00:00:02",
  /** One queue. */
  narrow: "52:54:00:00:00:03",
  /** Its hypervisor goes on joining what it receives for it, whatever the guest asks. */
  joining: "52:54:00:00:00:04",
} as const;

const text = `service: server
frontends: ["203.0.113.20:80", "[2001:db8:5::20]:80"]
backends: [{ address: "192.0.2.1:80" }, { address: "[2001:db8:1::1]:80" }]
mode: dsr
health: { kind: none }
---
service: aside
frontends: ["203.0.113.21:80"]
backends: [{ address: "198.18.5.1:80" }]
mode: dsr
health: { kind: none }
---
service: there
frontends: ["203.0.113.30:80"]
backends: [{ select: { network: shop, label: at=there }, port: 8080 }]
health: { kind: none }
---
service: here
frontends: ["203.0.113.10:80"]
backends: [{ select: { network: shop, label: at=here }, port: 8080 }]
health: { kind: none }
`;
const container = (node: string, at: string, ipv4: string): ServingContainer =>
  ({ node, id: `${at}#1`, name: at, network: "shop", project: null, service: null, ipv4: ipv4 as Ip, ipv6: null, labels: { at }, stopping: false });
const plansOf = (): readonly ServicePlan[] => advance(noBalancing, {
  services: readServices([{ file: "all.yaml", text }]), containers: [container("n1", "here", "10.44.0.2"), container("other", "there", "10.44.1.2")],
  mode: "auto", largestTable: 1021, now: Date.now(),
}).plans;

export interface CardScene {
  readonly world: World;
  readonly datapath: Datapath;
  /** What takes a device's frames first; null: nothing. */
  xdp(device: string): Promise<LinkInfo["xdp"]>;
  /** Sends so many frames to each service, of which each comes back wrapped as it ought to be, and bytes to the container here, which come back as they were. Returns how many frames that was. */
  carries(frames: number): Promise<number>;
}

export interface CardOptions {
  readonly uplink: string;
  /** Another uplink's. */
  readonly second?: string;
  readonly changes?: Partial<DatapathOptions>;
}

export function onCards({ uplink, second, changes = {} }: CardOptions, body: (scene: CardScene) => Promise<void>): Case {
  return async (world) => {
    using _cards = takeCards(world, uplink, second);
    await using datapath = await world.open({ devices: ["wan0", ...(second === undefined ? [] : ["wan1"])], routing, ...changes });
    await setUp(world, datapath, [...local, cluster()]);
    for (const words of ["-6 address add 2001:db8:1::1/64 dev lan0 nodad", "address add 198.18.5.1/24 dev lan0", "route add 203.0.113.0/24 via 192.0.2.10"]) world.ip(`-n lan ${words}`);
    using _server = echo();
    await datapath.doers.services.do({ kind: "services", plans: plansOf(), before: null });
    // The balancer knows no neighbours that nobody has asked for.
    for (const target of ["192.0.2.10", "2001:db8:1::10", ...(second === undefined ? [] : ["198.18.5.10"])]) ping("lan", target);
    await body({
      world, datapath,
      xdp: async (device) => (await world.netlink.link(device))?.xdp ?? null,
      carries: (frames) => carries(world, frames, second !== undefined),
    });
  };
}

/** Puts cards into the places of a case's wan0 and lan0. Disposed, the machine has them back. */
function takeCards({ ip: run }: World, uplink: string, second: string | undefined): Disposable {
  if (process.env["HAWSER_VM"] === undefined) throw new Error("this needs the virtual machine's cards: run test/cluster/vm 6.1 test/cluster/inside/virtio.test.ts");
  execFileSync("modprobe", ["virtio_net"]);
  run("link delete wan0");
  const taken = [["wan0", uplink], ["lan0", cards.client], ...(second === undefined ? [] : [["wan1", second] as const])] as const;
  for (const [name, mac] of taken) outside(`link set dev ${nameOf(mac)} netns ${process.pid} name ${name}`);
  for (const words of [
    "address add 192.0.2.10/24 dev wan0", "-6 address add 2001:db8:1::10/64 dev wan0 nodad", "link set wan0 up", "route add default via 192.0.2.1",
    ...(second === undefined ? [] : ["address add 198.18.5.10/24 dev wan1", "link set wan1 up"]),
  ]) run(words);
  return {
    [Symbol.dispose]: () => {
      for (const [name, mac] of taken) run(`${name === "lan0" ? "-n lan " : ""}link set dev ${name} down netns 1 name card${mac.slice(-1)}`);
    },
  };
}

/** `ip`, in the machine's own namespace. */
function outside(words: string): string {
  return execFileSync("nsenter", ["--net=/proc/1/ns/net", "ip", ...words.split(" ")], { encoding: "utf8" });
}

function nameOf(mac: string): string {
  const links = JSON.parse(outside("-j link show")) as readonly { readonly ifname: string; readonly address: string }[];
  const found = links.find(({ address }) => address === mac);
  if (found === undefined) throw new Error(`the machine has no card ${mac}`);
  return found.ifname;
}

/** Serves the container's port with what it is told. */
function echo(): Disposable {
  const program = 'require("net").createServer({ allowHalfOpen: true }, (s) => s.pipe(s)).listen(8080, "0.0.0.0")';
  const child = spawn("nsenter", ["--net=/run/netns/a", process.execPath, "-e", program], { stdio: "ignore" });
  return { [Symbol.dispose]: () => void child.kill("SIGKILL") };
}

/** Sends each frame out of lan0, and prints the next that comes in there with something wrapped in it. */
const prober = `
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind(("lan0", 0))
s.settimeout(${patience})
def wrapped(data):
    kind = data[12:14].hex()
    return kind == "0800" and data[23] in (4, 17, 41) or kind == "86dd" and data[20] in (4, 41)
for line in sys.stdin:
    s.send(bytes.fromhex(line))
    try:
        while True:
            data, where = s.recvfrom(65536)
            if where[2] != socket.PACKET_OUTGOING and wrapped(data):
                print(data.hex())
                break
    except TimeoutError:
        print()
`;

/** Says 256 KiB to the service while it reads them back. */
const uploader = `
import os, socket, threading
s = socket.create_connection(("203.0.113.10", 80), timeout=${20 * patience})
sent = os.urandom(1 << 18)
def say():
    s.sendall(sent)
    s.shutdown(socket.SHUT_WR)
threading.Thread(target=say, daemon=True).start()
got = b""
while piece := s.recv(1 << 16):
    got += piece
print("same" if got == sent else f"{len(got)} other bytes")
`;

/** Begins every Geneve header: the length of options, a critical one among them, and Ethernet inside. */
const geneve = "03406558";

async function carries(world: World, frames: number, aside: boolean): Promise<number> {
  const macOf = (device: string, namespace = ""): string =>
    (JSON.parse(world.ip(`${namespace}-j link show dev ${device}`)) as readonly { readonly address: string }[])[0]?.address ?? "";
  const [client, own] = [macOf("lan0", "-n lan "), macOf("wan0")];
  const wanted = ([
    ["198.51.100.7", "203.0.113.20", own, "192.0.2.10 > 192.0.2.1 ipip"],
    ["2001:db8:c::7", "2001:db8:5::20", own, "2001:db8:1::10 > 2001:db8:1::1 ipip"],
    ["198.51.100.7", "203.0.113.30", own, "geneve"],
    ...(aside ? [["198.51.100.7", "203.0.113.21", macOf("wan1"), "192.0.2.10 > 198.18.5.1 ipip"] as const] : []),
  ] as const).flatMap(([from, to, source, outer]) => Array.from({ length: frames }, (_, i) => ({ packet: ip(from, to, tcp(5000 + i, 80, "A", "GET /")), source, outer })));
  const sent = wanted.map(({ packet }) => Buffer.from(frame(client, own, packet)).toString("hex"));
  const back = execFileSync("nsenter", ["--net=/run/netns/lan", "python3", "-c", prober], { encoding: "utf8", input: `${sent.join("\n")}\n` }).split("\n").map((line) => Buffer.from(line, "hex"));
  wanted.forEach(({ packet, source, outer }, i) => {
    const [got = Buffer.alloc(0), whole = ""] = [back[i], sent[i]];
    const inner = describe(Buffer.from(whole, "hex")).slice(`${client} > ${own} `.length);
    if (outer === "geneve") {
      assert.match(describe(got), new RegExp(`^${source} > ${client} 192\\.0\\.2\\.10:\\d+ > 192\\.0\\.2\\.1:\\d+ udp unsummed ttl 64$`), `${inner} came as ${got.toString("hex")}`);
      assert.equal(got.subarray(42, 46).toString("hex"), geneve);
      assert.equal(got.subarray(-whole.length / 2).toString("hex"), whole, "the frame itself, as it came");
    } else {
      assert.equal(describe(got), `${source} > ${client} ${outer} { ${inner} } ttl 64`, got.toString("hex"));
      assert.equal(got.subarray(-packet.bytes.length).toString("hex"), Buffer.from(packet.bytes).toString("hex"), "the packet itself, as it came");
    }
  });
  await world.until("the container is served", () => inside("lan", ["python3", "-c", "import socket\nwith socket.socket() as s: print(s.connect_ex(('203.0.113.10', 80)))"]).trim() === "0");
  assert.equal(execFileSync("nsenter", ["--net=/run/netns/lan", "python3", "-c", uploader], { encoding: "utf8" }).trim(), "same");
  return wanted.length;
}

/** Of the driver's own statistics, over all queues; from 6.9 on it tells their sum as well. */
export function counted(device: string, what: "xdp_tx" | "xdp_redirects" | "xdp_drops"): number {
  const lines = execFileSync("ethtool", ["-S", device], { encoding: "utf8" }).matchAll(new RegExp(`rx(?:\\d+|_queue_\\d+)_${what}: (\\d+)`, "g"));
  return [...lines].reduce((sum, [, count]) => sum + Number(count), 0);
}
