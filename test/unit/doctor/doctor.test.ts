// The doctor's checks on hosts that are plain data: each finding, and that the mend fits it.
import test from "ava";
import { dockerNetworks, firewalld, ipsec, networkd, networkManager, otherPrograms, serviceAddresses, ufw } from "../../../src/doctor/conflicts.ts";
import { build, docker, node, plugin } from "../../../src/doctor/docker.ts";
import { checks, examine } from "../../../src/doctor/examine.ts";
import { realHost } from "../../../src/doctor/host.ts";
import { bpffs, btf, cgroup2, jit, kernelBuild, kernelVersion, lockdown, privileges, tcHooks } from "../../../src/doctor/kernel.ts";
import { nameServers } from "../../../src/doctor/names.ts";
import { localPorts, mtu, nodeAddress, pool, uplinks } from "../../../src/doctor/network.ts";
import { lookAround, routes4, routes6 } from "../../../src/doctor/scene.ts";
import { parseCidr } from "../../../src/std/ip.ts";
import type { IpsecPolicy } from "../../../src/std/ipsec.ts";
import type { Check, Host, Installation, Settings } from "../../../src/doctor/types.ts";
import { xdp } from "../../../src/doctor/xdp.ts";

const settings: Settings = {
  node: { devices: "auto", address: "auto", name: null },
  pool: { ipv4: "10.44.0.0/16", ipv6: "fd44::/48" },
  docker: { enabled: true, socket: "/run/docker.sock", pluginDirectory: "/run/docker/plugins" },
  api: { socket: "/run/hawser/hawser.sock" },
  paths: { bpffs: "/sys/fs/bpf/hawser", cgroup: "auto" },
  routing: { mode: "overlay", direct: true, port: 8472 }, store: { kind: "embedded" }, peers: [], loadBalancer: { acceleration: "auto" },
};
const installation: Installation = { addon: "/opt/hawser.node", objects: ["/opt/netdev.bpf.o"] };

interface Sketch {
  readonly files?: Readonly<Record<string, string>>;
  readonly programs?: Readonly<Record<string, string>>;
  readonly sockets?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly ipsec?: readonly IpsecPolicy[];
  readonly contested?: Awaited<ReturnType<Host["contested"]>>;
  readonly kernel?: string;
  readonly node?: string;
}

/** A host with exactly these files, programs' outputs and sockets. */
function hostOf({ files = {}, programs = {}, sockets = {}, ipsec: policies, contested, kernel = "6.1.0-18-amd64", node: version = "24.21.0" }: Sketch): Host {
  return {
    read: (path) => Promise.resolve(files[path]),
    readCompressed: (path) => Promise.resolve(files[path]),
    list: (path) => Promise.resolve(Object.keys(files).filter((file) => file.startsWith(`${path}/`)).map((file) => file.slice(path.length + 1))),
    exists: (path) => Promise.resolve(path in files || path in sockets),
    run: (program, ...args) => Promise.resolve(programs[[program, ...args].join(" ")]),
    accepts: (socket) => Promise.resolve(socket in sockets),
    getJson: (socket, path) => {
      const answers = sockets[socket];
      return answers === undefined ? Promise.reject(new Error("connect ENOENT")) : Promise.resolve(answers[path]);
    },
    ipsec: () => Promise.resolve(policies),
    contested: (socket) => Promise.resolve(socket === "/run/hawser/hawser.sock" ? contested : undefined),
    kernel, node: version, arch: "x64",
  };
}

async function found(check: Check, sketch: Sketch, change: Partial<Settings> = {}): Promise<readonly string[]> {
  const findings = await check(await lookAround(hostOf(sketch), { ...settings, ...change }, installation));
  return findings.map((finding) => `${finding.state}: ${finding.detail}${finding.mend === "" ? "" : ` → ${finding.mend}`}`);
}

const route = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
  + "eth0 00000000 010200C0 0003 0 0 0 00000000 0 0 0\neth0 000200C0 00000000 0001 0 0 0 00FFFFFF 0 0 0\n";
const link = (change: object = {}): string => JSON.stringify([{ mtu: 1500, link_type: "ether", flags: ["UP"], ...change }]);
const show = "ip -j -d link show dev eth0";

