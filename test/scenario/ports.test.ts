// Published ports, asked from everywhere.
//
//   a: web (shop)   other (yard)      nb ── LAN ── router ── outside
//      every arrow ends at a:PORT
import test from "ava";
import { expectDrops, some } from "../lab/drops.ts";
import { scene } from "../lab/scenario.ts";
import type { Place } from "../lab/place.ts";

const stage = scene(test);

/** A container on `shop` that serves TCP and UDP 7000. */
async function server(...options: readonly string[]): Promise<Place> {
  const { host } = stage;
  await host.network("shop", "--ipv6");
  await host.container("web", ["--network", "shop", ...options]);
  return host.inside("web");
}

const publish = ["-p", "8080:7000", "-p", "8080:7000/udp"] as const;

test.serial("clients on the LAN and beyond reach a published port, and the container sees their address and port", async (t) => {
  const { host, world: { neighbour, outside } } = stage;
  const web = await server(...publish);
  await using _serving = await web.serve({ tcp: [7000], udp: [7000] });
  const before = await host.drops();
  for (const client of [neighbour, outside]) {
    for (const protocol of ["tcp", "udp"] as const) {
      t.is(await client.ask(protocol, host.ipv4, 8080, { sourcePort: 4242 }), `${client.ipv4} 4242`);
      t.is(await client.ask(protocol, host.ipv6, 8080, { sourcePort: 4243 }), `${client.ipv6} 4243`);
    }
    t.is(await client.ask("udp", host.ipv4, 8080, { size: 6000, sourcePort: 4244 }), `${client.ipv4} 4244`, "in fragments too");
    t.is(await client.ask("udp", host.ipv6, 8080, { size: 6000, sourcePort: 4245 }), `${client.ipv6} 4245`);
  }
  await expectDrops(host, before, {});
});

test.serial("the host itself reaches a published port by 127.0.0.1, by ::1, by localhost and by its addresses", async (t) => {
  const { host } = stage;
  const web = await server(...publish);
  await using _serving = await web.serve({ tcp: [7000], udp: [7000] });
  const before = await host.drops();
  for (const address of ["127.0.0.1", "::1", host.ipv4, host.ipv6]) {
    t.regex(await host.ask("tcp", address, 8080), /^\S+ \d+$/, `tcp ${address}`);
    t.regex(await host.ask("udp", address, 8080), /^\S+ \d+$/, `udp ${address}`);
  }
  await expectDrops(host, before, {});
});

test.serial("a container reaches a port published by another network's container, and its own, through the host's address", async (t) => {
  const { host } = stage;
  const web = await server(...publish);
  await host.network("yard", "--ipv6");
  await host.container("other", ["--network", "yard"]);
  await host.container("peer", ["--network", "shop"]);
  await using _serving = await web.serve({ tcp: [7000], udp: [7000] });
  const before = await host.drops();
  for (const name of ["other", "peer", "web"]) {
    const client = await host.inside(name);
    for (const address of [host.ipv4, host.ipv6]) {
      t.regex(await client.ask("tcp", address, 8080), /^\S+ \d+$/, `${name} by tcp ${address}`);
      t.regex(await client.ask("udp", address, 8080), /^\S+ \d+$/, `${name} by udp ${address}`);
    }
  }
  await expectDrops(host, before, {});
});

test.serial("a port published on 127.0.0.1 is for the host alone, whatever arrives from the LAN (R45)", async (t) => {
  const { host, world: { neighbour } } = stage;
  const web = await server("-p", "127.0.0.1:8081:7000", "-p", "127.0.0.1:8081:7000/udp");
  await using _serving = await web.serve({ tcp: [7000], udp: [7000] });
  const before = await host.drops();
  t.regex(await host.ask("tcp", "127.0.0.1", 8081), /^\S+ \d+$/);
  t.regex(await host.ask("udp", "127.0.0.1", 8081), /^\S+ \d+$/);
  t.is(await host.ask("tcp", host.ipv4, 8081), "ECONNREFUSED");
  t.is(await neighbour.ask("tcp", host.ipv4, 8081, { timeout: 1 }), "ECONNREFUSED");
  const received = async (): Promise<string> => web.sh("awk '/^Udp:/ && $2 != \"InDatagrams\" { print $2 }' /proc/net/snmp");
  const datagrams = await received();
  const mac = /lladdr (\S+)/.exec(await neighbour.sh(`ping -c1 ${host.ipv4} > /dev/null; ip neigh show ${host.ipv4}`))?.[1] ?? "";
  await neighbour.frames("udp4", { source: neighbour.ipv4, target: "127.0.0.1", port: 8081, targetMac: mac, count: 3 });
  t.is(await received(), datagrams);
  await expectDrops(host, before, { MARTIAN: 3 });
});

