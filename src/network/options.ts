// Docker's and our own `-o` options: which keys there are, what each may be, and what is said when one is wrong.
import { HawserError } from "../std/errors.ts";
import type { Family, Ip } from "../std/ip.ts";
import { familyOf, parseIp } from "../std/ip.ts";
import { nearest, slip } from "../std/nearest.ts";

export interface NetworkOptions {
  /** Bytes; null: not given. */
  readonly mtu: number | null;
  readonly masquerade: boolean;
  readonly icc: boolean;
  readonly hostBinding4: Ip | null;
  readonly hostBinding6: Ip | null;
  readonly snat4: Ip | null;
  readonly snat6: Ip | null;
  readonly interfacePrefix: string;
}

type Options = Readonly<Record<string, string>>;
type Check = (key: string, value: string) => void;

const docker = "com.docker.network.";

/** Each meaning with the keys that carry it; Docker's key first. */
const meanings = {
  mtu: [`${docker}driver.mtu`, "hawser.mtu"],
  masquerade: [`${docker}bridge.enable_ip_masquerade`, "hawser.masquerade"],
  icc: [`${docker}bridge.enable_icc`, "hawser.icc"],
  hostBinding4: [`${docker}bridge.host_binding_ipv4`, "hawser.host_binding_ipv4"],
  hostBinding6: ["hawser.host_binding_ipv6"],
  snat4: [`${docker}host_ipv4`, "hawser.host_ipv4"],
  snat6: [`${docker}host_ipv6`, "hawser.host_ipv6"],
  interfacePrefix: [`${docker}container_iface_prefix`, "hawser.container_iface_prefix"],
} as const;

/** Keys of Docker's bridge that change nothing here, or that cannot be honoured and say so. */
const others: Readonly<Record<string, Check>> = {
  [`${docker}bridge.name`]: refuse("Hawser has no bridge to name"),
  [`${docker}bridge.default_bridge`]: onlyFalse("Docker's default network stays Docker's own"),
  [`${docker}bridge.inhibit_ipv4`]: onlyFalse("the gateway's address is Hawser's own"),
  [`${docker}bridge.gateway_mode_ipv4`]: gatewayMode,
  [`${docker}bridge.gateway_mode_ipv6`]: gatewayMode,
  [`${docker}bridge.trusted_host_interfaces`]: refuse("no interface may reach containers but through published ports"),
  // Hawser answers ARP and neighbour discovery itself, so nobody has to be told of a new container.
  [`${docker}advertise_addr_nmsgs`]: whole(0, 3),
  [`${docker}advertise_addr_ms`]: whole(100, 2000),
  [`${docker}enable_ipv4`]: refuse("use --ipv4 instead of -o"),
  [`${docker}enable_ipv6`]: refuse("use --ipv6 instead of -o"),
  [`${docker}internal`]: refuse("use --internal instead of -o"),
};

export const networkKeys: readonly string[] = [...Object.values(meanings).flat(), ...Object.keys(others)];
export const endpointKeys: readonly string[] = [`${docker}endpoint.sysctls`, `${docker}endpoint.ifname`];

/**
 * Reads a network's `-o` options. Keys outside `com.docker.network.` and `hawser.` are nobody's and pass.
 * @throws HawserError BAD_OPTION or UNSUPPORTED, naming the key and what it may be.
 */
export function parseNetworkOptions(options: Options, ipv6: boolean, hostAddresses: readonly Ip[]): NetworkOptions {
  for (const [key, value] of Object.entries(options)) {
    if (Object.hasOwn(others, key)) others[key]?.(key, value);
    else refuseUnknown(key, networkKeys);
  }
  const read = <T>(meaning: keyof typeof meanings, parse: (key: string, value: string) => T): T | null =>
    readOne(options, meanings[meaning], parse);
  const binding = (family: Family) => (key: string, value: string) => {
    const ip = parseAddress(key, value, family);
    return isAnyOrLoopback(ip) ? ip : onHost(key, ip, hostAddresses);
  };
  const source = (family: Family) => (key: string, value: string) => onHost(key, parseAddress(key, value, family), hostAddresses);
  return {
    mtu: read("mtu", (key, value) => parseMtu(key, value, ipv6)),
    masquerade: read("masquerade", parseBoolean) ?? true,
    icc: read("icc", parseBoolean) ?? true,
    hostBinding4: read("hostBinding4", binding(4)),
    hostBinding6: read("hostBinding6", binding(6)),
    snat4: read("snat4", source(4)),
    snat6: read("snat6", source(6)),
    interfacePrefix: read("interfacePrefix", parseInterfacePrefix) ?? "eth",
  };
}

export interface EndpointOptions {
  readonly interfaceName: string | null;
}