test("routes are read from the kernel's own tables", (t) => {
  t.deepEqual(routes4(route), [{ device: "eth0", destination: "0.0.0.0/0" }, { device: "eth0", destination: "192.0.2.0/24" }]);
  t.deepEqual(routes6(
    "fd000000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n"
    + "00000000000000000000000000000001 80 00000000000000000000000000000000 00 00000000000000000000000000000000 00000000 00000002 00000000 80200001       lo\n",
  ), [{ device: "eth0", destination: "fd00::/64" }]);
});

test("kernel: 5.10 is the oldest", async (t) => {
  t.regex((await found(kernelVersion, { kernel: "5.4.0-100-generic" }))[0] ?? "", /^fail: 5\.4.*older than 5\.10/);
  for (const kernel of ["5.10.0", "5.15.0-1-azure", "6.1.0-18-amd64", "10.0"]) t.regex((await found(kernelVersion, { kernel }))[0] ?? "", /^ok/);
});

test("kernel build: names what is missing, and what for", async (t) => {
  const all = "CONFIG_BPF_SYSCALL=y\nCONFIG_NET_CLS_ACT=y\nCONFIG_CGROUP_BPF=y\nCONFIG_VETH=m\nCONFIG_INET_DIAG_DESTROY=y\n";
  t.regex((await found(kernelBuild, { files: { "/proc/config.gz": all } }))[0] ?? "", /^ok/);
  t.regex((await found(kernelBuild, { files: { "/boot/config-6.1.0-18-amd64": all.replace("CONFIG_CGROUP_BPF=y", "# CONFIG_CGROUP_BPF is not set") } }))[0] ?? "", /^fail: CONFIG_CGROUP_BPF is off: no published ports on 127/);
  t.regex((await found(kernelBuild, { files: { "/proc/config.gz": all.replace("CONFIG_INET_DIAG_DESTROY=y", "") } }))[1] ?? "", /^warn: CONFIG_INET_DIAG_DESTROY is off: sockets whose backend/);
  t.regex((await found(kernelBuild, {}))[0] ?? "", /^warn/);
});

test("TC hooks: TCX from 6.6 on, clsact before, neither is a failure", async (t) => {
  t.regex((await found(tcHooks, { kernel: "6.6.0" }))[0] ?? "", /^ok: TCX/);
  t.regex((await found(tcHooks, { files: { "/proc/config.gz": "CONFIG_NET_SCH_INGRESS=m\n" } }))[0] ?? "", /^ok: clsact/);
  t.regex((await found(tcHooks, { files: { "/proc/config.gz": "CONFIG_NET=y\n" } }))[0] ?? "", /^fail/);
});

test("JIT, BTF, lockdown, privileges", async (t) => {
  t.regex((await found(jit, { files: { "/proc/sys/net/core/bpf_jit_enable": "0\n" } }))[0] ?? "", /^warn: off.*sysctl -w/);
  t.regex((await found(jit, { files: { "/proc/sys/net/core/bpf_jit_enable": "1\n" } }))[0] ?? "", /^ok/);
  t.regex((await found(btf, {}))[0] ?? "", /^warn/);
  t.regex((await found(lockdown, { files: { "/sys/kernel/security/lockdown": "none integrity [confidentiality]\n" } }))[0] ?? "", /^warn: confidentiality/);
  t.regex((await found(lockdown, { files: { "/sys/kernel/security/lockdown": "none [integrity] confidentiality\n" } }))[0] ?? "", /^ok: integrity/);
  t.regex((await found(privileges, { files: { "/proc/self/status": "CapEff:\t0000000000000000\n" } }))[0] ?? "", /^warn: CAP_NET_ADMIN and CAP_SYS_ADMIN/);
  t.regex((await found(privileges, { files: { "/proc/self/status": "CapEff:\t000001ffffffffff\n" } }))[0] ?? "", /^ok/);
});

test("bpffs and cgroup2: found where they are mounted", async (t) => {
  const files = { "/proc/self/mounts": "bpf /sys/fs/bpf bpf rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n" };
  t.deepEqual(await found(bpffs, { files }), ["ok: mounted on /sys/fs/bpf"]);
  t.regex((await found(bpffs, { files }, { paths: { bpffs: "/sys/fs/bpfother", cgroup: "auto" } }))[0] ?? "", /^warn/);
  t.deepEqual(await found(cgroup2, { files }), ["ok: host sockets are below /sys/fs/cgroup/unified"]);
  t.regex((await found(cgroup2, {}))[0] ?? "", /^fail: no cgroup2/);
  t.regex((await found(cgroup2, { files }, { paths: { bpffs: "", cgroup: "/sys/fs/cgroup/unified/lab" } }))[0] ?? "", /^fail.*does not exist/);
});

