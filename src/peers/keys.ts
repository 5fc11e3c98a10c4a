// Under which keys nodes share what: nodes/NAME, slices/FAMILY/ADDRESS, endpoints/NODE/ID, health/NODE or health/NODE/PIECE, identities/NUMBER, identity-keys/HASH.
import { createHash } from "node:crypto";
import { addressOf, familyOf, parseIp } from "../std/ip.ts";
import type { Cidr, Ip } from "../std/ip.ts";

export type Place =
  | { readonly kind: "node"; readonly name: string }
  | { readonly kind: "slice"; readonly address: Ip }
  | { readonly kind: "endpoint"; readonly node: string; readonly id: string }
  /** `piece`: of those that are too many for one record; left out: of all. */
  | { readonly kind: "health"; readonly node: string; readonly piece?: number }
  | { readonly kind: "identity"; readonly number: number }
  | { readonly kind: "identity key"; readonly hash: string };

export const nodeName = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;
const longestKey = 1024;
/** At most. */
export const healthPieces = 32;

export const nodeKey = (name: string): string => `nodes/${name}`;
export const sliceKey = (slice: Cidr): string => `slices/${familyOf(slice)}/${addressOf(slice)}`;
export const endpointsOf = (node: string): string => `endpoints/${node}/`;
export const endpointKey = (node: string, id: string): string => `${endpointsOf(node)}${encodeURIComponent(id)}`;
export const healthKey = (node: string, piece?: number): string => `health/${node}${piece === undefined ? "" : `/${piece}`}`;
/** Whether it is of a node's leased records, of which its own is another. */
export const isPartOf = (node: string, key: string): boolean => key.startsWith(endpointsOf(node)) || isHealthOf(node, key);
export const isHealthOf = (node: string, key: string): boolean => key === healthKey(node) || key.startsWith(`${healthKey(node)}/`);
export const identityNumberKey = (number: number): string => `identities/${number}`;
export const identityHashKey = (identityKey: string): string => `identity-keys/${hashOf(identityKey)}`;

/** SHA-256 of the identity key, in hex. */
export function hashOf(identityKey: string): string {
  return createHash("sha256").update(identityKey).digest("hex");
}

/** undefined: a key of another build's, which this one does not know. @throws HawserError or URIError when it is a known kind's and wrong. */
export function placeOf(key: string): Place | undefined {
  if (key.length > longestKey) throw new RangeError(`a key of ${key.length} characters is none`);
  const words = key.split("/");
  const [[room, first = "", second], parts] = [words, words.length];
  const wrong = (): never => {
    throw new RangeError("a key of that form is none");
  };
  switch (room) {
    case "nodes":
      return parts === 2 && nodeName.test(first) ? { kind: "node", name: first } : wrong();
    case "slices": {
      const address = parts === 3 ? parseIp(second ?? "") : wrong();
      // One thing, one key: another way of writing the same address would be a second claim.
      return address === second && String(familyOf(address)) === first ? { kind: "slice", address } : wrong();
    }
    case "endpoints": {
      const id = parts === 3 ? decodeURIComponent(second ?? "") : wrong();
      return nodeName.test(first) && id !== "" && encodeURIComponent(id) === second ? { kind: "endpoint", node: first, id } : wrong();
    }
    case "health":
      if (!nodeName.test(first)) wrong();
      if (parts === 2) return { kind: "health", node: first };
      return parts === 3 && /^(?:0|[1-9]\d?)$/.test(second ?? "") && Number(second) < healthPieces ? { kind: "health", node: first, piece: Number(second) } : wrong();
    case "identities":
      return parts === 2 && /^[1-9]\d{0,7}$/.test(first) ? { kind: "identity", number: Number(first) } : wrong();
    case "identity-keys":
      return parts === 2 && /^[0-9a-f]{64}$/.test(first) ? { kind: "identity key", hash: first } : wrong();
    default:
      return undefined;
  }
}
