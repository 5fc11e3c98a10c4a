// Runs in the virtual machine only, whose kernels have the devices: what docs/services.md tells a server of mode dsr to do makes it take service packets out of their outer headers.
//
//   node 10.9.0.1 ═══ 10.9.0.2 server, with the service's addresses; what a node wraps, the kernel's own tunnels wrap here
import test from "ava";
import { readFileSync } from "node:fs";
import { root } from "../../lab/names.ts";
import { place } from "../../lab/place.ts";

if (process.env["HAWSER_VM"] === undefined) throw new Error("this file needs the kernel's modules for tunnels: run test/cluster/vm 6.1 test/cluster/inside/plain-server.test.ts");

const node = place("node", "10.9.0.1", "fd00:9::1", ["ip", "netns", "exec", "plain-node"]);
const server = place("server", "10.9.0.2", "fd00:9::2", ["ip", "netns", "exec", "plain-server"]);
const machine = place("machine", "10.9.0.3", "fd00:9::3", ["env"]);

/** The commands behind the sentence about them. */
function documented(): string {
  const found = /packets come wrapped[^]*?```sh\n([^]*?)```/.exec(readFileSync(`${root}/docs/services.md`, "utf8"))?.[1];
  if (found === undefined) throw new Error("docs/services.md has no commands for a server of mode dsr");
  return found;
}

test.serial("the documented commands make a Linux server answer what comes wrapped in IPv4 and in IPv6", async (t) => {
  t.timeout(120_000);
  await using scope = new AsyncDisposableStack();
  for (const name of ["plain-node", "plain-server"]) {
    await machine.sh(`ip netns add ${name}; ip -n ${name} link set lo up`);
    scope.defer(() => machine.sh(`ip netns delete ${name}`).then(() => undefined));
  }
  await machine.sh("ip -n plain-node link add eth0 type veth peer name eth0 netns plain-server");
  await node.sh("ip address add 10.9.0.1/24 dev eth0; ip address add fd00:9::1/64 dev eth0 nodad; ip link set eth0 up");
  await server.sh("ip address add 10.9.0.2/24 dev eth0; ip address add fd00:9::2/64 dev eth0 nodad; ip link set eth0 up");
  await node.sh("ip link add out4 type ipip local 10.9.0.1 remote 10.9.0.2; ip link set out4 up; ip route add 203.0.113.10 dev out4 src 10.9.0.1");
  await node.sh("ip link add out6 type ip6tnl mode ip6ip6 local fd00:9::1 remote fd00:9::2 encaplimit none; ip link set out6 up; ip route add 2001:db8::10 dev out6 src fd00:9::1");
  await using _service = await server.serve({ tcp: [8080] });
  t.not(await node.ask("tcp", "203.0.113.10", 8080), "10.9.0.1");
  await server.sh("echo 1 > /proc/sys/net/ipv4/conf/all/rp_filter");
  await server.sh(documented());
  for (const [address, said] of [["203.0.113.10", "10.9.0.1"], ["2001:db8::10", "fd00:9::1"]] as const) {
    t.is((await node.ask("tcp", address, 8080)).split(" ")[0], said, `${address}: ${await server.sh("ip address; ip -s link; nstat -az | grep -i filter")}`);
  }
});