test("uplinks: devices with a default route, and Ethernet", async (t) => {
  const files = { "/proc/net/route": route };
  t.deepEqual(await found(uplinks, { files, programs: { [show]: link() } }), ["ok: eth0, Ethernet, MTU 1500"]);
  t.regex((await found(uplinks, { files, programs: { [show]: link({ link_type: "none" }) } }))[0] ?? "", /^fail: eth0 is not an Ethernet/);
  t.regex((await found(uplinks, { files, programs: { [show]: link({ flags: [] }) } }))[0] ?? "", /^warn: eth0 is down/);
  t.regex((await found(uplinks, {}))[0] ?? "", /^warn: no device has a default route/);
  t.regex((await found(uplinks, {}, { node: { devices: ["eth7"], address: "auto", name: null } }))[0] ?? "", /^warn: none of eth7 exists/);
  const sys = { "/sys/class/net/eth0/mtu": "1400\n", "/sys/class/net/eth0/type": "1\n", "/sys/class/net/eth0/flags": "0x1003\n" };
  t.deepEqual(await found(uplinks, { files: { ...files, ...sys } }), ["ok: eth0, Ethernet, MTU 1400"]);
});

test("node.address: each that is named is on the host, where there are other nodes", async (t) => {
  const programs = { "ip -j address show": JSON.stringify([{ addr_info: [{ local: "192.0.2.1" }, { local: "2001:db8::1" }] }, {}]) };
  const named = { node: { devices: "auto" as const, address: ["2001:0db8::1", "192.0.2.2"], name: null } };
  t.deepEqual(await found(nodeAddress, { programs }, { ...named, store: { kind: "etcd" } }), [
    "ok: 2001:0db8::1 is on this host",
    "fail: 192.0.2.2 is on no device of this host, and other nodes take nothing that comes from another address → give it to a device, or correct node.address",
  ]);
  t.deepEqual(await found(nodeAddress, { programs }, named), []);
  t.deepEqual(await found(nodeAddress, { programs }, { store: { kind: "etcd" } }), []);
});

test("node.address: without one it is this node's line in peers that counts", async (t) => {
  const programs = { "ip -j address show": JSON.stringify([{ addr_info: [{ local: "192.0.2.1" }] }]) };
  const peers = [{ name: "a", address: ["192.0.2.1", "192.0.2.2"] }, { name: "b", address: "192.0.2.3" }];
  const told = [
    "ok: 192.0.2.1 is on this host",
    "fail: 192.0.2.2 is on no device of this host, and other nodes take nothing that comes from another address → give it to a device, or correct this node's line in peers",
  ];
  t.deepEqual(await found(nodeAddress, { programs, files: { "/proc/sys/kernel/hostname": "a\n" } }, { peers }), told);
  t.deepEqual(await found(nodeAddress, { programs, files: { "/proc/sys/kernel/hostname": "x\n" } }, { peers, node: { ...settings.node, name: "a" } }), told);
  t.deepEqual(await found(nodeAddress, { programs, files: { "/proc/sys/kernel/hostname": "x\n" } }, { peers }), []);
});

test("MTU: uplinks that differ are told, and one too small for IPv6 (R70)", async (t) => {
  const files = { "/proc/net/route": route };
  t.regex((await found(mtu, { files, programs: { [show]: link({ mtu: 1200 }) } }))[0] ?? "", /^warn: 1200 is less than the 1280/);
  const two = { [show]: link(), "ip -j -d link show dev eth1": link({ mtu: 9000 }) };
  t.regex((await found(mtu, { files, programs: two }, { node: { devices: ["eth0", "eth1"], address: "auto", name: null } }))[0] ?? "", /^warn: uplinks differ \(eth0 1500, eth1 9000\); containers get 1500/);
});

test("address pool: a route of the host within it is a failure, our own routes are not", async (t) => {
  const foreign = `${route}eth0 00002C0A 00000000 0001 0 0 0 00F0FFFF 0 0 0\n`;
  const [ipv4, ipv6] = await found(pool, { files: { "/proc/net/route": foreign } });
  t.regex(ipv4 ?? "", /^fail: 10\.44\.0\.0\/16 overlaps 10\.44\.0\.0\/20 on eth0 → choose another pool\.ipv4/);
  t.regex(ipv6 ?? "", /^ok/);
  t.regex((await found(pool, { files: { "/proc/net/route": foreign.replaceAll("eth0 00002C0A", "hwhost 00002C0A") } }))[0] ?? "", /^ok/);
});

