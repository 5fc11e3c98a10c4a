// Containers of containerd's own on a lab host: made with ctr, wired by CNI's bridge plugin, unknown to Docker.
import type { Host } from "./host.ts";
import { image } from "./image.ts";
import type { Place } from "./place.ts";
import { place } from "./place.ts";

/** The image as containerd calls it; it carries the label `fromimage=yes`. */
export const ctrImage = "docker.io/library/labelled:1";
/** The one CNI network. */
export const cniNetwork = "edge";

export interface Cni {
  /** `ctr …`; what it printed, trimmed. */
  ctr(...args: readonly string[]): Promise<string>;
  /** `ctr run -d --cni` of the lab's image; its place, with the address that the plugin gave it. */
  container(name: string, options?: readonly string[]): Promise<Place>;
  /** Ends and removes it and what CNI made for it. */
  remove(name: string): Promise<void>;
}

/**
 * CNI's folders are fixed in ctr, and a test must not write into the machine's: in the host's own mount namespace they get a layer
 * above them that goes with it.
 */
export async function wireCni(host: Host, directory: string): Promise<Cni> {
  const layers = `${directory}/${host.name}/cni`;
  await host.sh(`
set -e
for folder in /etc /opt /var/lib; do
  upper=${layers}$folder
  mkdir -p $upper/upper $upper/work
  mount -t overlay overlay -o lowerdir=$folder,upperdir=$upper/upper,workdir=$upper/work $folder
done
mount --bind ${directory}/${host.name}/resolv.conf /etc/resolv.conf
mkdir -p /etc/cni/net.d /opt/cni /var/lib/cni
ln -sfn /usr/lib/cni /opt/cni/bin
cat > /etc/cni/net.d/10-${cniNetwork}.conflist <<END
${JSON.stringify(configuration)}
END
# Docker sends what crosses any bridge through its firewall, and drops what it does not know.
iptables -I FORWARD -i cni0 -j ACCEPT
iptables -I FORWARD -o cni0 -j ACCEPT
ip6tables -I FORWARD -i cni0 -j ACCEPT
ip6tables -I FORWARD -o cni0 -j ACCEPT`);
  await host.docker("create", "--name", "labelled", image, "sh");
  await host.docker("commit", "-c", "LABEL fromimage=yes", "labelled", "labelled:1");
  await host.docker("rm", "labelled");
  await host.sh(`docker -H unix:///run/docker.sock save -o ${layers}/image.tar labelled:1 && ctr images import ${layers}/image.tar && rm ${layers}/image.tar`);

  const ctr = async (...args: readonly string[]): Promise<string> => (await host.run(["ctr", ...args])).stdout.trim();
  const pidOf = async (name: string): Promise<string> => {
    const row = (await ctr("tasks", "list")).split("\n").map((line) => line.split(/\s+/)).find(([id]) => id === name);
    if (row?.[1] === undefined) throw new Error(`${name} has no task`);
    return row[1];
  };
  return {
    ctr,
    container: async (name, options = []) => {
      await ctr("run", "-d", "--cni", ...options, ctrImage, name, "sleep", "infinity");
      const pid = await pidOf(name);
      const enter = host.command(["nsenter", `--net=/proc/${pid}/ns/net`, "--"]);
      const shown = place(name, "", "", enter);
      const [ipv4 = "", ipv6 = ""] = (await shown.sh("ip -o address show dev eth0 scope global | awk '{ print $4 }' | cut -d/ -f1")).split("\n");
      return place(name, ipv4, ipv6, enter);
    },
    remove: async (name) => {
      await host.sh(`ctr tasks kill -s KILL ${name}; while ctr tasks delete ${name} 2>&1 | grep -q 'must be stopped'; do :; done; ctr containers delete ${name}; grep -l '^default-${name}' /var/lib/cni/networks/${cniNetwork}/* | xargs -r rm -f; rm -f /var/lib/cni/results/*-default-${name}-*`);
    },
  };
}

const configuration = {
  cniVersion: "0.4.0",
  name: cniNetwork,
  plugins: [{
    type: "bridge", bridge: "cni0", isGateway: true, hairpinMode: true,
    ipam: {
      type: "host-local", ranges: [[{ subnet: "10.88.0.0/24" }], [{ subnet: "fd88::/64" }]], routes: [{ dst: "0.0.0.0/0" }, { dst: "::/0" }],
    },
  }],
};
