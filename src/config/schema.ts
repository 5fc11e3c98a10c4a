// The configuration's shape: every key of hawser.yaml with its default, what it may be, and what it is for.
import { isIP } from "node:net";
import { isAbsolute } from "node:path";
import { familyOf, lengthOf, parseCidr } from "../std/ip.ts";
import type { Family } from "../std/ip.ts";
import { either, flag, group, key, list, listOf, needed, oneOf, orNull, text, whole } from "./shape.ts";
import type { Rule, ValueOf } from "./shape.ts";

const path = text("an absolute path", (value) => isAbsolute(value) && !value.includes("\0"));
const device = text("a device's name of 1 to 15 characters", (value) => /^[^\s/:]{1,15}$/.test(value));
const address = text("an IPv4 or IPv6 address", (value) => isIP(value) !== 0);
const anyText = text("text", (value) => value !== "");
const nodeName = text("a name of 1 to 63 letters, digits, dots, dashes or underscores", (value) => /^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/.test(value));
const groupName = text("a group's name", (value) => /^[a-z_][a-z0-9_-]{0,31}$/.test(value));
const serverAddress = text("an address such as https://10.0.0.1:2379, http or https, without a path", (value) => {
  const url = URL.parse(value);
  return url !== null && /^https?:$/.test(url.protocol) && url.href === `${url.protocol}//${url.host}/`;
});
const keyPrefix = text("a prefix that begins and ends with a slash, such as /hawser/", (value) => /^\/(?:[\x21-\x7e]*\/)?$/.test(value));

const listen = text("an address with a port, such as 127.0.0.1:9964,", (value) => {
  const found = /^(?:\[([0-9a-f:.]+)\]|([\d.]+)):(\d{1,5})$/i.exec(value);
  return found !== null && isIP(found[1] ?? found[2] ?? "") !== 0 && Number(found[3]) <= 65535;
});

const prime: Rule<number> = {
  allowed: "a prime number from 101 to 1048583",
  accepts: (input): input is number => whole(101, 1_048_583).accepts(input) && isPrime(input),
};

function prefix(family: Family, shortest: number, longest: number): Rule<string> {
  return text(`an IPv${family} prefix with a length from ${shortest} to ${longest}`, (value) => {
    try {
      const cidr = parseCidr(value);
      return familyOf(cidr) === family && lengthOf(cidr) >= shortest && lengthOf(cidr) <= longest;
    } catch {
      return false;
    }
  });
}

