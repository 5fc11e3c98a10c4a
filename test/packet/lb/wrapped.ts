// A service's packet as another node, 192.0.2.9 or 2001:db8::9, wraps it for a container here.
import { hashOfAddress } from "../../../src/datapath/lb-hash.ts";
import { ipToBytes, parseIp } from "../../../src/std/ip.ts";
import { frame, ipv4, ipv6, udp } from "../packets.ts";
import type { Ipv4Options, Ipv6Options, Packet } from "../packets.ts";

export interface Wrapping extends Ipv4Options, Ipv6Options {
  readonly key?: string;
  readonly kind?: string;
  readonly about?: string;
  /** Its family is that of the outer packet. */
  readonly from?: string;
  /** How often it has been passed on. */
  readonly passed?: number;
  /** Answers go by way of who balanced: `from`, or of what was passed on this address. */
  readonly returns?: true | string;
  /** Outside. */
  readonly checksum?: "whole";
}

export function wrapped(container: string, port: number, inner: Packet, options: Wrapping = {}): Packet {
  const four = !container.includes(":");
  const head = (options.kind ?? (four ? "03406558" : "06406558")) + (options.key ?? "00000100") + (options.about ?? (four ? "ff488102" : "ff488105"));
  const option = Buffer.concat([Buffer.from(head, "hex"), ipToBytes(parseIp(container)), Buffer.from([port >> 8, port & 255, options.passed ?? 0, options.returns === undefined ? 0 : 1])]);
  const sender = typeof options.returns === "string" ? balancerMac(options.returns) : "02:00:00:00:00:07";
  const bytes = Buffer.concat([option, frame(sender, "02:00:00:00:00:08", inner)]);
  return outside(options.from ?? "192.0.2.9", bytes, options);
}

/** To this node, 192.0.2.1 or 2001:db8::1, whichever the sender's family is. */
export function outside(from: string, bytes: Uint8Array, options: Pick<Wrapping, "checksum"> & Ipv4Options & Ipv6Options = {}): Packet {
  const datagram = udp(50_000, 6081, bytes, options.checksum === "whole" ? {} : { checksum: "none" });
  return from.includes(":") ? ipv6(from, "2001:db8::1", datagram, options) : ipv4(from, "192.0.2.1", datagram, options);
}

/** The inner frame's source, of what was passed on. */
export function balancerMac(address: string): string {
  const number = address.includes(":") ? Buffer.from(new Uint32Array([hashOfAddress(parseIp(address))]).buffer) : Buffer.from(address.split(".").map(Number));
  return `02:0${address.includes(":") ? 1 : 0}:${number.toString("hex").replace(/..(?!$)/g, "$&:")}`;
}
