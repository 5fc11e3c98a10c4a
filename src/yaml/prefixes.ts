// Addresses and prefixes as written.
import { messageOf } from "../std/errors.ts";
import { addressOf, bitsOf, cidrOf, familyOf, ipToBigInt, lengthOf, networkOf, parseCidr, parseIp } from "../std/ip.ts";
import type { Cidr } from "../std/ip.ts";
import { quoted } from "./render.ts";
import { slice, wrong } from "./text.ts";
import type { Text } from "./text.ts";

/** An address is the prefix of itself alone. @throws Problems naming the network meant when host bits are set. */
export function parsePrefix(text: Text): Cidr {
  const bare = text.text.startsWith("[") && text.text.endsWith("]") ? slice(text, 1, text.text.length - 1) : text;
  const cidr = understand(bare);
  const host = BigInt(bitsOf(familyOf(cidr)) - lengthOf(cidr));
  if ((ipToBigInt(addressOf(cidr)) & ((1n << host) - 1n)) === 0n) return cidr;
  throw wrong(bare, `${quoted(bare.text)} has bits set behind its prefix length; the network is ${networkOf(cidr)}`);
}

function understand(text: Text): Cidr {
  try {
    if (text.text.includes("/")) return parseCidr(text.text);
    const ip = parseIp(text.text);
    return cidrOf(ip, bitsOf(familyOf(ip)));
  } catch (error) {
    const reason = messageOf(error).replace(/^(?:address|prefix): /, "");
    throw wrong(text, reason.length < 200 ? reason : `${quoted(text.text)} is no address`);
  }
}
