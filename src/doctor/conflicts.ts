// Checks of what else works on packets, devices and routes of this host, and of who else has its services' addresses.
import { overlaps, parseCidr, parseIp } from "../std/ip.ts";
import { policiesFor } from "../std/ipsec.ts";
import { type Check, type Finding, type Host, ok, warn } from "./types.ts";

/** As `tc` and `bpftool` name them. */
const ourPrograms = new Set(["netdev", "from_container", "to_container", "from_host", "xdp_lb"]);

export const ufw: Check = async ({ host }) => {
  if (!/^ENABLED=yes$/m.test(await host.read("/etc/ufw/ufw.conf") ?? "")) return [ok("ufw", "not active")];
  return [warn(
    "ufw",
    "active: it filters what containers send to this host itself, and does not see published ports or traffic between containers",
    "ufw allow in on hwhost, if containers must reach services of this host",
  )];
};

export const firewalld: Check = async ({ host }) => {
  if (!(await host.exists("/run/firewalld.pid")) && (await host.run("firewall-cmd", "--state"))?.trim() !== "running") {
    return [ok("firewalld", "not active")];
  }
  return [warn(
    "firewalld",
    "active: it filters what containers send to this host itself, and does not see published ports or traffic between containers",
    "firewall-cmd --permanent --zone=trusted --add-interface=hwhost && firewall-cmd --reload, if containers must reach services of this host",
  )];
};

/** The programs send the overlay's packets beside the host's stack, and so beside what would encrypt them. */
export const ipsec: Check = async ({ host, settings: { routing, store, peers } }) => {
  if (routing.mode === "native" || (store.kind === "embedded" && peers.length === 0)) return [ok("IPsec", "there is no tunnel that it could be for")];
  if (!routing.direct) return [ok("IPsec", "the kernel's own device sends the tunnel's packets, so that it sees them")];
  const policies = await host.ipsec();
  if (policies === undefined) return [];
  // Whom the store names nobody asks here.
  const nodes = store.kind === "etcd" ? [undefined] : peers.flatMap(({ address }) => address).map((address) => parseIp(address));
  const found = nodes.flatMap((node) => policiesFor(policies, routing.port, node));
  if (found.length === 0) return [ok("IPsec", "no policy is for the tunnel's packets")];
  const targets = [...new Set(found.map(({ destination }) => destination))];
  return [warn(
    "IPsec",
    `policies are for what goes to ${targets.slice(0, 3).join(", ")}${targets.length > 3 ? ` and ${targets.length - 3} more` : ""}; what Hawser's overlay sends to nodes there passes them by, unencrypted`,
    "set routing.direct: false in the configuration of every node, and restart the agent",
  )];
};

/** What machines say on the links is heard by who listens all the time, which is the agent. */
export const serviceAddresses: Check = async ({ host, settings }) => {
  const found = await host.contested(settings.api.socket);
  if (found === undefined) return [];
  if (found.length === 0) return [ok("service addresses", "the agent has heard no other machine that has one of them")];
  return found.map(({ detail, mend }) => warn("service addresses", detail, mend));
};

export const networkManager: Check = async ({ host }) => {
  if (!(await host.exists("/run/NetworkManager"))) return [ok("NetworkManager", "not running")];
  const files = await configFiles(host, ["/etc/NetworkManager/NetworkManager.conf"], ["/etc/NetworkManager/conf.d", "/usr/lib/NetworkManager/conf.d"]);
  if (files.some((text) => /^\s*unmanaged-devices\s*=.*interface-name:hw/m.test(text))) return [ok("NetworkManager", "leaves hw* devices alone")];
  return [warn(
    "NetworkManager",
    "running, and not told to leave hw* devices alone",
    "write \"[keyfile]\" and \"unmanaged-devices=interface-name:hw*\" to /etc/NetworkManager/conf.d/hawser.conf and reload it",
  )];
};

/** R99: networkd removes routes and rules that it did not make when it (re)starts. */
export const networkd: Check = async ({ host }) => {
  if (!(await host.exists("/run/systemd/netif/state"))) return [ok("systemd-networkd", "not running")];
  const folders = ["/usr/lib/systemd/networkd.conf.d", "/run/systemd/networkd.conf.d", "/etc/systemd/networkd.conf.d"];
  const settings = (await configFiles(host, ["/etc/systemd/networkd.conf"], folders)).join("\n");
  const off = (key: string): boolean => {
    const values = [...settings.matchAll(new RegExp(`^\\s*${key}\\s*=\\s*(\\S+)`, "gm"))];
    return /^(no|false|off|0)$/i.test(values.at(-1)?.[1] ?? "yes");
  };
  const kept = ["ManageForeignRoutes", "ManageForeignRoutingPolicyRules"].filter((key) => !off(key));
  if (kept.length === 0) return [ok("systemd-networkd", "leaves foreign routes and rules alone")];
  return [warn(
    "systemd-networkd",
    `${kept.join(" and ")} ${kept.length > 1 ? "are" : "is"} on: its restart removes routes that it did not make; the agent puts them back`,
    `write "[Network]" and ${kept.map((key) => `"${key}=no"`).join(" and ")} to /etc/systemd/networkd.conf.d/hawser.conf`,
  )];
};

