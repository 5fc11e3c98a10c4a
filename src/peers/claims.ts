// Claims that are made once: this node's slices, and numbers for identities. The store's claim decides; who died half-way is overtaken.
import { createHash } from "node:crypto";
import { firstProvisional } from "../engine/shared.ts";
import { HawserError } from "../std/errors.ts";
import { bitsOf, cidrOf, familyOf, firstOf, formatIp, lengthOf, overlaps } from "../std/ip.ts";
import type { Cidr, Family } from "../std/ip.ts";
import type { SharedStore } from "../store/shared.ts";
import type { PoolConfig } from "../network/types.ts";
import { identityHashKey, identityNumberKey, placeOf, sliceKey } from "./keys.ts";
import { decode, encodeIdentity, encodeIdentityKey, encodeSlice, firstIdentity } from "./records.ts";
import type { SharedRecord } from "./records.ts";
import type { View } from "./view.ts";

export interface Claims {
  /** This node's slice of the family, the one it had when nobody else has it now. @throws HawserError STORE, NO_FREE_POOL. */
  slice(family: Family, signal: AbortSignal): Promise<void>;
  /** One more for this node. @throws as `slice`. */
  another(family: Family, signal: AbortSignal): Promise<Cidr>;
  /** The identity's number, the same for whoever asks at whatever time. @throws HawserError STORE. */
  number(identityKey: string, signal: AbortSignal): Promise<number>;
  /** Of a slice that is known: it is written again when the store has lost it. */
  restore(slice: Cidr, signal: AbortSignal): Promise<void>;
}

/** hw_slices holds 4096, and some are the pools' own. */
const mostSlices = 4000;

export interface ClaimsOptions {
  readonly self: string;
  readonly pool: PoolConfig;
  readonly store: SharedStore;
  readonly view: View;
  /** What stands now was found out by claiming, before the store's events told. */
  readonly learned: () => void;
}

export function createClaims({ self, pool, store, view, learned }: ClaimsOptions): Claims {
  /** @returns what stands under the key; undefined when it is no record. */
  const claim = async (key: string, value: string, signal: AbortSignal): Promise<SharedRecord | undefined> => {
    const standing = await store.claim(key, value, { signal });
    if (view.take(new Map([[key, standing]]))) learned();
    const place = placeOf(key);
    try {
      return place === undefined ? undefined : decode(place, standing);
    } catch {
      return undefined;
    }
  };

  const claimSlice = async (slice: Cidr, node: string, signal: AbortSignal): Promise<string | undefined> => {
    const standing = await claim(sliceKey(slice), encodeSlice(slice, node), signal);
    return standing?.kind === "slice" && standing.slice === slice ? standing.node : undefined;
  };

  const slice = async (family: Family, signal: AbortSignal): Promise<void> => {
    if (family === 6 && pool.ipv6 === null) return;
    const own = view.registry.sliceOf(self, family);
    const kept = own !== null && (view.registry.stands(own) || await claimSlice(own, self, signal) === self);
    for (const more of view.registry.moreOf(self)) if (familyOf(more) === family && !view.registry.stands(more)) await claimSlice(more, self, signal);
    if (!kept) await another(family, signal);
  };

  const another = async (family: Family, signal: AbortSignal): Promise<Cidr> => {
    const whole = family === 4 ? pool.ipv4 : pool.ipv6;
    if (whole === null) throw new HawserError("NO_FREE_POOL", "there is no IPv6 pool; set pool.ipv6 in the configuration");
    const taken = [...view.registry.slices()];
    if (taken.length >= mostSlices) throw new HawserError("NO_FREE_POOL", `${taken.length} slices of the pool are taken, and no more can be told to the kernel; let them be larger (a smaller pool.ipv${family}NodePrefix)`);
    for (const candidate of candidates(whole, family === 4 ? pool.ipv4NodePrefix : pool.ipv6NodePrefix, self)) {
      if (view.registry.ownerOf(candidate) !== undefined || taken.some((one) => overlaps(one, candidate))) continue;
      if (await claimSlice(candidate, self, signal) === self) return candidate;
    }
    throw new HawserError("NO_FREE_POOL", `every slice of ${whole} has a node; enlarge pool.ipv${family} on every node, or remove slices/${family}/… of nodes that are gone for good from the store`);
  };

  const number = async (key: string, signal: AbortSignal): Promise<number> => {
    const known = view.registry.agreed(key);
    if (known !== undefined && view.registry.stands(key)) return known;
    const hashKey = identityHashKey(key);
    for (const candidate of numbersFor(key, known)) {
      const whose = view.registry.keyOf(candidate);
      if (whose !== undefined && whose !== key) continue;
      // First the number, then the key: whoever dies between the two leaves a number that waits for this very key.
      const owner = await claim(identityNumberKey(candidate), encodeIdentity(key), signal);
      if (owner?.kind !== "identity" || owner.key !== key) continue;
      const said = await claim(hashKey, encodeIdentityKey(key, candidate), signal);
      if (said?.kind !== "identity key") throw new HawserError("STORE", `${hashKey} holds a value that is no record; remove it from the store`);
      if (said.number === candidate) return candidate;
      // Somebody was faster with another number.
      const other = await claim(identityNumberKey(said.number), encodeIdentity(key), signal);
      if (other?.kind === "identity" && other.key === key) return said.number;
      throw new HawserError("STORE", `${hashKey} says ${said.number}, but that number is another identity's; remove the key from the store`);
    }
    throw new HawserError("STORE", "no identity number is free");
  };

  return {
    slice, another, number,
    restore: async (slice, signal) => {
      const owner = view.registry.ownerOf(slice);
      if (owner !== undefined && !view.registry.stands(slice)) await claimSlice(slice, owner, signal);
    },
  };
}

/** Every slice once, from one that the node's name says: after a loss of everything it most likely has the same again. */
function* candidates(whole: Cidr, length: number, name: string): Iterable<Cidr> {
  const family = familyOf(whole);
  const [count, size] = [1n << BigInt(length - lengthOf(whole)), 1n << BigInt(bitsOf(family) - length)];
  const first = createHash("sha256").update(name).digest().readBigUInt64BE() % count;
  for (let i = 0n; i < count; i++) yield cidrOf(formatIp(firstOf(whole) + ((first + i) % count) * size, family), length);
}

/** Every number once: the known one, then from one that the key says, so that two who ask at once ask for the same. */
function* numbersFor(key: string, known: number | undefined): Iterable<number> {
  if (known !== undefined) yield known;
  const count = firstProvisional - firstIdentity;
  const first = createHash("sha256").update("number").update(key).digest().readUInt32BE();
  for (let i = 0; i < count; i++) yield firstIdentity + (first + i) % count;
}
