// The command line against a real agent.
//
//   a: web (shop)
import { setTimeout } from "node:timers/promises";
import test from "ava";
import { waitFor } from "../lab/run.ts";
import { scene } from "../lab/scenario.ts";

const stage = scene(test);

test.serial("status says ready with no problem, and names what runs", async (t) => {
  const { host } = stage;
  const status = (await host.json("status")) as { readonly ready: boolean; readonly problems: readonly string[]; readonly kernel: { readonly uplinks: readonly string[] } };
  t.true(status.ready);
  t.deepEqual(status.problems, []);
  t.deepEqual(status.kernel.uplinks, ["eth0"]);
  t.regex((await host.hawser(["status"])).stdout, /ready/i);
});

test.serial("endpoint, network and port lists tell what Docker made", async (t) => {
  const { host } = stage;
  await host.network("shop", "--ipv6");
  const id = await host.container("web", ["--network", "shop", "-p", "127.0.0.1:8080:80", "--label", "tier=front"]);
  const web = await host.inside("web");
  const [endpoint, ...others] = (await host.json("endpoint", "list")) as readonly Record<string, unknown>[];
  t.is(others.length, 0);
  t.like(endpoint, { name: "web", containerId: id, network: "shop", node: "a", state: "ready", ipv4: web.ipv4, ipv6: web.ipv6 });
  t.like(endpoint?.["labels"], { tier: "front" });
  t.like(await host.json("endpoint", "get", "web"), { name: "web" });
  const [network] = (await host.json("network", "list")) as readonly Record<string, unknown>[];
  t.like(network, { name: "shop", internal: false, endpoints: 1 });
  t.regex((await host.hawser(["port", "web"])).stdout, /^80\/tcp -> 127\.0\.0\.1:8080$/m);
  for (const list of [["endpoint", "list"], ["network", "list"], ["port"]]) {
    t.regex((await host.hawser(list)).stdout, /web|shop|8080/);
  }
  await host.docker("rename", "web", "shopfront");
  t.is((await host.hawser(["endpoint", "get", "nobody"], { mayFail: true })).code, 1);
});

test.serial("the maps can be listed and dumped, decoded", async (t) => {
  const { host } = stage;
  await host.network("shop");
  await host.container("web", ["--network", "shop"]);
  const web = await host.inside("web");
  const maps = (await host.json("map", "list")) as readonly { readonly name: string }[];
  t.true(maps.some((map) => map.name === "hw_addresses"));
  t.true(JSON.stringify(await host.json("map", "dump", "hw_addresses")).includes(web.ipv4));
  t.is((await host.hawser(["map", "dump", "nothing"], { mayFail: true })).code, 1);
});

test.serial("doctor finds this host fit, with the agent and without", async (t) => {
  const { host } = stage;
  const doctor = ["doctor", "--config", host.configuration] as const;
  const running = await host.hawser(doctor, { mayFail: true });
  t.is(running.code, 0, running.stdout);
  await host.agent.stop();
  const alone = await host.hawser(doctor, { mayFail: true });
  t.is(alone.code, 0, alone.stdout);
  await host.agent.start();
});

test.serial("a wrong configuration is refused with the key named", async (t) => {
  const { host } = stage;
  const wrong = `${host.configuration}.wrong`;
  await host.sh(`printf 'routing: { mode: teleport }\\n' > ${wrong}`);
  const { code, stderr } = await host.hawser(["agent", "--config", wrong], { mayFail: true, timeoutMs: 15_000 });
  t.not(code, 0);
  t.not(code, 124);
  t.regex(stderr, /routing\.mode/);
  t.regex(stderr, /overlay.*native/);
});

test.serial("wrong usage exits with 2 and help with 0", async (t) => {
  const { host } = stage;
  t.is((await host.hawser(["nonsense"], { mayFail: true })).code, 2);
  t.is((await host.hawser(["--help"])).code, 0);
  t.is((await host.hawser(["--version"])).code, 0);
});

test.serial("the agent of ten endpoints settles under 90 MiB (R109)", async (t) => {
  const { host } = stage;
  await host.network("shop");
  await Promise.all(Array.from({ length: 10 }, (_, index) => host.container(`c${index}`, ["--network", "shop"])));
  // R109 is about an idle agent: what ten starts at once leave behind is collected first, and then it stays so.
  const rss = async (): Promise<number> => Number(await host.sh(`awk '/^VmRSS/ { print $2 }' /proc/${host.agent.pid()}/status`));
  await waitFor("the agent's memory to settle", async () => (await rss()) < 90 * 1024, { everyMs: 500, promisedMs: 30_000 });
  for (let second = 0; second < 5; second++) {
    await setTimeout(1000);
    const kib = await rss();
    t.log(`RSS ${(kib / 1024).toFixed(0)} MiB`);
    t.true(kib < 90 * 1024, `${kib} KiB`);
  }
});

test.serial("sweep --all with no agent removes everything of Hawser's, and a started agent makes it again", async (t) => {
  const { host } = stage;
  await host.network("shop");
  await host.container("web", ["--network", "shop", "-p", "8080:80"]);
  await host.docker("rm", "-f", "web");
  await host.docker("network", "rm", "shop");
  await host.agent.stop();
  await host.sh("ip link add hw0123456789a type veth peer name hw0123456789ac");
  await host.hawser(["sweep", "--all", "--config", host.configuration]);
  t.deepEqual(await host.links(), []);
  t.is(await host.sh("ls /sys/fs/bpf/hawser 2>/dev/null || true"), "");
  t.is(await host.sh("ip rule; ip -6 rule").then((text) => /hawser/.test(text)), false);
  await host.agent.start();
  await host.network("shop");
  await host.container("web", ["--network", "shop"]);
});
