// Whether a host port is free: no program of the host's listens there and no other container publishes it.
import { createSocket } from "node:dgram";
import { createServer } from "node:net";
import type { PortPlan } from "../network/types.ts";
import { HawserError } from "../std/errors.ts";
import { familyOf } from "../std/ip.ts";
import type { Host } from "./host.ts";
import { backendOf, frontendOf, sameBackend } from "./port.ts";
import { errnoCode, readText } from "./sysctl.ts";

/**
 * Binds the port for a moment. Nothing is held afterwards: once published, sock-lb's bind hooks refuse it to host programs.
 * @throws HawserError PORT_IN_USE naming the port, BAD_REQUEST when the host has no such address
 */
export async function claimPort(host: Host, plan: PortPlan): Promise<void> {
  const holder = host.tables.frontends.get(frontendOf(plan));
  if (holder !== undefined) {
    if (sameBackend(holder, backendOf(plan))) return;
    throw inUse(plan, "another container publishes it (`hawser port` shows which)");
  }
  try {
    if (plan.protocol === "tcp") await bindTcp(plan);
    else if (plan.protocol === "udp") await bindUdp(plan);
    else if (sctpHolds(plan, readText("/proc/net/sctp/eps") ?? "")) throw inUse(plan, "a program of the host listens there");
  } catch (error) {
    throw asClaimError(plan, error);
  }
}

function bindTcp(plan: PortPlan): Promise<void> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once("error", reject);
    const options = { host: plan.hostIp, port: plan.hostPort, ipv6Only: familyOf(plan.hostIp) === 6, exclusive: true };
    server.listen(options, () => server.close(() => resolve()));
  });
}

function bindUdp(plan: PortPlan): Promise<void> {
  return new Promise((resolve, reject) => {
    const family = familyOf(plan.hostIp);
    const socket = createSocket(family === 6 ? { type: "udp6", ipv6Only: true } : { type: "udp4" });
    socket.once("error", (error) => {
      socket.close();
      reject(error);
    });
    socket.bind({ address: plan.hostIp, port: plan.hostPort, exclusive: true }, () => socket.close(() => resolve()));
  });
}

/** Node has no SCTP sockets. `eps` lists the kernel's: columns ENDPT SOCK STY SST HBKT LPORT UID INODE LADDRS. */
export function sctpHolds(plan: Pick<PortPlan, "hostIp" | "hostPort">, eps: string): boolean {
  const wildcards: readonly string[] = ["0.0.0.0", "::"];
  const wanted: string = plan.hostIp;
  return eps.split("\n").slice(1).some((line) => {
    const fields = line.trim().split(/\s+/);
    if (Number(fields[5]) !== plan.hostPort) return false;
    const addresses = fields.slice(8).map((address) => address.replace("0000:0000:0000:0000:0000:0000:0000:0000", "::"));
    return wildcards.includes(wanted) || addresses.some((address) => address === wanted || wildcards.includes(address));
  });
}

function asClaimError(plan: PortPlan, error: unknown): unknown {
  const code = errnoCode(error);
  if (code === "EADDRINUSE") return inUse(plan, "a program of the host holds it (`ss -ltnup` shows which)", error);
  if (code === "EPERM" || code === "EACCES") return inUse(plan, "it is published already or reserved on this host", error);
  if (code === "EADDRNOTAVAIL") {
    return new HawserError("BAD_REQUEST", `host address ${plan.hostIp} for port ${plan.hostPort}/${plan.protocol} is not an address of this host`, { cause: error });
  }
  return error;
}

function inUse(plan: PortPlan, why: string, cause?: unknown): HawserError {
  const shown = familyOf(plan.hostIp) === 6 ? `[${plan.hostIp}]` : plan.hostIp;
  return new HawserError("PORT_IN_USE", `host port ${shown}:${plan.hostPort}/${plan.protocol} is taken: ${why}; choose another host port or free it`, { cause });
}
