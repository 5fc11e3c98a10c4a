// The walk of docs/walks/join.md, call by call: what Docker asks, and what then stands on the host.
//
//   a: web (shop)
import { readFileSync } from "node:fs";
import test from "ava";
import { scene } from "../lab/scenario.ts";

// Every call of Docker's is a line of the agent's log then.
process.env["HAWSER_LOG"] = "debug";
const stage = scene(test);

/** The plugin's calls since the last look, in order. */
function calls(seen: { count: number }): readonly string[] {
  const lines = readFileSync(stage.host.agent.log, "utf8").split("\n").filter((line) => line.includes('"answered Docker"'));
  const fresh = lines.slice(seen.count);
  seen.count = lines.length;
  return fresh.map((line) => (JSON.parse(line) as { readonly call: string }).call);
}

test.serial("docker run becomes an endpoint: address, cable, programs, entries, ports, name; and docker rm takes all of it away", async (t) => {
  const { host } = stage;
  const seen = { count: 0 };
  await host.network("shop");
  t.deepEqual(calls(seen).slice(-3), ["IpamDriver.RequestPool", "IpamDriver.RequestAddress", "NetworkDriver.CreateNetwork"]);
  const before = { links: await host.links(), pins: await host.sh("ls /sys/fs/bpf/hawser/links") };
  const frontends = async (): Promise<unknown> => host.json("map", "dump", "hw_frontends");

  await host.container("web", ["--network", "shop", "-p", "8080:80"]);
  const asked = calls(seen);
  t.deepEqual(asked.filter((call) => call !== "NetworkDriver.EndpointOperInfo"), [
    "IpamDriver.RequestAddress", "NetworkDriver.CreateEndpoint", "NetworkDriver.Join", "NetworkDriver.ProgramExternalConnectivity",
  ]);

  const [endpoint] = (await host.json("endpoint", "list")) as readonly { readonly id: string; readonly ipv4: string; readonly mac: string; readonly hostInterface: string; readonly state: string }[];
  const web = await host.inside("web");
  t.like(endpoint, { state: "ready", ipv4: web.ipv4, hostInterface: `hw${endpoint?.id.slice(0, 11)}` });
  t.deepEqual((await host.links()).filter((link) => !before.links.includes(link)), [endpoint?.hostInterface ?? ""]);
  const pins = (await host.sh("ls /sys/fs/bpf/hawser/links")).split("\n").filter((pin) => !before.pins.split("\n").includes(pin));
  t.deepEqual(pins, [`from_container@${endpoint?.hostInterface}`, `to_container@${endpoint?.hostInterface}`]);
  t.regex(JSON.stringify(await host.json("map", "dump", "hw_addresses")), new RegExp(`"${web.ipv4}"`));
  t.regex(JSON.stringify(await frontends()), new RegExp(`"${web.ipv4}"`));
  t.regex(await web.sh("ip -o link show eth0"), new RegExp(`link/ether ${endpoint?.mac}`));
  const gateway = ((await host.json("network", "list")) as readonly { readonly gateway4: string }[])[0]?.gateway4;
  t.is(await web.sh("ip route show default | awk '{ print $3 }'"), gateway ?? "");
  t.is((await host.hawser(["port", "web"])).stdout.trim(), "80/tcp -> 0.0.0.0:8080");

  await host.docker("rm", "-f", "web");
  t.deepEqual(calls(seen), ["NetworkDriver.RevokeExternalConnectivity", "NetworkDriver.Leave", "NetworkDriver.DeleteEndpoint", "IpamDriver.ReleaseAddress"]);
  t.deepEqual({ links: await host.links(), pins: await host.sh("ls /sys/fs/bpf/hawser/links") }, before);
  t.deepEqual([await frontends(), await host.json("map", "dump", "hw_addresses"), await host.json("endpoint", "list")], [[], [], []]);
});
