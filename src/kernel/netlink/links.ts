// Devices: list, make veth pairs, change, remove.
import { macFromBytes, macToBytes, parseMac } from "../../std/ip.ts";
import { errno, refusedWith } from "../errors.ts";
import type { LinkInfo, Netlink } from "../types.ts";
import { attribute, decodeAttributes, nested, nlmFlags, textAttribute, textOf, u32Attribute, u32Of } from "./codec.ts";
import {
  addrGenModeNone, familyNumbers, iff, ifinfomsg, ifla, iflaGeneve, iflaInet6AddrGenMode, iflaInfo, iflaVxlan, iflaXdp, rtm, skipStatistics, vethInfoPeer,
} from "./rtnetlink.ts";
import type { NetlinkSocket } from "./socket.ts";

export async function listLinks(socket: NetlinkSocket): Promise<readonly LinkInfo[]> {
  const payloads = await socket.dump("list links", rtm.getLink, [ifinfomsg(0), u32Attribute(ifla.extMask, skipStatistics)]);
  return payloads.map(decodeLink);
}

export async function findLink(socket: NetlinkSocket, name: string): Promise<LinkInfo | undefined> {
  try {
    const payload = await socket.get(`find link ${name}`, rtm.getLink, [
      ifinfomsg(0), textAttribute(ifla.ifname, name), u32Attribute(ifla.extMask, skipStatistics),
    ]);
    return payload && decodeLink(payload);
  } catch (error) {
    if (refusedWith(error, errno.ENODEV)) return undefined;
    throw error;
  }
}

export async function createVeth(socket: NetlinkSocket, spec: Parameters<Netlink["createVeth"]>[0]): Promise<void> {
  const end = (name: string, mac?: string): Buffer[] => [
    textAttribute(ifla.ifname, name),
    ...(mac === undefined ? [] : [attribute(ifla.address, macToBytes(parseMac(mac)))]),
    ...(spec.mtu === undefined ? [] : [u32Attribute(ifla.mtu, spec.mtu)]),
  ];
  const peer = nested(vethInfoPeer, [ifinfomsg(0), ...end(spec.peer, spec.peerMac)]);
  await socket.change(`create veth ${spec.name}`, rtm.newLink, nlmFlags.create | nlmFlags.exclusive, [
    ifinfomsg(spec.index ?? 0),
    ...end(spec.name, spec.mac),
    nested(ifla.linkinfo, [textAttribute(iflaInfo.kind, "veth"), nested(iflaInfo.data, [peer])]),
  ]);
}

/** One device for all tunnels: the packet's own metadata say where it goes, and nothing is learnt. */
export async function createTunnel(socket: NetlinkSocket, spec: Parameters<Netlink["createTunnel"]>[0]): Promise<void> {
  const port = Buffer.alloc(2);
  port.writeUInt16BE(spec.port);
  const one = Uint8Array.of(1);
  const data = spec.kind === "vxlan"
    ? [attribute(iflaVxlan.collectMetadata, one), attribute(iflaVxlan.port, port), attribute(iflaVxlan.learning, Uint8Array.of(0)), attribute(iflaVxlan.zeroCsum6Rx, one)]
    : [attribute(iflaGeneve.collectMetadata, new Uint8Array()), attribute(iflaGeneve.port, port), attribute(iflaGeneve.zeroCsum6Rx, one)];
  await socket.change(`create ${spec.kind} ${spec.name}`, rtm.newLink, nlmFlags.create | nlmFlags.exclusive, [
    ifinfomsg(spec.index ?? 0),
    textAttribute(ifla.ifname, spec.name),
    nested(ifla.linkinfo, [textAttribute(iflaInfo.kind, spec.kind), nested(iflaInfo.data, data)]),
  ]);
}

export async function setLink(socket: NetlinkSocket, index: number, change: Parameters<Netlink["setLink"]>[1]): Promise<void> {
  const what = `set link ${index}`;
  // First and alone: in one message the kernel would bring the device up, and give it its address, before this.
  if (change.noLinkLocal) {
    const mode = attribute(iflaInet6AddrGenMode, Uint8Array.of(addrGenModeNone));
    try {
      await socket.change(what, rtm.newLink, 0, [ifinfomsg(index), nested(ifla.afSpec, [nested(familyNumbers.inet6, [mode])])]);
    } catch (error) {
      if (!refusedWith(error, errno.EAFNOSUPPORT)) throw error; // a device without IPv6 gets no link-local address either
    }
  }
  const mask = (change.up === undefined ? 0 : iff.up) | (change.noArp === undefined ? 0 : iff.noArp);
  const flags = (change.up ? iff.up : 0) | (change.noArp ? iff.noArp : 0);
  const attributes = [
    ...(change.name === undefined ? [] : [textAttribute(ifla.ifname, change.name)]),
    ...(change.mac === undefined ? [] : [attribute(ifla.address, macToBytes(parseMac(change.mac)))]),
    ...(change.mtu === undefined ? [] : [u32Attribute(ifla.mtu, change.mtu)]),
  ];
  if (mask === 0 && attributes.length === 0) return;
  await socket.change(what, rtm.newLink, 0, [ifinfomsg(index, flags, mask), ...attributes]);
}

export async function deleteLink(socket: NetlinkSocket, name: string): Promise<boolean> {
  try {
    await socket.change(`delete link ${name}`, rtm.delLink, 0, [ifinfomsg(0), textAttribute(ifla.ifname, name)]);
    return true;
  } catch (error) {
    if (refusedWith(error, errno.ENODEV)) return false;
    throw error;
  }
}

function decodeLink(payload: Buffer): LinkInfo {
  const attributes = decodeAttributes(payload, 16);
  const flags = payload.readUInt32LE(8);
  const mac = attributes.get(ifla.address);
  const info = attributes.get(ifla.linkinfo);
  const kind = info ? textOf(decodeAttributes(info).get(iflaInfo.kind)) : "";
  const namespace = attributes.get(ifla.linkNetnsid)?.readInt32LE(0) ?? -1;
  return {
    index: payload.readInt32LE(4),
    name: textOf(attributes.get(ifla.ifname)),
    mac: mac?.length === 6 ? macFromBytes(mac) : "",
    mtu: u32Of(attributes.get(ifla.mtu)),
    up: (flags & iff.up) !== 0,
    carrier: (flags & iff.lowerUp) !== 0,
    noArp: (flags & iff.noArp) !== 0,
    kind,
    tunnelPort: info ? tunnelPortOf(kind, decodeAttributes(info).get(iflaInfo.data)) : null,
    type: payload.readUInt16LE(2),
    peerNamespace: namespace < 0 ? null : namespace,
    xdp: xdpOf(attributes.get(ifla.xdp)),
  };
}

/** XDP_ATTACHED_* of linux/if_link.h: 0 none, 1 driver, 2 skb, 3 hardware, 4 several. */
function xdpOf(data: Buffer | undefined): LinkInfo["xdp"] {
  const attributes = decodeAttributes(data ?? Buffer.alloc(0));
  const attached = attributes.get(iflaXdp.attached)?.[0] ?? 0;
  if (attached === 0) return null;
  return { mode: attached === 1 ? "native" : attached === 2 ? "generic" : "other", program: u32Of(attributes.get(iflaXdp.program)) };
}

function tunnelPortOf(kind: string, data: Buffer | undefined): number | null {
  if (data === undefined || (kind !== "vxlan" && kind !== "geneve")) return null;
  const port = decodeAttributes(data).get(kind === "vxlan" ? iflaVxlan.port : iflaGeneve.port);
  return port?.length === 2 ? port.readUInt16BE() : null;
}
