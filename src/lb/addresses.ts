// Addresses that no service, or no server, can have.
import { addressOf, contains, familyOf, formatIp, lastOf, lengthOf, networkOf } from "../std/ip.ts";
import type { Cidr, Ip } from "../std/ip.ts";

/** Why no service can have it; undefined: it may. */
export function impossibleFrontend(address: Ip): string | undefined {
  const kind = kindOf(address);
  if (kind === undefined) return undefined;
  return `${address} is no address that one service can have: it ${reasons[kind].frontend}; give it a unicast address for which clients can ask, such as ${address.includes(":") ? "2001:db8::10" : "203.0.113.10"}`;
}

/** Why no server can be asked there; undefined: it may be. */
export function impossibleServer(address: Ip): string | undefined {
  const kind = kindOf(address);
  return kind === undefined ? undefined : `${address} is no address of a server: it ${reasons[kind].server}; give the one at which the nodes reach it`;
}

/** As what it is no host's: the first and the last of an IPv4 subnet are not, but of one that is a single address, or the two ends of a cable. undefined: it may be one's. */
export function edgeAmong(prefixes: readonly Cidr[], address: Ip): string | undefined {
  for (const prefix of prefixes) {
    if (familyOf(prefix) === 6 || lengthOf(prefix) > 30 || !contains(prefix, address)) continue;
    if (address === addressOf(networkOf(prefix))) return `the address of ${networkOf(prefix)} itself`;
    if (address === formatIp(lastOf(prefix), 4)) return `the broadcast address of ${networkOf(prefix)}`;
  }
  return undefined;
}

type Kind = "loopback" | "link" | "none" | "group" | "reserved" | "broadcast";

const reasons: Readonly<Record<Kind, { readonly frontend: string; readonly server: string }>> = {
  loopback: { frontend: "is loopback, which every host and every container has for itself", server: "is loopback, where every node finds itself" },
  link: { frontend: "is link-local, which routers do not pass on", server: "is link-local, and means another machine on every link" },
  none: { frontend: "is no host's", server: "is no host's" },
  group: { frontend: "is multicast, a group's", server: "is multicast, a group's" },
  reserved: { frontend: "is reserved, and no host's", server: "is reserved, and no host's" },
  broadcast: { frontend: "is broadcast, every host's", server: "is broadcast, every host's" },
};

/** undefined: unicast, beyond one host and one link. */
function kindOf(address: Ip): Kind | undefined {
  if (address.includes(":")) {
    if (address === "::1") return "loopback";
    if (address === "::") return "none";
    if (/^fe[89ab]/.test(address) && address.indexOf(":") === 4) return "link";
    return address.startsWith("ff") && address.indexOf(":") === 4 ? "group" : undefined;
  }
  const first = Number.parseInt(address, 10);
  if (first === 127) return "loopback";
  if (first === 0) return "none";
  if (address === "255.255.255.255") return "broadcast";
  if (first >= 240) return "reserved";
  if (first >= 224) return "group";
  return address.startsWith("169.254.") ? "link" : undefined;
}
