// IPsec policies (XFRM) of this network namespace, read only.
import { cidrOf, formatIp, ipFromBytes } from "../../std/ip.ts";
import type { Cidr, Family } from "../../std/ip.ts";
import type { IpsecPolicy } from "../../std/ipsec.ts";
import { errno, refusedWith } from "../errors.ts";
import { decodeAttributes, u32Of } from "./codec.ts";
import { familyNumbers } from "./rtnetlink.ts";
import { NetlinkSocket } from "./socket.ts";

/** linux/netlink.h, linux/xfrm.h */
const netlinkXfrm = 6;
const getPolicy = 21;
const xfrma = { template: 5, mark: 21, interfaceId: 31 } as const;
const policyOut = 1;
const policyBlock = 1;
/** struct xfrm_userpolicy_info, which begins with a struct xfrm_selector */
const at = { destination: 0, source: 16, port: 32, portMask: 34, sourcePortMask: 38, family: 40, destinationLength: 42, sourceLength: 43, protocol: 44, direction: 160, action: 161 } as const;
const policySize = 168;

/** Those that encrypt, or block, what leaves the host by whatever device, source port and mark. None where the kernel has no IPsec. */
export async function listIpsecPolicies(): Promise<readonly IpsecPolicy[]> {
  let socket: NetlinkSocket | undefined;
  try {
    socket = new NetlinkSocket(undefined, netlinkXfrm);
    return (await socket.dump("list IPsec policies", getPolicy, [])).flatMap(decodePolicy);
  } catch (error) {
    if (refusedWith(error, errno.EPROTONOSUPPORT)) return [];
    throw error;
  } finally {
    socket?.close();
  }
}

function decodePolicy(payload: Buffer): readonly IpsecPolicy[] {
  if (payload.length < policySize || payload[at.direction] !== policyOut) return [];
  const attributes = decodeAttributes(payload, policySize);
  const [template, mark] = [attributes.get(xfrma.template), attributes.get(xfrma.mark)];
  // Without a template what is allowed is so as it is; marks and interfaces are for packets that somebody chose.
  if ((template === undefined || template.length === 0) && payload[at.action] !== policyBlock) return [];
  if (u32Of(attributes.get(xfrma.interfaceId)) !== 0 || (mark !== undefined && mark.readUInt32LE(4) !== 0)) return [];
  if (payload.readUInt16BE(at.sourcePortMask) !== 0) return [];
  const family = payload.readUInt16LE(at.family);
  const families: readonly Family[] = family === familyNumbers.inet ? [4] : family === familyNumbers.inet6 ? [6] : [4, 6];
  return families.map((one) => ({
    source: prefix(payload, at.source, payload[at.sourceLength] ?? 0, one), destination: prefix(payload, at.destination, payload[at.destinationLength] ?? 0, one),
    protocol: payload[at.protocol] ?? 0, port: payload.readUInt16BE(at.port), portMask: payload.readUInt16BE(at.portMask),
  }));
}

function prefix(payload: Buffer, from: number, length: number, family: Family): Cidr {
  return length === 0 ? cidrOf(formatIp(0n, family), 0) : cidrOf(ipFromBytes(payload.subarray(from, from + (family === 4 ? 4 : 16))), length);
}
