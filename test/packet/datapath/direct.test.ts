// Tunnels whose headers our programs write and read, beside the host's stack: what they carry whole, and what they leave to the kernel's device.
//
//   ns a: eth0 10.44.0.2 ── hwaaaaaaaaaaa ┐
//   ns b: eth0 10.44.0.3 ── hwbbbbbbbbbbb ┴─ hwtun ── wan0 192.0.2.10 ══ lan0 192.0.2.1 in ns lan ── vx (key 300) 10.44.1.2, fd44:0:0:1::2
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { inOwnHost } from "./namespace.ts";
import type { World } from "./namespace.ts";
import { cluster, dropped, identity, local, setUp } from "./nodes.ts";
import { otherNode, routing } from "./other-node.ts";
import { inside, ping } from "./plug.ts";

interface Stats {
  readonly rx: { readonly packets: number };
  readonly tx: { readonly packets: number };
}

/** Packets that the tunnel's device has wrapped and unwrapped. */
function byDevice({ ip }: World): { readonly sent: number; readonly received: number } {
  const [{ stats64: { rx, tx } }] = JSON.parse(ip("-j -s link show hwtun")) as [{ readonly stats64: Stats }];
  return { sent: tx.packets, received: rx.packets };
}

const untouched = { sent: 0, received: 0 };

const large = (from: string, to: string): boolean => {
  try {
    inside(from, ["ping", "-c1", "-W1", "-s8000", to]);
    return true;
  } catch {
    return false;
  }
};

const receiver = `
import hashlib, socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((sys.argv[1], 7000)); s.listen(1)
print("ready", flush=True)
c, _ = s.accept()
digest, size = hashlib.sha256(), 0
while part := c.recv(1 << 16): digest.update(part); size += len(part)
print(size, digest.hexdigest(), flush=True)
`;

const sender = `
import hashlib, random, socket, sys
data = random.Random(7).randbytes(int(sys.argv[2]))
s = socket.create_connection((sys.argv[1], 7000), 5); s.sendall(data); s.close()
print(len(data), hashlib.sha256(data).hexdigest())
`;

async function streams(from: string, to: string, address: string, size: number): Promise<void> {
  const child = spawn("nsenter", [`--net=/run/netns/${to}`, "python3", "-c", receiver, address], { stdio: ["ignore", "pipe", "inherit"] });
  const lines = linesOf(child);
  assert.equal((await lines.next()).value, "ready");
  const sent = inside(from, ["python3", "-c", sender, address, String(size)]).trim();
  assert.equal((await lines.next()).value, sent);
}

async function* linesOf(child: ChildProcess): AsyncGenerator<string> {
  let text = "";
  for await (const chunk of child.stdout ?? []) {
    text += String(chunk);
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
      yield text.slice(0, end);
      text = text.slice(end + 1);
    }
  }
}

/** Segments with a wrong checksum that the namespace's TCP has met. */
function wrong(namespace: string): string {
  return inside(namespace, ["nstat", "-asz", "TcpInCsumErrors", "UdpInCsumErrors", "Udp6InCsumErrors"]).match(/Errors\s+[1-9]\d*/g)?.join() ?? "";
}

const offloads: Readonly<Record<string, readonly string[]>> = {
  "every offload": [],
  "no segmentation of tunnels": ["tx-udp_tnl-segmentation", "off", "tx-udp_tnl-csum-segmentation", "off"],
  "no segmentation": ["tso", "off", "gso", "off"],
  "no offload at all, merged on arrival": ["tx", "off", "gso", "off", "gro", "on"],
};

await inOwnHost(import.meta.url, {
  "what containers and the host send and get, small and large, never meets the tunnel's device": async (world) => {
    await using datapath = await world.open({ routing });
    await setUp(world, datapath, [...local, cluster()]);
    otherNode(world, identity);
    for (const target of ["10.44.1.2", "fd44:0:0:1::2"]) ping("a", target);
    for (const target of ["10.44.0.2", "fd44::2"]) ping("lan", target);
    world.ip("-n lan link set vx mtu 1400");
    // In fragments inside; the first may be lost to finding out how wide the way is.
    for (const target of ["10.44.1.2", "fd44:0:0:1::2"]) await world.until(`8000 bytes to ${target}`, () => large("a", target));
    for (const target of ["10.44.0.2", "fd44::2"]) await world.until(`8000 bytes to ${target}`, () => large("lan", target));
    assert.deepEqual(byDevice(world), untouched);
    assert.ok(datapath.counters().some((row) => row.direction === "from-overlay" && row.reason === "forwarded" && row.packets >= 10n));
  },

  ...Object.fromEntries(Object.entries(offloads).map(([title, words]) => [
    `a stream arrives as it was sent, both ways, over IPv4 and IPv6: ${title} on the wire`, async (world: World) => {
      await using datapath = await world.open({ routing });
      await setUp(world, datapath, [...local, cluster()]);
      otherNode(world, identity);
      if (words.length > 0) {
        inside("lan", ["ethtool", "-K", "lan0", ...words]);
        execFileSync("ethtool", ["-K", "wan0", ...words]);
      }
      for (const [mine, theirs] of [["10.44.0.2", "10.44.1.2"], ["fd44::2", "fd44:0:0:1::2"]] as const) {
        await streams("a", "lan", theirs, 8_000_000);
        await streams("lan", "a", mine, 8_000_000);
      }
      assert.equal(wrong("a") + wrong("lan"), "");
      assert.deepEqual(byDevice(world), untouched);
    },
  ])),

  "with a checksum outside, or in fragments, what arrives is the device's": async (world) => {
    await using datapath = await world.open({ routing });
    await setUp(world, datapath, [...local, cluster()]);
    const received = (): number => byDevice(world).received;
    otherNode(world, identity, "192.0.2.1", "udpcsum");
    ping("lan", "10.44.0.2");
    const before = received();
    assert.ok(before > 0);
    world.ip("-n lan link delete vx");
    otherNode(world, identity);
    ping("lan", "10.44.0.2");
    assert.equal(received(), before);
    world.ip("-n lan route add 192.0.2.10/32 dev lan0 mtu lock 1300");
    world.ip("-n lan link set vx mtu 1400");
    inside("lan", ["ping", "-c1", "-W2", "-Mdont", "-s1372", "10.44.0.2"]);
    assert.equal(received(), before + 1);
    assert.equal(dropped(datapath, "fragment-without-first"), 0n);
  },

  "where the way is too narrow, the device sends, and cuts up what it must": async (world) => {
    await using datapath = await world.open({ routing });
    await setUp(world, datapath, [...local, cluster()]);
    otherNode(world, identity);
    world.ip("route add 192.0.2.1/32 dev wan0 mtu lock 600");
    inside("a", ["ping", "-c1", "-W2", "-s1000", "10.44.1.2"]);
    assert.equal(byDevice(world).sent, 1);
    world.ip("route del 192.0.2.1/32");
    inside("a", ["ping", "-c1", "-W2", "-s1000", "10.44.1.2"]);
    assert.equal(byDevice(world).sent, 1);
  },
});
