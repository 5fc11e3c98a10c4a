// Runs in the virtual machine only: a bare Debian 12 goes through scripts/quickstart and then carries packets on its own kernel.
//
//   containers ── this machine, wan0 198.51.100.2 ═══ 198.51.100.1 the world (a network namespace)
import test from "ava";
import { readdirSync } from "node:fs";
import { release } from "node:os";
import { root } from "../../lab/names.ts";
import { place } from "../../lab/place.ts";
import { run, waitFor, type Output } from "../../lab/run.ts";

const kernel = process.env["HAWSER_VM"];
if (kernel === undefined) throw new Error("this file makes the whole machine its own: run test/cluster/vm 6.1 test/cluster/inside/bare-host.test.ts");

const host = place("host", "198.51.100.2", "2001:db8:51::2", ["env"]);
const world = place("world", "198.51.100.1", "2001:db8:51::1", ["nsenter", "--net=/run/netns/world", "--"]);
const mode = kernel === "6.1" ? "clsact" : "tcx";
const who = (address: string): readonly string[] => ["curl", "-sSf", "-m", "10", `http://${address}:8080/cgi-bin/who`];

function quickstart(...options: readonly string[]): Promise<Output> {
  return run([`${root}/scripts/quickstart`, ...options], { timeoutMs: 400_000 });
}

async function status(): Promise<Record<string, unknown>> {
  return JSON.parse((await host.run([`${root}/bin/hawser`, "status", "-o", "json"])).stdout) as Record<string, unknown>;
}

async function agentPid(): Promise<number> {
  return Number(await host.sh("cat /run/hawser/agent.pid"));
}

test.before("a world beyond one uplink", async () => {
  await host.sh(`
ip netns add world
ip link add wan0 type veth peer name eth0 netns world
ip address add 198.51.100.2/24 dev wan0
ip -6 address add 2001:db8:51::2/64 dev wan0 nodad
ip link set wan0 up
ip -n world address add 198.51.100.1/24 dev eth0
ip -n world -6 address add 2001:db8:51::1/64 dev eth0 nodad
ip -n world link set lo up
ip -n world link set eth0 up
ip route add default via 198.51.100.1
ip -6 route add default via 2001:db8:51::1`);
});

test.serial(`this is Linux ${kernel}, and every BPF program gets past its verifier`, async (t) => {
  t.true(release().startsWith(`${kernel}.`), release());
  const objects = readdirSync(`${root}/build/bpf`).filter((name) => name.endsWith(".bpf.o"));
  t.true(objects.length >= 5);
  for (const object of objects) {
    const folder = `/sys/fs/bpf/verify-${object.replaceAll(".", "-")}`;
    const { code, stderr } = await host.run(["bpftool", "prog", "loadall", `${root}/build/bpf/${object}`, folder], { mayFail: true });
    t.is(code, 0, `${object}: ${stderr.slice(-2_000)}`);
    await host.sh(`rm -rf ${folder}`); // none for an object without programs
  }
});

test.serial("scripts/quickstart: from a checkout to two containers that talk", async (t) => {
  t.timeout(400_000);
  const { stdout } = await quickstart();
  t.regex(stdout, /Hawser runs/);
  t.regex(stdout, /2 packets transmitted, 2 packets received/);
});

test.serial(`programs sit on their hooks as ${mode}`, async (t) => {
  const text = JSON.stringify(await status());
  t.true(text.includes(`"${mode}"`), text);
  const filters = await host.sh("tc filter show dev wan0 ingress");
  t.is(mode === "clsact", filters.includes("pref 18519"), filters);
  t.log(`instructions that the verifier walked:\n${await host.sh(`${root}/test/cluster/verifier ${await agentPid()}`)}`);
});

test.serial("the world reaches the published port, and the container sees who asks", async (t) => {
  t.is((await world.run(who(host.ipv4))).stdout.trim(), world.ipv4);
  t.is((await world.run(who(`[${host.ipv6}]`))).stdout.trim(), world.ipv6);
});

test.serial("the host reaches the published port by 127.0.0.1 and by its own address", async (t) => {
  for (const address of ["127.0.0.1", "[::1]", host.ipv4]) t.is((await host.run(who(address))).code, 0, address);
});

test.serial("the world sees the host's address when a container asks it", async (t) => {
  await using server = await world.serve({ tcp: [7000] });
  t.truthy(server.child.pid);
  const ask = async (address: string): Promise<string> =>
    host.sh(`docker exec quickstart-client sh -c 'nc -w 3 ${address} 7000 </dev/null'`);
  t.regex(await ask(world.ipv4), new RegExp(`who ${host.ipv4.replaceAll(".", "\\.")} `));
  t.regex(await ask(world.ipv6), new RegExp(`who ${host.ipv6} `));
});

test.serial("no netfilter rule carries our traffic: all of them may go (R98)", async (t) => {
  await host.sh("nft flush ruleset");
  t.is((await world.run(who(host.ipv4))).stdout.trim(), world.ipv4);
});

test.serial("kill -9 of the agent: packets flow on, and the next one adopts all (R11, R14)", async (t) => {
  t.timeout(400_000);
  const address = await host.sh("docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' quickstart-client");
  const pings = host.start(["docker", "exec", "quickstart-web", "ping", "-q", "-c", "100", "-i", "0.2", address]);
  const old = await agentPid();
  process.kill(old, "SIGKILL");
  t.is((await world.run(who(host.ipv4))).stdout.trim(), world.ipv4, "while no agent lives");
  await host.sh(`setsid ${root}/bin/hawser agent --config /etc/hawser/hawser.yaml </dev/null >>/var/log/hawser/agent.log 2>&1 & echo $! >/run/hawser/agent.pid`);
  await waitFor("the new agent", async () =>
    (await host.run([`${root}/bin/hawser`, "status"], { mayFail: true })).code === 0 && (await status())["ready"] === true);
  t.not(await agentPid(), old);
  t.regex((await pings.ended).stdout, /100 packets transmitted, 100 packets received/);
  t.is((await world.run(who(host.ipv4))).stdout.trim(), world.ipv4);
});

test.serial("scripts/quickstart --remove takes everything away", async (t) => {
  t.timeout(200_000);
  await quickstart("--remove");
  const left = await host.sh("ip -o link show | grep -E ' hw' || true; ls /sys/fs/bpf/hawser 2>/dev/null || true; tc filter show dev wan0 ingress");
  t.is(left, "");
});
