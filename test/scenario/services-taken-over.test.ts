// In the middle of a change the balancing node is gone, and another takes over that has seen none of the flows: each finds its backend.
//
//   a: balances first   b: web1 (shop)   c: web2 (shop), added later
//   └──────────┬────────────┴────────────────┴── LAN ── router ── outside ── streams to 198.18.7.7:80
import { writeFileSync } from "node:fs";
import test from "ava";
import { clusterScene, meet } from "../lab/cluster.ts";
import type { Host } from "../lab/host.ts";
import type { Stream } from "../lab/place.ts";
import { waitFor } from "../lab/run.ts";

const stage = clusterScene(test);
const address = "198.18.7.7";
const text = `service: web
frontends: ["${address}:80"]
backends: [{ select: { network: shop, label: app=web }, port: 7000 }]
health: { kind: none }
`;

/** Opens connections and, told by a file, sends a megabyte by each and compares the echo: how many were right. */
const bulk = (count: number, told: string): string => `
import os, socket, threading, time
socks = [socket.create_connection(("${address}", 80), timeout=20) for _ in range(${count})]
for one in socks:
    while not one.recv(1) == b"\\n": pass
print("connected", flush=True)
while not os.path.exists("${told}"): time.sleep(0.05)
body, right = os.urandom(1 << 20), 0
for one in socks:
    threading.Thread(target=one.sendall, args=(body,), daemon=True).start()
    got = b""
    try:
        while len(got) < len(body):
            piece = one.recv(1 << 16)
            if not piece: break
            got += piece
    except OSError: pass
    right += got == body
print(right, "right", flush=True)
`;

const serving = async (host: Host): Promise<number> => {
  const [web] = (await host.json("service", "list")) as readonly { readonly backends: readonly unknown[] }[];
  return web?.backends.length ?? 0;
};

test.serial("connections of before a change and of after it go on when another node takes over, and again when a third does (C6)", async (t) => {
  t.timeout(240_000);
  const { a, b, c, world: { outside, router, directory, hosts } } = stage;
  const by = (host: Host): Promise<unknown> => router.run(["ip", "route", "replace", address, "via", host.ipv4]);
  await stage.network("shop");
  await by(a);
  const file = `${directory}/web.yaml`;
  writeFileSync(file, text);
  const web1 = await stage.container(b, "web1", "shop", "--label", "app=web");
  await using _one = await web1.serve({ tcp: [7000] });
  await a.hawser(["service", "apply", file]);
  for (const host of hosts) await waitFor(`${host.name} to know web1`, async () => (await serving(host)) === 1);
  const streams: Stream[] = [];
  try {
    for (let i = 0; i < 4; i++) streams.push(await outside.stream(address, 80));

    const web2 = await stage.container(c, "web2", "shop", "--label", "app=web");
    await using _two = await web2.serve({ tcp: [7000] });
    await meet([web1, web2]);
    for (const host of hosts) await waitFor(`${host.name} to know web2`, async () => (await serving(host)) === 2);
    for (let i = 0; i < 8; i++) streams.push(await outside.stream(address, 80));
    const atWeb2 = Number(await web2.sh("ss -Htn state established sport = :7000 | wc -l"));
    t.true(atWeb2 > 0 && atWeb2 < 8, `${atWeb2} of the 8 of after the change are web2's, and by no node but a is it known which`);

    const told = `${directory}/told`;
    await using uploads = outside.start(["/usr/bin/python3", "-c", bulk(8, told)]);
    await uploads.says("connected");

    let port = 5000;
    for (const host of [b, c, a]) {
      await by(host);
      await Promise.all(streams.map((stream) => stream.progress(20)));
      // What opens there is in order, too.
      for (let i = 0; i < 8; i++, port++) t.is(await outside.ask("tcp", address, 80, { sourcePort: port, timeout: 10 }), `${outside.ipv4} ${port}`, host.name);
    }
    await by(b);
    // Uplinks here are as wide as the clients' way, and services' headers come on top: clients must be told (R78). By right sums, which nobody behind makes.
    await b.run(["ethtool", "-K", "eth0", "tx", "off"]);
    writeFileSync(told, "");
    await uploads.says("8 right", 60_000);
    for (const stream of streams) {
      const { error, exchanges } = await stream.report();
      t.is(error, null);
      t.true(exchanges > 60);
    }
  } finally {
    for (const stream of streams) await stream[Symbol.asyncDispose]();
    await a.hawser(["service", "delete", "web"]);
  }
});
