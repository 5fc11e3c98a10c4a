// A service's packet as another node, 192.0.2.9, wraps it for a container here.
import { frame, ip, ipv4, udp } from "../packets.ts";
import type { Ipv4Options, Packet } from "../packets.ts";

export interface Wrapping extends Ipv4Options {
  readonly key?: string;
  readonly kind?: string;
  readonly about?: string;
  readonly from?: string;
  /** How often it has been passed on. */
  readonly passed?: number;
  /** Answers go by way of who balanced: `from`, or of what was passed on this address. */
  readonly returns?: true | string;
}

export function wrapped(container: string, port: number, inner: Packet, options: Wrapping = {}): Packet {
  const four = !container.includes(":");
  const address = four ? ipv4(container, container, udp(1, 1)).bytes.subarray(12, 16) : ip(container, container, udp(1, 1)).bytes.subarray(8, 24);
  const head = (options.kind ?? (four ? "03406558" : "06406558")) + (options.key ?? "00000100") + (options.about ?? (four ? "ff488102" : "ff488105"));
  const option = Buffer.concat([Buffer.from(head, "hex"), address, Buffer.from([port >> 8, port & 255, options.passed ?? 0, options.returns === undefined ? 0 : 1])]);
  const sender = typeof options.returns === "string" ? `02:00:${Buffer.from(options.returns.split(".").map(Number)).toString("hex").replace(/..(?!$)/g, "$&:")}` : "02:00:00:00:00:07";
  const bytes = Buffer.concat([option, frame(sender, "02:00:00:00:00:08", inner)]);
  return ipv4(options.from ?? "192.0.2.9", "192.0.2.1", udp(50_000, 6081, bytes, { checksum: "none" }), options);
}
