// Numbers of linux/rtnetlink.h and its neighbours, named as there.

export const netlinkRoute = 0;
export const solNetlink = 270;
export const netlinkOptions = { addMembership: 1, capAck: 10, extAck: 11, strictCheck: 12 } as const;

export const rtm = {
  newLink: 16, delLink: 17, getLink: 18, newAddr: 20, delAddr: 21, getAddr: 22, newRoute: 24, delRoute: 25, getRoute: 26,
} as const;

/** enum rtnetlink_groups: links, addresses and routes of both families. */
export const watchedGroups = [1, 5, 7, 9, 11] as const;

export const ifla = { address: 1, ifname: 3, mtu: 4, linkinfo: 18, afSpec: 26, extMask: 29, linkNetnsid: 37, xdp: 43 } as const;
/** enum in linux/if_link.h; `attached` is one of `xdpAttached`. */
export const iflaXdp = { attached: 2, program: 4 } as const;
export const iflaInfo = { kind: 1, data: 2 } as const;
export const vethInfoPeer = 1;
/** enum in linux/if_link.h */
export const iflaVxlan = { learning: 7, port: 15, zeroCsum6Rx: 20, collectMetadata: 25 } as const;
export const iflaGeneve = { port: 5, collectMetadata: 6, zeroCsum6Rx: 10 } as const;
export const iflaInet6AddrGenMode = 8;
export const addrGenModeNone = 1;
export const skipStatistics = 8;
export const iff = { up: 0x1, noArp: 0x80, lowerUp: 0x10000 } as const;

export const ifa = { address: 1, local: 2, flags: 8 } as const;
export const ifaNoDad = 0x02;
export const ifaNoPrefixRoute = 0x200;
export const ifaAutoJoin = 0x400;

export const rta = {
  dst: 1, oif: 4, gateway: 5, priority: 6, prefsrc: 7, multipath: 9, table: 15, via: 18,
} as const;
export const mainTable = 254;
export const protocolStatic = 4;
export const scopes = { universe: 0, link: 253, host: 254, nowhere: 255 } as const;
export const unicast = 1;

export const familyNumbers = { unspecified: 0, inet: 2, inet6: 10 } as const;

/** struct ifinfomsg */
export function ifinfomsg(index: number, flags = 0, change = 0): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeInt32LE(index, 4);
  bytes.writeUInt32LE(flags, 8);
  bytes.writeUInt32LE(change, 12);
  return bytes;
}

/** struct ifaddrmsg */
export function ifaddrmsg(family: number, prefixLength: number, index: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes[0] = family;
  bytes[1] = prefixLength;
  bytes.writeUInt32LE(index, 4);
  return bytes;
}

/** struct rtmsg, in the main table */
export function rtmsg(family: number, destinationLength: number, protocol: number, scope: number, type: number): Buffer {
  const bytes = Buffer.alloc(12);
  bytes[0] = family;
  bytes[1] = destinationLength;
  bytes[4] = mainTable;
  bytes[5] = protocol;
  bytes[6] = scope;
  bytes[7] = type;
  return bytes;
}
