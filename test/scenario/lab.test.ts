// The lab itself, on Docker's own bridge, so that a scenario that fails tells of Hawser and not of its surroundings.
// Runs alone: it compares the machine's own links.
//
//   a ── c1          b ── c2        nb
//   └────────┬───────┴──────────────┘ LAN
//         router ── outside
import test from "ava";
import { lab, openLab } from "../lab/world.ts";
import { leaks } from "../lab/remove.ts";
import { run } from "../lab/run.ts";
import { scene } from "../lab/scenario.ts";

const stage = scene(test, { hosts: 2, agent: false });

test.serial("every place reaches every other over IPv4 and IPv6", async (t) => {
  const { hosts, neighbour, router, outside } = stage.world;
  for (const from of [...hosts, neighbour, outside]) {
    for (const to of [...hosts, neighbour, router, outside]) {
      t.is((await from.run(["ping", "-c1", "-W2", to.ipv4], { mayFail: true })).code, 0, `${from.name} to ${to.ipv4}`);
      t.is((await from.run(["ping", "-6", "-c1", "-W2", to.ipv6], { mayFail: true })).code, 0, `${from.name} to ${to.ipv6}`);
    }
  }
});

test.serial("each host has its own Docker, whose containers reach the outside and are reached through published ports", async (t) => {
  const { hosts, outside } = stage.world;
  await using _server = await outside.serve({ tcp: [7000] });
  await Promise.all(hosts.map((host) => host.container("web", ["-p", "8080:80"], ["httpd", "-f", "-p", "80", "-h", "/www"])));
  for (const host of hosts) {
    t.is(await host.docker("ps", "--format", "{{.Names}}"), "web");
    t.is(await outside.sh(`curl -sS -m 3 http://${host.ipv4}:8080/cgi-bin/who`), outside.ipv4);
    const web = await host.inside("web");
    t.regex(await web.ask("tcp", outside.ipv4, 7000), new RegExp(`^${host.ipv4} \\d+$`));
    t.is(await web.ask("tcp", outside.ipv4, 7001), "ECONNREFUSED");
  }
});

test.serial("a stream is measured, and names what broke it", async (t) => {
  const { outside, neighbour } = stage.world;
  await using server = await outside.serve({ tcp: [7100] });
  await using stream = await neighbour.stream(outside.ipv4, 7100);
  await stream.progress(10);
  server.child.kill("SIGKILL");
  await stream.broken;
  const report = await stream.report();
  t.true(report.exchanges >= 10);
  t.not(report.error, null);
});

test.serial("a killed dockerd comes back, and a stopped one too", async (t) => {
  const [host] = stage.world.hosts;
  t.truthy(host);
  if (host === undefined) return;
  await host.dockerd.kill();
  t.is(host.dockerd.pid(), null);
  await host.dockerd.start();
  await host.dockerd.stop();
  await host.dockerd.start();
  t.is(await host.docker("ps", "-q"), "");
});

test.serial("a world can be opened by another process", async (t) => {
  const { stdout } = await run([process.execPath, "test/lab/cli.ts", "exec", "a", "hostname"], { env: { HAWSER_LAB: stage.world.id } });
  t.is(stdout.trim(), "a");
  t.is(openLab(stage.world.id).hosts.length, 2);
});

test.serial("a world that is down has left nothing, and the machine's own links are as before", async (t) => {
  const links = async (): Promise<string> => (await run(["ip", "-o", "link", "show"])).stdout.replaceAll(/ qlen \d+| mode \w+/g, "");
  const before = await links();
  const world = await lab({ hosts: 1, agent: false });
  t.is(await links(), before);
  await world.hosts[0]?.container("sleeper", ["-p", "9000:9000"]);
  await world.down();
  t.deepEqual(leaks(world.id), []);
  t.is(await links(), before);
});
