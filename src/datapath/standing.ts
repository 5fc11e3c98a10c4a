// What the kernel still knows of our networks, cables, published ports and identities; the maps are read only when asked for.
import type { PortPlan, Protocol, Standing } from "../network/types.ts";
import type { Ip } from "../std/ip.ts";
import { protocolNumbers } from "./port.ts";
import type { Tables } from "./tables.ts";

export function standingOf(tables: Tables, cables: ReadonlySet<string>): Standing {
  return {
    cables,
    get gateways() {
      return new Map([...tables.networks.entries()].map(([number, { gateway4, gateway6 }]) => [number, { ipv4: gateway4, ipv6: gateway6 }]));
    },
    get ports() {
      return portsIn(tables);
    },
    get identities() {
      return new Map([...tables.addresses.entries()].flatMap(([address, { identity }]) => (identity === 0 ? [] : [[address, identity] as const])));
    },
  };
}

function portsIn(tables: Tables): readonly PortPlan[] {
  return [...tables.frontends.entries()].flatMap(([{ addr, port, proto }, backend]): readonly PortPlan[] => {
    const protocol = protocolOf(proto);
    if (protocol === undefined || backend.addr === null) return [];
    return [{ protocol, hostIp: addr ?? ("::" as Ip), hostPort: port, address: backend.addr, containerPort: backend.port, network: backend.network }];
  });
}

function protocolOf(number: number): Protocol | undefined {
  return (Object.keys(protocolNumbers) as Protocol[]).find((name) => protocolNumbers[name] === number);
}
