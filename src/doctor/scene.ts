// Gathers what several checks need: the kernel's configuration, the routes and the uplinks.
import { formatIp } from "../std/ip.ts";
import type { Device, Host, Installation, Route, Scene, Settings } from "./types.ts";

export async function lookAround(host: Host, settings: Settings, installation: Installation): Promise<Scene> {
  const routes = [...routes4(await host.read("/proc/net/route")), ...routes6(await host.read("/proc/net/ipv6_route"))];
  const named = settings.node.devices;
  const names = named === "auto"
    ? [...new Set(routes.filter((route) => route.destination.endsWith("/0")).map((route) => route.device))]
    : named;
  const devices = await Promise.all(names.map((name) => device(host, name)));
  return {
    host, settings, installation, routes,
    uplinks: devices.filter((each) => each !== undefined),
    kernelConfig: await kernelConfig(host),
  };
}

/** /proc/net/route: addresses in hex, as the machine's 32-bit words (little-endian on everything we run on). */
export function routes4(text = ""): readonly Route[] {
  return text.split("\n").slice(1).map((line) => line.trim().split(/\s+/)).filter((fields) => fields.length >= 8).map((fields) => {
    const [name = "", destination = "", mask = ""] = [fields[0], fields[1], fields[7]];
    return { device: name, destination: `${formatIp(swapped(destination), 4)}/${ones(swapped(mask))}` };
  });
}

/** /proc/net/ipv6_route: destination, prefix length in hex, …, device. Loopback's entries are the kernel's own. */
export function routes6(text = ""): readonly Route[] {
  return text.split("\n").map((line) => line.trim().split(/\s+/)).filter((fields) => fields.length >= 10 && fields[9] !== "lo").map((fields) => ({
    device: fields[9] ?? "",
    destination: `${formatIp(BigInt(`0x${fields[0]}`), 6)}/${Number.parseInt(fields[1] ?? "0", 16)}`,
  }));
}

/** From iproute2 where it is installed: /sys shows the devices of the namespace that mounted it, which need not be ours. */
async function device(host: Host, name: string): Promise<Device | undefined> {
  const text = await host.run("ip", "-j", "-d", "link", "show", "dev", name);
  if (text !== undefined) {
    const [link] = JSON.parse(text) as readonly [{
      mtu: number; link_type: string; flags: readonly string[]; xdp?: { prog?: { id?: number; name?: string } }; linkinfo?: { info_kind?: string };
    }?];
    if (link !== undefined) {
      const program = link.xdp?.prog;
      return {
        name, mtu: link.mtu, ethernet: link.link_type === "ether", up: link.flags.includes("UP"),
        xdp: program && (program.name ?? `id ${program.id ?? "unknown"}`), kind: link.linkinfo?.info_kind,
      };
    }
  }
  const [mtu, type, flags] = await Promise.all(["mtu", "type", "flags"].map((file) => host.read(`/sys/class/net/${name}/${file}`)));
  if (mtu === undefined) return undefined;
  return { name, mtu: Number(mtu), ethernet: type?.trim() === "1", up: (Number(flags) & 1) === 1, xdp: undefined, kind: undefined };
}

async function kernelConfig(host: Host): Promise<ReadonlyMap<string, string> | undefined> {
  const text = await host.readCompressed("/proc/config.gz") ?? await host.read(`/boot/config-${host.kernel}`);
  if (text === undefined) return undefined;
  return new Map([...text.matchAll(/^(CONFIG_\w+)=(\S+)$/gm)].map((match) => [match[1] ?? "", match[2] ?? ""]));
}

function swapped(hex: string): bigint {
  return BigInt(`0x${hex.match(/../g)?.toReversed().join("") || "0"}`);
}

function ones(mask: bigint): number {
  return mask.toString(2).replaceAll("0", "").length;
}
