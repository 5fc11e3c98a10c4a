// Whether an address lies in a prefix, asked tens of thousands of times at once: the prefix's ends are worked out beforehand.
import { familyOf, firstOf, formatIp, groupsOf, lastOf } from "../std/ip.ts";
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
  const [low, high] = [groupsOf(formatIp(first, 6)), groupsOf(formatIp(last, 6))];
  return {
    cidr, meets,
    has: (address) => {
      if (familyOf(address) !== 6) return false;
      const groups = groupsOf(address);
      return order(low, groups) <= 0 && order(groups, high) <= 0;
    },
  };
}

function order(a: Uint16Array, b: Uint16Array): number {
  for (let i = 0; i < 8; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
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