test("name servers: a loopback one is not asked from where the container is, unless it is systemd-resolved alone", async (t) => {
  const conf = (text: string, more: Readonly<Record<string, string>> = {}): Sketch => ({ files: { "/etc/resolv.conf": text, ...more } });
  const daemon = (settings: object): Readonly<Record<string, string>> => ({ "/etc/docker/daemon.json": JSON.stringify(settings) });
  t.deepEqual(await found(nameServers, conf("# written by hand\nnameserver 192.0.2.53\nnameserver 127.0.0.1\n")), ["ok: Docker asks 192.0.2.53 (/etc/resolv.conf); names of other nodes are answered on the way"]);
  t.regex((await found(nameServers, conf("nameserver 127.0.0.1\nnameserver 192.0.2.53\n")))[0] ?? "", /^warn: \/etc\/resolv\.conf names 127\.0\.0\.1 first.*→ write "dns": \["ADDRESS"\] to \/etc\/docker\/daemon\.json/);
  t.regex((await found(nameServers, conf("nameserver 127.0.0.53\n")))[0] ?? "", /^warn: .* 127\.0\.0\.53/);
  t.regex((await found(nameServers, conf("nameserver 127.0.0.53\n", { "/run/systemd/resolve/resolv.conf": "nameserver 192.0.2.54\n" })))[0] ?? "", /^ok: Docker asks 192\.0\.2\.54 \(\/run\/systemd/);
  t.regex((await found(nameServers, conf("nameserver 127.0.0.1\n", daemon({ dns: ["192.0.2.55"] }))))[0] ?? "", /^ok: Docker asks 192\.0\.2\.55 \(\/etc\/docker\/daemon\.json\)/);
  t.regex((await found(nameServers, conf("nameserver 192.0.2.53\n", daemon({ dns: ["127.0.0.1"] }))))[0] ?? "", /^warn: \/etc\/docker\/daemon\.json names 127\.0\.0\.1/);
  t.regex((await found(nameServers, {}))[0] ?? "", /^ok: .*names none/);
  t.regex((await found(nameServers, conf("nameserver 192.0.2.53\n", { "/etc/docker/daemon.json": "{" })))[0] ?? "", /^ok/);
  t.deepEqual(await found(nameServers, {}, { docker: { ...settings.docker, enabled: false } }), []);
});

test("name servers: a newer Docker asks only those that it was told of from where the container is", async (t) => {
  const sockets = { "/run/docker.sock": { "/version": { Version: "28.2.2" } } };
  const files = { "/etc/resolv.conf": "nameserver 192.0.2.53\n" };
  t.regex((await found(nameServers, { sockets, files }))[0] ?? "", /^warn: Docker 28\.2\.2 asks the servers of \/etc\/resolv\.conf from the host's.*→ write "dns": \["192\.0\.2\.53"\]/);
  t.regex((await found(nameServers, { sockets, files: { ...files, "/etc/docker/daemon.json": '{"dns": ["192.0.2.55"]}' } }))[0] ?? "", /^ok/);
  t.regex((await found(nameServers, { sockets: { "/run/docker.sock": { "/version": { Version: "20.10.24" } } }, files }))[0] ?? "", /^ok/);
});

test("name servers: with any ndots Docker forwards no name without a dot", async (t) => {
  const files = { "/etc/resolv.conf": "nameserver 192.0.2.53\noptions timeout:1 ndots:2\n" };
  t.regex((await found(nameServers, { files }))[0] ?? "", /^warn: \/etc\/resolv\.conf says ndots:2.*NAME\.NETWORK/);
  t.regex((await found(nameServers, { files: { ...files, "/etc/docker/daemon.json": '{"dns-opts": ["timeout:2"]}' } }))[0] ?? "", /^ok/);
  t.regex((await found(nameServers, { files: { "/etc/resolv.conf": "nameserver 192.0.2.53\noptions ndots:0\n" } }))[0] ?? "", /^warn/);
});

test("ephemeral ports: a host that takes nearly all leaves none for masquerading", async (t) => {
  const range = (text: string): Sketch => ({ files: { "/proc/sys/net/ipv4/ip_local_port_range": text } });
  t.regex((await found(localPorts, range("1024\t65535\n")))[0] ?? "", /^warn.*only 0 ports/);
  t.regex((await found(localPorts, range("32768\t60999\n")))[0] ?? "", /^ok.*36280 are left/);
});

test("Docker: too old, not Docker, not there", async (t) => {
  const answering = (version: unknown): Sketch => ({ sockets: { "/run/docker.sock": { "/version": version } } });
  t.deepEqual(await found(docker, answering({ Version: "20.10.24+dfsg1" })), ["ok: 20.10.24+dfsg1 on /run/docker.sock"]);
  t.regex((await found(docker, answering({ Version: "19.03.1" })))[0] ?? "", /^fail: 19\.03\.1 is older/);
  t.regex((await found(docker, answering(["?"])))[0] ?? "", /^warn: what answers/);
  t.regex((await found(docker, {}))[0] ?? "", /^warn: does not answer.*ENOENT/);
  t.deepEqual(await found(docker, {}, { docker: { ...settings.docker, enabled: false } }), ["ok: off in the configuration"]);
});

test("plugin socket: a stale one is told from a missing one", async (t) => {
  const path = "/run/docker/plugins/hawser.sock";
  t.regex((await found(plugin, { sockets: { [path]: {} } }))[0] ?? "", /^ok/);
  t.regex((await found(plugin, { files: { [path]: "" } }))[0] ?? "", /^warn.*nobody answers/);
  t.regex((await found(plugin, {}))[0] ?? "", /^warn.*not there/);
});

test("Node and the build", async (t) => {
  t.regex((await found(node, { node: "20.20.2" }))[0] ?? "", /^fail/);
  t.regex((await found(build, { files: { "/opt/hawser.node": "" } }))[0] ?? "", /^fail: missing: \/opt\/netdev\.bpf\.o → npm run build/);
  t.regex((await found(build, { files: { "/opt/hawser.node": "", "/opt/netdev.bpf.o": "" } }))[0] ?? "", /^ok/);
});

test("firewalls: what they still see, when they are on (R98)", async (t) => {
  t.deepEqual(await found(ufw, {}), ["ok: not active"]);
  t.regex((await found(ufw, { files: { "/etc/ufw/ufw.conf": "# x\nENABLED=yes\n" } }))[0] ?? "", /^warn: active.*ufw allow in on hwhost/);
  t.regex((await found(ufw, { files: { "/etc/ufw/ufw.conf": "ENABLED=no\n" } }))[0] ?? "", /^ok/);
  t.regex((await found(firewalld, { programs: { "firewall-cmd --state": "running\n" } }))[0] ?? "", /^warn: active.*--add-interface=hwhost/);
});

test("IPsec: policies that the overlay's packets would pass by are told, as long as there are other nodes and they do", async (t) => {
  const any: IpsecPolicy = { source: parseCidr("0.0.0.0/0"), destination: parseCidr("192.0.2.0/24"), protocol: 0, port: 0, portMask: 0 };
  const peers = [{ name: "b", address: "192.0.2.2" }, { name: "c", address: ["198.51.100.2", "2001:db8::2"] }];
  const bare = /^warn: policies are for what goes to 192\.0\.2\.0\/24; what Hawser's overlay sends to nodes there passes them by, unencrypted → set routing\.direct: false/;
  t.regex((await found(ipsec, { ipsec: [any] }, { peers }))[0] ?? "", bare);
  t.regex((await found(ipsec, { ipsec: [any] }, { store: { kind: "etcd" } }))[0] ?? "", bare);
  t.regex((await found(ipsec, { ipsec: [{ ...any, destination: parseCidr("2001:db8::/32"), protocol: 17, port: 8472, portMask: 0xffff }] }, { peers }))[0] ?? "", /^warn.*2001:db8::\/32/);
  for (const change of [{ protocol: 6 }, { port: 4789, portMask: 0xffff }, { destination: parseCidr("203.0.113.0/24") }]) {
    t.regex((await found(ipsec, { ipsec: [{ ...any, ...change }] }, { peers }))[0] ?? "", /^ok/, JSON.stringify(change));
  }
  t.regex((await found(ipsec, { ipsec: [any] }))[0] ?? "", /^ok: there is no tunnel/);
  t.regex((await found(ipsec, { ipsec: [any] }, { peers, routing: { ...settings.routing, mode: "native" } }))[0] ?? "", /^ok: there is no tunnel/);
  t.regex((await found(ipsec, { ipsec: [any] }, { peers, routing: { ...settings.routing, direct: false } }))[0] ?? "", /^ok: the kernel's own device/);
  t.deepEqual(await found(ipsec, {}, { peers }), []);
});

test("network managers: systemd-networkd with ManageForeignRoutingPolicyRules is warned of (R99)", async (t) => {
  const running = { "/run/systemd/netif/state": "" };
  t.deepEqual(await found(networkd, {}), ["ok: not running"]);
  t.regex((await found(networkd, { files: running }))[0] ?? "", /^warn: ManageForeignRoutes and ManageForeignRoutingPolicyRules are on/);
  t.regex((await found(networkd, { files: { ...running, "/etc/systemd/networkd.conf": "[Network]\nManageForeignRoutes=no\n" } }))[0] ?? "", /^warn: ManageForeignRoutingPolicyRules is on/);
  const both = { "/etc/systemd/networkd.conf.d/hawser.conf": "[Network]\nManageForeignRoutes=no\nManageForeignRoutingPolicyRules=false\n" };
  t.regex((await found(networkd, { files: { ...running, ...both } }))[0] ?? "", /^ok: leaves/);
  t.regex((await found(networkManager, { files: { "/run/NetworkManager": "" } }))[0] ?? "", /^warn/);
  t.regex((await found(networkManager, { files: { "/run/NetworkManager": "", "/etc/NetworkManager/conf.d/h.conf": "[keyfile]\nunmanaged-devices=interface-name:hw*\n" } }))[0] ?? "", /^ok/);
});

test("other programs on the uplinks are named, ours are not", async (t) => {
  const files = { "/proc/net/route": route };
  const net = JSON.stringify([{ xdp: [], tc: [{ devname: "eth0", name: "cil_from_netdev" }, { devname: "eth0", name: "netdev" }, { devname: "veth1", name: "other" }] }]);
  const both = await found(otherPrograms, { files, programs: { [show]: link({ xdp: { prog: { id: 7, name: "filter" } } }), "bpftool -j net show": net } });
  t.is(both.length, 2);
  t.regex(both[0] ?? "", /XDP program filter runs on eth0 before Hawser's, which stays out of XDP there .* ip link set dev eth0 xdp off$/);
  const own = { [show]: link({ xdp: { prog: { id: 7, name: "xdp_lb" } } }) };
  t.regex((await found(otherPrograms, { files, programs: own }))[0] ?? "", /^ok/);
  const foreign = { [show]: link({ xdp: { prog: { id: 7, name: "filter" } } }) };
  t.regex((await found(otherPrograms, { files, programs: foreign }, { loadBalancer: { acceleration: "off" } }))[0] ?? "", /before Hawser's → nothing to do if it passes the packets on$/);
  t.regex(both[1] ?? "", /TC programs on eth0: cil_from_netdev →/);
  const filters = { [show]: link(), "tc -j filter show dev eth0 ingress": JSON.stringify([{ options: { bpf_name: "foreign.o:[x]" } }]), "tc -j filter show dev eth0 egress": "" };
  t.regex((await found(otherPrograms, { files, programs: filters }))[0] ?? "", /TC programs on eth0: foreign/);
  t.regex((await found(otherPrograms, { files, programs: { [show]: link() } }))[0] ?? "", /^ok/);
});

test("a virtio device's hypervisor may keep XDP from it, which is told with what it would take", async (t) => {
  const told = async (features: readonly number[], { mtu: bytes = 1500, queues = 4, driver = "virtio_net", made = {}, acceleration = "auto" as Settings["loadBalancer"]["acceleration"] } = {}): Promise<readonly string[]> =>
    found(xdp, {
      files: {
        "/proc/net/route": route, "/sys/class/net/eth0/device/uevent": `DRIVER=${driver}\nMODALIAS=x\n`, "/sys/devices/system/cpu/possible": "0-1\n",
        "/sys/class/net/eth0/device/features": `${Array.from({ length: 128 }, (_, i) => (features.includes(i) ? "1" : "0")).join("")}\n`,
      },
      programs: { [show]: link({ mtu: bytes, ...made }), "ethtool -l eth0": `Channel parameters for eth0:\nPre-set maximums:\nRX:\t\tn/a\nCombined:\t${queues}\nCurrent hardware settings:\nCombined:\t2\n` },
    }, { loadBalancer: { acceleration } });
  const [checksums, ours, joined] = [1, 2, 7];
  t.deepEqual(await told([checksums, ours, joined]), ["ok: eth0, a virtio device, takes it"]);
  t.deepEqual(await told([]), ["ok: eth0, a virtio device, takes it"]);
  t.deepEqual(await told([], { queues: 1 }), ["ok: eth0, a virtio device, takes it; CPUs share its queues, of which it has 1, and would not with 4"]);
  for (const held of [checksums, joined]) t.regex((await told([held])).join(), /^ok: not for eth0, .*; services are balanced at its ingress\. To have it: .*ctrl_guest_offloads=on/);
  t.regex((await told([joined], { acceleration: "native" })).join(), /^warn: eth0, a virtio device, will not take it: .* → .*ctrl_guest_offloads=on.*loadBalancer\.acceleration: auto$/);
  t.regex((await told([], { mtu: 9000 })).join(), /^ok: not for eth0, a virtio device: its MTU is 9000.*3506 at most$/);
  for (const acceleration of ["off", "generic"] as const) t.deepEqual(await told([joined], { acceleration }), []);
  t.deepEqual(await told([joined], { driver: "ixgbe" }), []);
  t.deepEqual(await told([joined], { made: { linkinfo: { info_kind: "veth" } } }), [], "the files are another namespace's");
});

test("a Docker network of another driver inside our pool is told", async (t) => {
  const networks = [
    { Name: "bridge", Driver: "bridge", IPAM: { Config: [{ Subnet: "172.17.0.0/16" }] } },
    { Name: "old", Driver: "bridge", IPAM: { Config: [{ Subnet: "10.44.8.0/24" }] } },
    { Name: "shop", Driver: "hawser", IPAM: { Config: [{ Subnet: "10.44.0.0/26" }] } },
    { Name: "none", Driver: "null", IPAM: { Config: null } },
  ];
  const told = await found(dockerNetworks, { sockets: { "/run/docker.sock": { "/networks": networks } } });
  t.is(told.length, 1);
  t.regex(told[0] ?? "", /"old" \(bridge\) uses 10\.44\.8\.0\/24/);
});

test("machines that have addresses of services, or say so, are told as the agent hears them; without an agent nobody is", async (t) => {
  const contested = [
    { detail: "192.0.2.10 is another machine's, 02:00:00:00:00:99 on device 2", mend: "take it off that machine" },
    { detail: "another machine says that it has 192.0.2.11, 02:00:00:00:00:98 on device 2, 3 times", mend: "give the service another" },
  ];
  t.deepEqual(await found(serviceAddresses, { contested }), [
    "warn: 192.0.2.10 is another machine's, 02:00:00:00:00:99 on device 2 → take it off that machine",
    "warn: another machine says that it has 192.0.2.11, 02:00:00:00:00:98 on device 2, 3 times → give the service another",
  ]);
  t.deepEqual(await found(serviceAddresses, { contested: [] }), ["ok: the agent has heard no other machine that has one of them"]);
  t.deepEqual(await found(serviceAddresses, {}), []);
  const all = await examine(settings, installation, hostOf({ contested }));
  t.is(all.filter(({ check }) => check === "service addresses").length, 2);
});

test("a check that breaks is a finding, and the others go on", async (t) => {
  const host: Host = { ...hostOf({ files: { "/proc/net/route": route } }), exists: () => Promise.reject(new Error("EIO")) };
  const findings = await examine(settings, installation, host);
  t.true(findings.some((finding) => finding.state === "warn" && finding.detail.includes("the check itself failed: EIO")));
  t.true(findings.some((finding) => finding.check === "kernel" && finding.state === "ok"));
});

test("on this very host every check says something, and whatever is not well has a mend", async (t) => {
  const findings = await examine(settings, installation, { ...realHost, ipsec: () => Promise.resolve(undefined), contested: () => Promise.resolve([]) });
  t.true(findings.length >= Object.keys(checks).length - 4);
  for (const finding of findings) t.is(finding.mend === "", finding.state === "ok", finding.check);
  t.false(findings.some((finding) => finding.detail.includes("the check itself failed")));
});
