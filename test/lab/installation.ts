// How the lab's hosts are configured: each alone with a pool of its own, or all of them as one installation.
import type { Machine } from "./lan.ts";

export interface ClusterOptions {
  /** `etcd`: a real one of three members. `peers`: the configuration of each host names all of them. Default etcd. */
  readonly store?: "etcd" | "peers";
  /** Default overlay. */
  readonly mode?: "overlay" | "native";
  /** Default vxlan, or what HAWSER_LAB_ENCAPSULATION says: the machine's kernel need not have Geneve. */
  readonly encapsulation?: "vxlan" | "geneve";
  /** UDP port of the tunnels. Default 8472. */
  readonly port?: number;
  /** Family of the addresses at which hosts, and etcd, are reached. Default 4. */
  readonly underlay?: 4 | 6;
  /** Whether tunnels go beside the hosts' stacks. Default true, or what HAWSER_LAB_DIRECT says. */
  readonly direct?: boolean;
}

/** Parts of hawser.yaml. */
export type Settings = Readonly<Record<string, unknown>> & { readonly node?: Readonly<Record<string, unknown>> };

const tunnelPort = 8472;

/** The tunnels' UDP port of an installation. */
export const portOf = (options: ClusterOptions): number => options.port ?? tunnelPort;

export const encapsulationOf = (options: ClusterOptions): string => options.encapsulation ?? process.env["HAWSER_LAB_ENCAPSULATION"] ?? "vxlan";

const directOf = (options: ClusterOptions): boolean => options.direct ?? process.env["HAWSER_LAB_DIRECT"] !== "false";

/** A host without others; its pool by its index. */
export function alone(index: number): Settings {
  return { pool: { ipv4: `10.${44 + index}.0.0/16`, ipv6: `fd${44 + index}::/48` } };
}

/** The slices that static peers have: 10.44.N.0/24 and fd44:0:0:N::/64, N from 1. */
export const slicesOf = (index: number): { readonly ipv4: string; readonly ipv6: string } => ({ ipv4: `10.44.${index + 1}.0/24`, ipv6: `fd44:0:0:${index + 1}::/64` });

/** One of the hosts of one installation. */
export function member(options: ClusterOptions, machines: readonly Machine[], machine: Machine, endpoints: readonly string[]): Settings {
  const { store = "etcd", mode = "overlay", underlay = 4 } = options;
  const addressOf = ({ ipv4, ipv6 }: Machine): string => (underlay === 4 ? ipv4 : ipv6);
  return {
    // Of both families `auto` takes the first, IPv4. The others know the second, too, by which programs of the host speak IPv4.
    ...(underlay === 6 ? { node: { address: [machine.ipv6, machine.ipv4] } } : {}),
    pool: { ipv4: "10.44.0.0/16", ipv4NodePrefix: 24, ipv6: "fd44::/48", ipv6NodePrefix: 64 },
    routing: { mode, encapsulation: encapsulationOf(options), port: portOf(options), direct: directOf(options) },
    ...(store === "etcd"
      ? { store: { kind: "etcd", endpoints } }
      : { peers: machines.map((each, index) => ({ name: each.name, address: addressOf(each), ...slicesOf(index) })) }),
  };
}