export const otherPrograms: Check = async ({ host, uplinks, settings: { loadBalancer: { acceleration } } }) => {
  const findings: Finding[] = uplinks.filter(({ xdp }) => xdp !== undefined && !ourPrograms.has(xdp)).map((device) => warn(
    "other programs",
    `XDP program ${device.xdp} runs on ${device.name} before Hawser's${acceleration === "off" ? "" : ", which stays out of XDP there and balances services after it"}`,
    `nothing to do if it passes the packets on${acceleration === "off" ? "" : `; for services in XDP take it off: ip link set dev ${device.name} xdp off`}`,
  ));
  const attached = await host.run("bpftool", "-j", "net", "show");
  for (const device of uplinks) {
    const others = attached === undefined ? await filtersOf(host, device.name) : programsOn(attached, device.name);
    const foreign = others.filter((name) => !ourPrograms.has(name));
    if (foreign.length > 0) {
      findings.push(warn(
        "other programs",
        `TC programs on ${device.name}: ${foreign.join(", ")}`,
        "those before Hawser's must end with TC_ACT_UNSPEC (TCX_NEXT) for what is not theirs; look with `bpftool net` and `tc filter show`",
      ));
    }
  }
  return findings.length > 0 ? findings : [ok("other programs", "no other TC or XDP programs on the uplinks")];
};

/** Docker's own networks take part in choosing subnets; one of them in our pool would make two owners of one address. */
export const dockerNetworks: Check = async ({ host, settings }) => {
  if (!settings.docker.enabled) return [];
  const answer = await host.getJson(settings.docker.socket, "/networks").catch(() => undefined);
  if (!Array.isArray(answer)) return [];
  const clashes = (answer as readonly DockerNetwork[]).filter((network) => network.Driver !== "hawser").flatMap((network) =>
    (network.IPAM?.Config ?? []).flatMap(({ Subnet }) => {
      if (Subnet === undefined || !meets(Subnet, settings.pool.ipv4, settings.pool.ipv6)) return [];
      return [warn("Docker networks", `"${network.Name}" (${network.Driver}) uses ${Subnet}, which is in Hawser's pool`, `remove that network, or choose another pool`)];
    }));
  return clashes.length > 0 ? clashes : [ok("Docker networks", "none of other drivers is in Hawser's pool")];
};

interface DockerNetwork {
  readonly Name: string;
  readonly Driver: string;
  readonly IPAM?: { readonly Config?: readonly { readonly Subnet?: string }[] | null };
}

function meets(subnet: string, ...pools: readonly (string | null)[]): boolean {
  try {
    return pools.some((pool) => pool !== null && overlaps(parseCidr(subnet), parseCidr(pool)));
  } catch {
    return false;
  }
}

function programsOn(bpftool: string, device: string): readonly string[] {
  const [shown] = JSON.parse(bpftool) as readonly [{ tc?: readonly { devname?: string; name?: string }[] }?];
  return (shown?.tc ?? []).filter((program) => program.devname === device).map((program) => program.name ?? "unnamed");
}

/** Without bpftool: clsact filters are all that can be seen. */
async function filtersOf(host: Host, device: string): Promise<readonly string[]> {
  const outputs = await Promise.all(["ingress", "egress"].map((hook) => host.run("tc", "-j", "filter", "show", "dev", device, hook)));
  return outputs.flatMap((text) => (text ? JSON.parse(text) as readonly { options?: { bpf_name?: string } }[] : []))
    .flatMap((filter) => (filter.options?.bpf_name === undefined ? [] : [filter.options.bpf_name]));
}

async function configFiles(host: Host, files: readonly string[], folders: readonly string[]): Promise<readonly string[]> {
  const found = await Promise.all(folders.map(async (folder) =>
    (await host.list(folder)).filter((name) => name.endsWith(".conf")).toSorted().map((name) => `${folder}/${name}`)));
  const texts = await Promise.all([...files, ...found.flat()].map((path) => host.read(path)));
  return texts.filter((text) => text !== undefined);
}
