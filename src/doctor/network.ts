// Checks of uplinks, addresses and ports.
import { overlaps, parseCidr, parseIp } from "../std/ip.ts";
import { type Check, type Finding, fail, ok, warn } from "./types.ts";

export const uplinks: Check = async ({ settings, uplinks: found }) => {
  if (found.length === 0) {
    const how = settings.node.devices === "auto" ? "no device has a default route" : `none of ${settings.node.devices.join(", ")} exists`;
    return [warn("uplinks", `${how}: containers reach each other and the host only`, "add a default route, or name the devices in node.devices")];
  }
  return found.map((device): Finding => {
    if (!device.ethernet) return fail("uplinks", `${device.name} is not an Ethernet device, and the programs read Ethernet headers`, "name Ethernet devices in node.devices");
    if (!device.up) return warn("uplinks", `${device.name} is down`, `ip link set ${device.name} up`);
    return ok("uplinks", `${device.name}, Ethernet, MTU ${device.mtu}`);
  });
};

export const mtu: Check = async ({ uplinks: found }) => {
  if (found.length === 0) return [];
  const sizes = found.map((device) => device.mtu);
  const [smallest, largest] = [Math.min(...sizes), Math.max(...sizes)];
  if (smallest < 1280) {
    return [warn("MTU", `${smallest} is less than the 1280 that IPv6 needs`, "raise the uplink's MTU, or set pool.ipv6 to null")];
  }
  if (smallest !== largest) {
    return [warn("MTU", `uplinks differ (${found.map((device) => `${device.name} ${device.mtu}`).join(", ")}); containers get ${smallest}`, "nothing to do, or make them equal")];
  }
  return [ok("MTU", `containers get the uplinks' ${smallest}`)];
};

export const nodeAddress: Check = async ({ settings: { node, store, peers }, host }) => {
  if (store.kind === "embedded" && peers.length === 0) return [];
  const name = node.name ?? (await host.read("/proc/sys/kernel/hostname"))?.trim();
  const [setting, named] = node.address === "auto"
    ? ["peers", peers.filter((peer) => peer.name === name).flatMap(({ address }) => address)] as const
    : ["node.address", [node.address].flat()] as const;
  if (named.length === 0) return [];
  const text = await host.run("ip", "-j", "address", "show");
  if (text === undefined) return [];
  const devices = JSON.parse(text) as readonly { readonly addr_info?: readonly { readonly local?: string }[] }[];
  const own = new Set(devices.flatMap(({ addr_info: addresses = [] }) => addresses.flatMap(({ local }) => (local === undefined ? [] : [parseIp(local)]))));
  return named.map((address): Finding => {
    if (own.has(parseIp(address))) return ok(setting, `${address} is on this host`);
    const mend = setting === "peers" ? "correct this node's line in peers" : "correct node.address";
    return fail(setting, `${address} is on no device of this host, and other nodes take nothing that comes from another address`, `give it to a device, or ${mend}`);
  });
};

/** Hawser's own routes lead to hwhost and hwnet. */
const own = /^hw/;

export const pool: Check = async ({ settings, routes }) => {
  const findings = [settings.pool.ipv4, settings.pool.ipv6].filter((prefix) => prefix !== null).map((prefix): Finding => {
    const range = parseCidr(prefix, "pool");
    const clash = routes.find((route) => !own.test(route.device) && !route.destination.endsWith("/0") && overlaps(range, parseCidr(route.destination)));
    if (clash === undefined) return ok("address pool", `${prefix} meets no route of this host`);
    return fail("address pool", `${prefix} overlaps ${clash.destination} on ${clash.device}`, `choose another pool.${prefix.includes(":") ? "ipv6" : "ipv4"}: containers could not reach that network`);
  });
  return findings;
};

export const localPorts: Check = async ({ host }) => {
  const range = (await host.read("/proc/sys/net/ipv4/ip_local_port_range"))?.trim().split(/\s+/).map(Number) ?? [];
  const [low, high] = range;
  if (low === undefined || high === undefined) return [];
  const left = 65_536 - 1024 - (high - Math.max(low, 1024) + 1);
  if (left < 4096) {
    return [warn("ephemeral ports", `the host's own are ${low}-${high}: only ${Math.max(0, left)} ports are left for masquerading and for servers of services`, "narrow net.ipv4.ip_local_port_range, for example to 32768 60999")];
  }
  return [ok("ephemeral ports", `the host's own are ${low}-${high}; ${left} are left for masquerading and for servers of services`)];
};

export const forwarding: Check = async ({ host }) => {
  const on = (await host.read("/proc/sys/net/ipv4/ip_forward"))?.trim() === "1";
  return [ok("ip_forward", on ? "on; Hawser does not need it" : "off; Hawser does not need it on")];
};

export const reversePath: Check = async ({ host }) => {
  const all = (await host.read("/proc/sys/net/ipv4/conf/all/rp_filter"))?.trim();
  const device = (await host.read("/proc/sys/net/ipv4/conf/hwhost/rp_filter"))?.trim();
  if (all === "1" || device === "1") return [ok("rp_filter", "strict; containers' packets come in by hwhost, which has their routes")];
  return [ok("rp_filter", all === "2" ? "loose" : "off")];
};