test.serial("a port published on one host address is published there only", async (t) => {
  const { host, world: { outside } } = stage;
  await host.sh("ip address add 10.99.0.50/24 dev eth0");
  try {
    const web = await server("-p", "10.99.0.50:8082:7000");
    await using _serving = await web.serve({ tcp: [7000] });
    const before = await host.drops();
    t.regex(await outside.ask("tcp", "10.99.0.50", 8082), new RegExp(`^${outside.ipv4} `));
    t.is(await outside.ask("tcp", host.ipv4, 8082), "ECONNREFUSED");
    t.regex(await host.ask("tcp", "10.99.0.50", 8082), /^\S+ \d+$/);
    t.is(await host.ask("tcp", "127.0.0.1", 8082), "ECONNREFUSED");
    await expectDrops(host, before, {});
  } finally {
    await host.sh("ip address del 10.99.0.50/24 dev eth0");
  }
});

test.serial("ranges and ephemeral host ports work, and `hawser port` tells them", async (t) => {
  const { host, world: { outside } } = stage;
  const web = await server("-p", "9000-9002:7000-7002", "-p", "9100-9110:7000", "-p", "7001");
  await using _serving = await web.serve({ tcp: [7000, 7001, 7002] });
  const before = await host.drops();
  for (const port of [9000, 9001, 9002]) t.regex(await outside.ask("tcp", host.ipv4, port), /^\S+ \d+$/, `port ${port}`);
  const ports = (await host.json("port", "web")) as readonly { readonly containerPort: number; readonly hostPort: number }[];
  const hostPortsOf = (port: number): readonly number[] => [...new Set(ports.filter((each) => each.containerPort === port).map((each) => each.hostPort))];
  const inRange = hostPortsOf(7000).find((port) => port >= 9100 && port <= 9110);
  const ephemeral = hostPortsOf(7001).find((port) => port !== 9001);
  for (const port of [inRange, ephemeral]) {
    t.regex(await outside.ask("tcp", host.ipv4, port ?? 0), /^\S+ \d+$/, `port ${port}`);
    t.regex(await outside.ask("tcp", host.ipv6, port ?? 0), /^\S+ \d+$/, `port ${port}`);
  }
  t.regex((await host.hawser(["port", "web"])).stdout, /7000\/tcp -> 0\.0\.0\.0:9000/);
  await expectDrops(host, before, {});
});

test.serial("a taken port is refused with a sentence that names it, and leaves nothing", async (t) => {
  const { host } = stage;
  await server(...publish);
  const twice = await host.dockerOutput(["run", "-d", "--name", "second", "--network", "shop", "-p", "8080:80", "hawser/busybox", "sleep", "infinity"]);
  t.not(twice.code, 0);
  t.regex(twice.stderr, /8080/);
  t.regex(twice.stderr, /in use|taken|published|held/i);
  await using _program = await host.serve({ tcp: [8085] });
  const held = await host.dockerOutput(["run", "-d", "--name", "third", "--network", "shop", "-p", "8085:80", "hawser/busybox", "sleep", "infinity"]);
  t.not(held.code, 0, "a program of the host's own holds it");
  t.regex(held.stderr, /8085/);
  await t.throwsAsync(host.serve({ tcp: [8080], bind: "0.0.0.0" }), { message: /Permission|in use|not permitted/ }, "and a program cannot take a published one");
  await host.docker("rm", "-f", "second", "third");
  await host.container("fourth", ["--network", "shop", "-p", "8086:80"]);
});

test.serial("a port is closed when its container stops and free for the next", async (t) => {
  const { host, world: { neighbour } } = stage;
  const web = await server(...publish);
  {
    await using _serving = await web.serve({ tcp: [7000] });
    t.regex(await neighbour.ask("tcp", host.ipv4, 8080), /^\S+ \d+$/);
  }
  await host.docker("rm", "-f", "web");
  t.is(await neighbour.ask("tcp", host.ipv4, 8080), "ECONNREFUSED");
  t.is(await neighbour.ask("udp", host.ipv4, 8080), "ECONNREFUSED");
  await host.container("next", ["--network", "shop", ...publish]);
  const next = await host.inside("next");
  await using _serving = await next.serve({ tcp: [7000] });
  t.regex(await neighbour.ask("tcp", host.ipv4, 8080), /^\S+ \d+$/);
});

test.serial("a neighbour that routes straight to a container's address is dropped, published port or not (R44)", async (t) => {
  const { host, world: { neighbour } } = stage;
  const web = await server(...publish);
  await using _serving = await web.serve({ tcp: [7000], udp: [7000] });
  const before = await host.drops();
  await neighbour.sh(`ip route add ${web.ipv4} via ${host.ipv4}; ip -6 route add ${web.ipv6} via ${host.ipv6}`);
  for (const address of [web.ipv4, web.ipv6]) {
    t.is(await neighbour.ask("tcp", address, 7000, { timeout: 1 }), "TIMEOUT");
    t.is(await neighbour.ask("udp", address, 7000, { timeout: 1 }), "TIMEOUT");
    t.not((await neighbour.run(["ping", "-c1", "-W1", address], { mayFail: true })).code, 0);
  }
  await neighbour.sh(`ip route del ${web.ipv4}; ip -6 route del ${web.ipv6}`);
  await expectDrops(host, before, { DIRECT_ACCESS: some });
});
