// One network with two endpoints and a port, as the model would plan them.
import type { CablePlan, EndpointPlan, NetworkPlan, PortPlan, Step } from "../../../src/network/types.ts";
import type { PolicyTables } from "../../../src/policy/types.ts";
import { parseCidr, parseIp, parseMac } from "../../../src/std/ip.ts";

export const shop: NetworkPlan = {
  number: 1,
  ipv4: { prefix: parseCidr("10.44.0.0/24"), gateway: parseIp("10.44.0.1") },
  ipv6: { prefix: parseCidr("fd44::/64"), gateway: parseIp("fd44::1") },
  internal: false,
  icc: true,
  masquerade: true,
  snat4: null,
  snat6: null,
  key: 0,
};

export function cable(id: string, host: number): CablePlan {
  return {
    hostInterface: `hw${id}`,
    containerInterface: `hw${id}c`,
    mac: parseMac(`02:42:0a:2c:00:${host.toString(16).padStart(2, "0")}`),
    mtu: 1400,
  };
}

export function endpoint(plan: CablePlan, host: number): EndpointPlan {
  return {
    hostInterface: plan.hostInterface,
    network: 1,
    ipv4: parseIp(`10.44.0.${host}`),
    ipv6: parseIp(`fd44::${host.toString(16)}`),
    mac: plan.mac,
    mtu: plan.mtu,
    internal: false,
    icc: true,
    masquerade: true,
    identity: 0,
  };
}

export const cableA = cable("aaaaaaaaaaa", 2);
export const endpointA = endpoint(cableA, 2);
export const cableB = cable("bbbbbbbbbbb", 3);
export const endpointB = endpoint(cableB, 3);

export const port: PortPlan = {
  protocol: "tcp",
  hostIp: parseIp("0.0.0.0"),
  hostPort: 8080,
  address: parseIp("10.44.0.2"),
  containerPort: 80,
  network: 1,
};

/** No rule for anybody. */
export const noPolicy: PolicyTables = { classes: new Map(), prefixes: new Map(), pairs: new Map(), ports: new Map(), rules: [] };

/** What the model would desire of all this, in order. */
export const desired: readonly Step[] = [
  { kind: "policy", tables: noPolicy, before: null },
  { kind: "network", network: shop },
  { kind: "cable", cable: cableA },
  { kind: "attach", cable: cableA },
  { kind: "endpoint", endpoint: endpointA },
  { kind: "cable", cable: cableB },
  { kind: "attach", cable: cableB },
  { kind: "endpoint", endpoint: endpointB },
  { kind: "port", port },
];