export const schema = group("", {
  node: group("This node.", {
    name: key(orNull(nodeName), null, "Its name; null: the host's."),
    address: key(either(either(oneOf("auto"), address), listOf(address)), "auto", "The address, or addresses, where other nodes reach this one; without effect on one host."),
    devices: key(either(oneOf("auto"), listOf(device)), "auto", "The uplinks; `auto`: every Ethernet device with a default route."),
  }),
  pool: group("The addresses that this whole installation hands out; each node takes its own slices.", {
    ipv4: key(prefix(4, 8, 26), "10.44.0.0/16", "All of its IPv4 addresses."),
    ipv4NodePrefix: key(whole(8, 26), 24, "Length of one node's slice; networks get parts of it."),
    ipv6: key(orNull(prefix(6, 16, 80)), "fd44::/48", "All of its IPv6 addresses; null turns IPv6 off."),
    ipv6NodePrefix: key(whole(16, 80), 64, "Length of one node's slice."),
  }),
  routing: group("How packets travel.", {
    mode: key(oneOf("overlay", "native"), "overlay", "Between nodes; on one host both are the same."),
    encapsulation: key(oneOf("vxlan", "geneve"), "vxlan", "The overlay's tunnel; without effect on one host."),
    port: key(whole(1, 65535), 8472, "The tunnel's UDP port; without effect on one host."),
    direct: key(flag, true, "Whether the tunnel's headers are written and read beside the host's stack: that is faster, and neither iptables nor IPsec of the host's see those packets."),
    probePort: key(whole(1, 65535), 8473, "The UDP port on which nodes ask each other whether they are there; without effect on one host."),
    mtu: key(either(oneOf("auto"), whole(1280, 65535)), "auto", "MTU of networks that name none; `auto`: the smallest of the uplinks."),
    masquerade: key(flag, true, "Whether containers reach the world with the host's address; a network may differ."),
  }),
  store: group("Where the state is kept, and what nodes share.", {
    kind: key(oneOf("embedded", "etcd"), "embedded", "`embedded`: a file below `paths.state`. `etcd`: that file, and etcd (3.4 or later) for what nodes tell one another."),
    endpoints: key(listOf(serverAddress), [], "etcd's addresses, all of one cluster; when one does not answer, the next is asked."),
    prefix: key(keyPrefix, "/hawser/", "Begins every key in etcd; installations that share an etcd need one each."),
    user: key(orNull(anyText), null, "The user to sign in to etcd as; null: none. Its role must be able to read and write all below `store.prefix`."),
    passwordFile: key(orNull(path), null, "File with the user's password, read at every sign-in; the password itself is never in this configuration. Over http it can be overheard."),
    tls: group("For etcd over https. The files are read at every new connection.", {
      ca: key(orNull(path), null, "File with the authorities trusted; null: those that the system trusts."),
      cert: key(orNull(path), null, "File with this node's certificate; null: it shows none."),
      key: key(orNull(path), null, "File with the certificate's key."),
    }),
  }),
  peers: list("The other nodes, when there is no etcd.", {
    name: needed(nodeName, "The other node's name."),
    address: needed(either(address, listOf(address)), "Where it is reached; of several its containers' host may speak with any, and the first is where tunnels go."),
    ipv4: key(orNull(anyText), null, "Its slice of `pool.ipv4`."),
    ipv6: key(orNull(anyText), null, "Its slice of `pool.ipv6`."),
  }),
  policy: group("What containers may do.", {
    directory: key(path, "/etc/hawser/policy.d", "Policy files, `*.yaml` and `*.yml`, watched; one that is wrong is a problem in `hawser status` and leaves in force what it said before."),
    betweenNetworks: key(oneOf("deny", "allow"), "deny", "Whether containers on different networks reach each other."),
    published: key(oneOf("allow", "deny"), "allow", "Who reaches the published ports of a container that no policy covers."),
    untilIdentified: key(oneOf("deny", "allow"), "deny", "For a container whose labels are not known yet: closed, or as if no policy covered it."),
    unenforced: key(oneOf("allow", "quarantine"), "allow", "For a container that can escape what is enforced (privileged, NET_ADMIN, a second network of another driver) or whose namespace another container shares: let be and noted in `hawser endpoint list`, or closed both ways."),
  }),
  services: group("Load-balanced services.", {
    directory: key(path, "/etc/hawser/service.d", "Service files, `*.yaml` and `*.yml`, watched; files of other names are not read."),
  }),
  loadBalancer: group("How services are balanced.", {
    mode: key(oneOf("auto", "dsr", "snat"), "auto", "Whether backends answer clients directly."),
    dispatch: key(oneOf("geneve", "ipip"), "geneve", "Encapsulation of `dsr`."),
    algorithm: key(oneOf("maglev", "random"), "maglev", "How a backend is chosen."),
    maglevTable: key(prime, 16381, "The most slots of a service's table, of which each backend should have a hundred. The same on all nodes: else connections end when another node takes over."),
    acceleration: key(oneOf("auto", "native", "generic", "off"), "auto", "XDP on uplinks while there are services; auto: where the driver has it. See services.md."),
  }),
  docker: group("The Docker daemon.", {
    enabled: key(flag, true, "Whether to ask Docker what exists and to serve its network plugin."),
    socket: key(path, "/run/docker.sock", "Docker's API."),
    pluginDirectory: key(path, "/run/docker/plugins", "Where Docker looks for plugins' sockets."),
  }),
  containerd: group("containerd without Docker.", {
    enabled: key(flag, true, "Whether to watch containerd for containers that Docker does not know, and judge their packets."),
    socket: key(path, "/run/containerd/containerd.sock", "containerd's API."),
    namespaces: key(listOf(anyText), [], "The namespaces watched; none means all but `k8s.io`."),
  }),
  api: group("The agent's own API.", {
    socket: key(path, "/run/hawser/hawser.sock", "Its unix socket."),
    group: key(groupName, "hawser", "Whose members may use it."),
  }),
  metrics: group("Prometheus metrics.", {
    listen: key(orNull(listen), "127.0.0.1:9964", "Address and port; null turns them off."),
  }),
  paths: group("Where things lie.", {
    state: key(path, "/var/lib/hawser", "The state file."),
    run: key(path, "/run/hawser", "Sockets and the lock."),
    bpffs: key(path, "/sys/fs/bpf/hawser", "The folder of pins, in a BPF file system."),
    cgroup: key(either(oneOf("auto"), path), "auto", "The cgroup2 folder whose sockets are the host's; `auto`: the root of the mount."),
  }),
});

export type Config = ValueOf<typeof schema>;

function isPrime(value: number): boolean {
  for (let divisor = 2; divisor * divisor <= value; divisor++) if (value % divisor === 0) return false;
  return value > 1;
}
