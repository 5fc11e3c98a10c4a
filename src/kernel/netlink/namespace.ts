// What stands in other network namespaces and where its veths come out in ours.
import { closeSync, fstatSync, openSync, statSync } from "node:fs";
import { macFromBytes } from "../../std/ip.ts";
import { asKernelError, errno, refusedWith } from "../errors.ts";
import { listAddresses } from "./addresses.ts";
import { attribute, decodeAttributes, textOf, u32Attribute, u32Of } from "./codec.ts";
import { ifinfomsg, ifla, iflaInfo, rtm, skipStatistics } from "./rtnetlink.ts";
import { NetlinkSocket } from "./socket.ts";

/** A device of another namespace; loopback is left out. */
export interface NamespaceDevice {
  readonly name: string;
  readonly index: number;
  readonly mac: string;
  /** `veth`, `macvlan`, …; "" for hardware. */
  readonly kind: string;
  /** The veth's other end, where that is in our namespace. */
  readonly host: { readonly name: string; readonly index: number } | null;
  /** Global ones, `address/length`. */
  readonly addresses: readonly string[];
}

export interface NamespaceView {
  /** Of the namespace itself, whatever file leads to it. */
  readonly id: string;
  /** Whether it is the caller's own; then no device is listed. */
  readonly own: boolean;
  readonly devices: readonly NamespaceDevice[];
}

/** linux/net_namespace.h */
const getNsid = 90;
const nsidAttributes = { nsid: 1, fd: 3 } as const;
const notAssigned = -1;
/** linux/if_link.h, what links.ts has no use for. */
const iflaLink = 5;
const loopback = 772;

/** A device as its own namespace tells it. */
interface Standing {
  readonly name: string;
  readonly index: number;
  readonly mac: string;
  readonly kind: string;
  readonly type: number;
  /** Index of the other end, and the namespace that it is in as the device's own one counts them. */
  readonly link: number;
  readonly linkNetnsid: number;
}

/**
 * Looks into the namespaces of these files (`/proc/PID/ns/net`), one answer each; null: it is gone.
 * Whose end a veth of ours is comes from our side alone: what is inside a namespace may be made to look like anything.
 */
export async function inspectNamespaces(paths: readonly string[]): Promise<readonly (NamespaceView | null)[]> {
  if (paths.length === 0) return [];
  const socket = new NetlinkSocket();
  try {
    const own = idOf(statSync("/proc/self/ns/net"));
    const host = (await listDevices(socket)).filter(({ kind }) => kind === "veth");
    const views: (NamespaceView | null)[] = [];
    for (const path of paths) views.push(await inspect(path, own, socket, host));
    return views;
  } finally {
    socket.close();
  }
}

async function inspect(path: string, own: string, socket: NetlinkSocket, host: readonly Standing[]): Promise<NamespaceView | null> {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch (error) {
    if (refusedWith(asKernelError(error), errno.ENOENT, errno.ESRCH)) return null;
    throw asKernelError(error);
  }
  // Everything by the open file: the process may end, and its number become another's.
  try {
    const id = idOf(fstatSync(fd));
    if (id === own) return { id, own: true, devices: [] };
    const nsid = await nsidOf(socket, fd);
    const inside = new NetlinkSocket(`/proc/self/fd/${fd}`);
    try {
      const devices = (await listDevices(inside)).filter(({ type }) => type !== loopback);
      const addresses = (await listAddresses(inside)).filter(({ scope }) => scope === "global");
      return {
        id, own: false,
        devices: devices.map(({ name, index, mac, kind }) => {
          const end = nsid === notAssigned ? undefined : host.find((veth) => veth.link === index && veth.linkNetnsid === nsid);
          return {
            name, index, mac, kind, host: end === undefined ? null : { name: end.name, index: end.index },
            addresses: addresses.filter((address) => address.index === index).map(({ prefix }) => prefix),
          };
        }),
      };
    } finally {
      inside.close();
    }
  } finally {
    closeSync(fd);
  }
}

async function listDevices(socket: NetlinkSocket): Promise<readonly Standing[]> {
  const payloads = await socket.dump("list links", rtm.getLink, [ifinfomsg(0), u32Attribute(ifla.extMask, skipStatistics)]);
  return payloads.map((payload) => {
    const attributes = decodeAttributes(payload, 16);
    const mac = attributes.get(ifla.address);
    const info = attributes.get(ifla.linkinfo);
    return {
      name: textOf(attributes.get(ifla.ifname)), index: payload.readInt32LE(4), type: payload.readUInt16LE(2),
      mac: mac?.length === 6 ? macFromBytes(mac) : "", kind: info ? textOf(decodeAttributes(info).get(iflaInfo.kind)) : "",
      link: u32Of(attributes.get(iflaLink)), linkNetnsid: attributes.get(ifla.linkNetnsid)?.readInt32LE(0) ?? notAssigned,
    };
  });
}

/** The number by which our namespace knows that one; the kernel gives it when a device of ours with its other end there is first listed. */
async function nsidOf(socket: NetlinkSocket, fd: number): Promise<number> {
  const number = Buffer.alloc(4);
  number.writeUInt32LE(fd);
  const answer = await socket.get("find namespace", getNsid, [Buffer.alloc(4), attribute(nsidAttributes.fd, number)]);
  return answer === undefined ? notAssigned : (decodeAttributes(answer, 1).get(nsidAttributes.nsid)?.readInt32LE(0) ?? notAssigned);
}

function idOf({ dev, ino }: { readonly dev: number; readonly ino: number }): string {
  return `${dev}:${ino}`;
}
