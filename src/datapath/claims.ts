// What a set of steps lays claim to: the measure by which everything else of ours on the host is a leftover. Pure.
import type { Endpoint } from "../abi/generated.ts";
import type { EndpointPlan, GuestPlan, PortPlan, Step } from "../network/types.ts";
import { networkOf } from "../std/ip.ts";
import type { Cidr, Ip } from "../std/ip.ts";
import { gatewayPrefix, subnetsOf } from "./network.ts";
import { frontendOf } from "./port.ts";

export interface Claims {
  /** Host ends of cables. */
  readonly interfaces: ReadonlySet<string>;
  /** By device. */
  readonly guests: ReadonlyMap<string, GuestPlan>;
  readonly addresses: ReadonlyMap<Ip, Owner>;
  /** By `frontendText`. */
  readonly ports: ReadonlyMap<string, PortPlan>;
  /** Numbers. */
  readonly networks: ReadonlySet<number>;
  /** Gateway → its network's number. */
  readonly gateways: ReadonlyMap<Ip, number>;
  /** Gateways' /32 and /128 on hwhost. */
  readonly gatewayPrefixes: ReadonlySet<Cidr>;
  readonly subnets: ReadonlySet<Cidr>;
}

/** Guests are of network 0. */
type Owner = Pick<EndpointPlan, "network" | "mac">;

export function claimsOf(steps: readonly Step[]): Claims {
  const networks = steps.filter((step) => step.kind === "network").map((step) => step.network);
  const subnets = networks.flatMap((network) => subnetsOf(network).map((subnet) => ({ ...subnet, network: network.number })));
  const endpoints = steps.filter((step) => step.kind === "endpoint").map((step) => step.endpoint);
  const guests = steps.filter((step) => step.kind === "guest").map((step) => step.guest);
  const owners = [...endpoints, ...guests.map((guest) => ({ ...guest, network: 0 }))];
  const ports = steps.filter((step) => step.kind === "port").map((step) => step.port);
  return {
    interfaces: new Set(steps.filter((step) => step.kind === "cable").map((step) => step.cable.hostInterface)),
    guests: new Map(guests.map((guest) => [guest.device, guest])),
    addresses: new Map(owners.flatMap((plan) => [plan.ipv4, plan.ipv6].filter((ip) => ip !== null).map((ip) => [ip, plan] as const))),
    ports: new Map(ports.map((plan) => [frontendText(frontendOf(plan)), plan])),
    networks: new Set(networks.map((network) => network.number)),
    gateways: new Map(subnets.map((subnet) => [subnet.gateway, subnet.network])),
    gatewayPrefixes: new Set(subnets.map(gatewayPrefix)),
    subnets: new Set(subnets.map((subnet) => networkOf(subnet.prefix))),
  };
}

export function frontendText(key: { readonly addr: Ip | null; readonly port: number; readonly proto: number }): string {
  return `${key.proto} ${key.addr ?? "::"} ${key.port}`;
}

/** Whether an entry in the maps is this endpoint's or guest's and nobody else's. */
export function claimsEntry(plan: Owner | undefined, entry: Endpoint): boolean {
  return plan !== undefined && plan.network === entry.network && plan.mac === entry.mac;
}
