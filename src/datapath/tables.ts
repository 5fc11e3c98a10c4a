// Our maps as typed tables: the codecs come from the compiled objects.
import type { Codec } from "../abi/codec.ts";
import { maps } from "../abi/generated.ts";
import type {
  Backend, Ct4, Ct4Key, Ct6, Ct6Key, Endpoint, FrontendKey, HostAddress, LbHeld, LbHeldKey, LbRival, Member, Name, NameAddresses, NamePointer, NameScope, Network, Node, Remote, Slice, Uplink, UplinkMac,
} from "../abi/generated.ts";
import type { KernelMap } from "../kernel/types.ts";
import { HawserError } from "../std/errors.ts";
import { addressOf, cidrOf, familyOf, lengthOf } from "../std/ip.ts";
import type { Cidr, Ip } from "../std/ip.ts";

export interface Table<K, V> {
  readonly map: KernelMap;
  get(key: K): V | undefined;
  set(key: K, value: V): void;
  /** False when it was not there. */
  delete(key: K): boolean;
  entries(): Iterable<readonly [K, V]>;
}

export interface Tables {
  readonly endpoints: Table<number, Endpoint>;
  readonly addresses: Table<Ip, Endpoint>;
  readonly networks: Table<number, Network>;
  /** Value: ifindex. */
  readonly members: Table<Member, number>;
  readonly hostAddresses: Table<Ip, HostAddress>;
  readonly uplinks: Table<number, Uplink>;
  /** Value: 1. */
  readonly uplinkMacs: Table<UplinkMac, number>;
  readonly frontends: Table<FrontendKey, Backend>;
  /** Addresses of services that this node answers for, by uplink. */
  readonly held: Table<LbHeldKey, LbHeld>;
  readonly rivals: Table<LbHeldKey, LbRival>;
  /** Other nodes by number. */
  readonly nodes: Table<number, Node>;
  /** Underlay address → node. */
  readonly peers: Table<Ip, number>;
  /** Hash of an IPv6 underlay address → node. */
  readonly balancers: Table<number, number>;
  readonly remotes: Table<Ip, Remote>;
  /** Value: node; 0: nobody's. */
  readonly slices: Table<Cidr, number>;
  /** What containers may ask for and Docker here does not know. */
  readonly names: Table<Name, NameAddresses>;
  /** By the name that an address has in reverse. */
  readonly pointers: Table<Name, NamePointer>;
  /** By ifindex: the other networks of its container. */
  readonly nameScopes: Table<number, NameScope>;
  /** By ifindex: a number that all devices of one container share; only of containers on several networks. */
  readonly containers: Table<number, number>;
  readonly flows4: Table<Ct4Key, Ct4>;
  readonly flows6: Table<Ct6Key, Ct6>;
}

/** The maps that `openTables` needs. */
export const tableNames: readonly string[] = [
  "hw_endpoints", "hw_addresses", "hw_networks", "hw_members", "hw_host_addrs", "hw_uplinks", "hw_uplink_macs", "hw_frontends", "hw_lb_held", "hw_lb_rivals", "hw_nodes",
  "hw_peers", "hw_balancers", "hw_remotes", "hw_slices", "hw_names", "hw_pointers", "hw_name_scopes", "hw_containers", "hw_ct4", "hw_ct6",
];

/** @throws HawserError INTERNAL when one of `tableNames` is missing */
export function openTables(open: ReadonlyMap<string, KernelMap>): Tables {
  const map = (name: string): KernelMap => {
    const found = open.get(name);
    if (found === undefined) throw new HawserError("INTERNAL", `no loaded object has a map ${name}`);
    return found;
  };
  return {
    endpoints: table(map("hw_endpoints"), maps.hw_endpoints.key, maps.hw_endpoints.value),
    addresses: table(map("hw_addresses"), address(maps.hw_addresses.key), maps.hw_addresses.value),
    networks: table(map("hw_networks"), maps.hw_networks.key, maps.hw_networks.value),
    members: table(map("hw_members"), maps.hw_members.key, maps.hw_members.value),
    hostAddresses: table(map("hw_host_addrs"), address(maps.hw_host_addrs.key), maps.hw_host_addrs.value),
    uplinks: table(map("hw_uplinks"), maps.hw_uplinks.key, maps.hw_uplinks.value),
    uplinkMacs: table(map("hw_uplink_macs"), maps.hw_uplink_macs.key, maps.hw_uplink_macs.value),
    frontends: table(map("hw_frontends"), maps.hw_frontends.key, maps.hw_frontends.value),
    held: table(map("hw_lb_held"), maps.hw_lb_held.key, maps.hw_lb_held.value),
    rivals: table(map("hw_lb_rivals"), maps.hw_lb_rivals.key, maps.hw_lb_rivals.value),
    nodes: table(map("hw_nodes"), maps.hw_nodes.key, maps.hw_nodes.value),
    peers: table(map("hw_peers"), address(maps.hw_peers.key), maps.hw_peers.value),
    balancers: table(map("hw_balancers"), maps.hw_balancers.key, maps.hw_balancers.value),
    remotes: table(map("hw_remotes"), address(maps.hw_remotes.key), maps.hw_remotes.value),
    slices: table(map("hw_slices"), prefix(maps.hw_slices.key), maps.hw_slices.value),
    names: table(map("hw_names"), maps.hw_names.key, maps.hw_names.value),
    pointers: table(map("hw_pointers"), maps.hw_pointers.key, maps.hw_pointers.value),
    nameScopes: table(map("hw_name_scopes"), maps.hw_name_scopes.key, maps.hw_name_scopes.value),
    containers: table(map("hw_containers"), maps.hw_containers.key, maps.hw_containers.value),
    flows4: table(map("hw_ct4"), maps.hw_ct4.key, maps.hw_ct4.value),
    flows6: table(map("hw_ct6"), maps.hw_ct6.key, maps.hw_ct6.value),
  };
}

function table<K, V>(map: KernelMap, key: Pick<Codec<K>, "encode" | "decode">, value: Codec<V>): Table<K, V> {
  return {
    map,
    get: (wanted) => {
      const bytes = map.get(key.encode(wanted));
      return bytes === undefined ? undefined : value.decode(bytes);
    },
    set: (wanted, content) => map.set(key.encode(wanted), value.encode(content)),
    delete: (wanted) => map.delete(key.encode(wanted)),
    *entries() {
      for (const [k, v] of map.entries()) yield [key.decode(k), value.decode(v)] as const;
    },
  };
}

/** IPv4 lies in ::ffff:0:0/96. */
function prefix(codec: Codec<Slice>): Pick<Codec<Cidr>, "encode" | "decode"> {
  const more = (address: Ip): number => (familyOf(address) === 4 ? 96 : 0);
  return {
    encode: (cidr) => codec.encode({ length: lengthOf(cidr) + more(addressOf(cidr)), addr: addressOf(cidr) }),
    decode: (bytes) => {
      const { length, addr } = codec.decode(bytes);
      const address = addr ?? ("::" as Ip);
      return cidrOf(address, length - more(address));
    },
  };
}

/** All zero is no address, but as a key it could only be `::`. */
function address(codec: Codec<Ip | null>): Pick<Codec<Ip>, "encode" | "decode"> {
  return { encode: (ip) => codec.encode(ip), decode: (bytes) => codec.decode(bytes) ?? ("::" as Ip) };
}