/** Reads an endpoint's driver options (`--network name=…,driver-opt=k=v`). @throws HawserError BAD_OPTION */
export function parseEndpointOptions(options: Options): EndpointOptions {
  for (const key of Object.keys(options)) refuseUnknown(key, endpointKeys);
  return { interfaceName: readOne(options, [`${docker}endpoint.ifname`], parseInterfaceName) };
}

function readOne<T>(options: Options, keys: readonly string[], parse: (key: string, value: string) => T): T | null {
  const given = keys.filter((key) => Object.hasOwn(options, key)).map((key) => ({ key, value: parse(key, options[key] ?? "") }));
  const [first, second] = given;
  if (first && second && first.value !== second.value) {
    throw new HawserError("BAD_OPTION", `options ${first.key} and ${second.key} mean the same and differ; give one of them`);
  }
  return first ? first.value : null;
}

function refuseUnknown(key: string, known: readonly string[]): void {
  if (known.includes(key) || !(key.startsWith(docker) || key.startsWith("hawser."))) return;
  // The prefix is long and shared by all: how many letters may be wrong depends on what follows it.
  const tail = (of: string): string => of.slice(of.lastIndexOf(".") + 1);
  const near = known.find((each) => tail(each) === tail(key)) ?? nearest(key, known, () => Math.max(2, slip(tail(key).length)));
  const family = known.filter((each) => each.startsWith(key.startsWith(docker) ? docker : "hawser."));
  const mend = near === undefined
    ? `what is known here: ${(family.length > 0 ? family : known).join(", ")}`
    : `the nearest known one is ${near}`;
  throw new HawserError("BAD_OPTION", `option ${key} is not known; ${mend}`);
}

/** What Go's strconv.ParseBool takes, because Docker's bridge parses with it. */
function parseBoolean(key: string, value: string): boolean {
  if (["1", "t", "T", "TRUE", "true", "True"].includes(value)) return true;
  if (["0", "f", "F", "FALSE", "false", "False"].includes(value)) return false;
  throw wrong(key, value, "true or false");
}

function parseMtu(key: string, value: string, ipv6: boolean): number {
  // RFC 791 asks hosts for 576 bytes at least, RFC 8200 for 1280.
  return parseWhole(key, value, ipv6 ? 1280 : 576, 65535, ipv6 ? " (1280 is the least that IPv6 allows)" : "");
}

function parseWhole(key: string, value: string, least: number, most: number, why = ""): number {
  const number = /^\d{1,6}$/.test(value) ? Number(value) : Number.NaN;
  if (number >= least && number <= most) return number;
  throw wrong(key, value, `a whole number from ${least} to ${most}${why}`);
}

function parseAddress(key: string, value: string, family: Family): Ip {
  try {
    const ip = parseIp(value, key);
    if (familyOf(ip) === family) return ip;
  } catch {
    // The sentence below says more than the parser's.
  }
  throw wrong(key, value, `an IPv${family} address`);
}

function isAnyOrLoopback(ip: Ip): boolean {
  return ip === "0.0.0.0" || ip === "::" || ip === "::1" || ip.startsWith("127.");
}

function onHost(key: string, ip: Ip, hostAddresses: readonly Ip[]): Ip {
  if (hostAddresses.includes(ip)) return ip;
  throw new HawserError("BAD_OPTION", `option ${key}: the host has no address ${ip}; it has ${hostAddresses.join(", ") || "none"}`);
}

/** The kernel's limit is 15 bytes (IFNAMSIZ less its NUL), and Docker appends an index of up to 3 digits. */
function parseInterfacePrefix(key: string, value: string): string {
  if (/^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,11}$/.test(value)) return value;
  throw wrong(key, value, "1 to 12 letters, digits, dots, dashes or underscores");
}

function parseInterfaceName(key: string, value: string): string {
  if (/^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,14}$/.test(value) && value !== "lo") return value;
  throw wrong(key, value, "1 to 15 letters, digits, dots, dashes or underscores, and not lo");
}

function gatewayMode(key: string, value: string): void {
  if (value === "nat" || value === "") return;
  if (["routed", "nat-unprotected", "isolated"].includes(value)) {
    throw new HawserError("UNSUPPORTED", `option ${key}=${value} is not supported; Hawser does nat only`);
  }
  throw wrong(key, value, "nat");
}

function refuse(why: string): Check {
  return (key) => {
    throw new HawserError("UNSUPPORTED", `option ${key} is not supported: ${why}`);
  };
}

function onlyFalse(why: string): Check {
  return (key, value) => {
    if (parseBoolean(key, value)) throw new HawserError("UNSUPPORTED", `option ${key}=${value} is not supported: ${why}`);
  };
}

function whole(least: number, most: number): Check {
  return (key, value) => void parseWhole(key, value, least, most);
}

function wrong(key: string, value: string, may: string): HawserError {
  return new HawserError("BAD_OPTION", `option ${key}: "${value}" is not ${may}`);
}
