// Under which keys nodes say which of them answers for an address of a service, and the records there: held/ADDRESS.
import type { Ip } from "../std/ip.ts";
import { form, longestName, string, versioned } from "./records.ts";

export interface HeldRecord {
  readonly node: string;
  /** It has the address on a device of its own. */
  readonly itself: boolean;
  /** Another machine on its link has the address, so that it does not answer. */
  readonly blocked?: boolean;
}

export const heldPrefix = "held/";
export const heldKey = (address: Ip): string => `${heldPrefix}${address}`;

export const encodeHeld = ({ node, itself, blocked = false }: HeldRecord): string =>
  JSON.stringify({ v: form, node, ...(itself ? { itself } : {}), ...(blocked ? { blocked } : {}) });

/** @throws an error whose message says what is wrong with the value. */
export function decodeHeld(text: string): HeldRecord {
  const fields = versioned(text);
  return { node: string(fields["node"], "node", longestName), itself: fields["itself"] === true, blocked: fields["blocked"] === true };
}
