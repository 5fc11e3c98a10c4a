// Whether an address lies in a prefix, asked tens of thousands of times at once: the prefix's ends are worked out beforehand.
import { familyOf, firstOf, ipToBigInt, lastOf } from "../std/ip.ts";
import type { Cidr, Ip } from "../std/ip.ts";

export interface Span {
  readonly cidr: Cidr;
  has(address: Ip): boolean;
  /** Whether they have any address in common. */
  meets(other: Cidr): boolean;
}

export function spanOf(cidr: Cidr): Span {
  const [family, first, last] = [familyOf(cidr), firstOf(cidr), lastOf(cidr)];
  const meets = (other: Cidr): boolean => familyOf(other) === family && first <= lastOf(other) && firstOf(other) <= last;
  if (family === 4) {
    const [low, high] = [Number(first), Number(last)];
    return {
      cidr, meets,
      has: (address) => {
        if (familyOf(address) !== 4) return false;
        const value = number4(address);
        return low <= value && value <= high;
      },
    };
  }
  return {
    cidr, meets,
    has: (address) => {
      if (familyOf(address) !== 6) return false;
      const value = ipToBigInt(address);
      return first <= value && value <= last;
    },
  };
}

/** Without big integers, which cost more than all the rest. */
function number4(address: Ip): number {
  let [value, part] = [0, 0];
  for (let i = 0; i < address.length; i++) {
    const code = address.charCodeAt(i);
    if (code === 46) [value, part] = [value * 256 + part, 0];
    else part = part * 10 + code - 48;
  }
  return value * 256 + part;
}
