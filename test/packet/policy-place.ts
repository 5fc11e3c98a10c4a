// What is the same in every random world: devices, networks, addresses; and a random number generator with a seed.
import { parseIp, parseMac } from "../../src/std/ip.ts";
import type { Ip, Mac } from "../../src/std/ip.ts";

export const devices = ["hwa", "hwb", "hwc", "hwd", "hwe", "hwf"];
export const guestDevices = ["guest1", "guest2"];
export const networkNames = ["red", "blue", "green"];
export const uplinkAddresses: readonly Ip[] = [parseIp("192.0.2.1"), parseIp("2001:db8::1")];

/** Of networks 1…3. */
export function gatewaysOf(network: number): readonly [Ip, Ip] {
  return [parseIp(`10.44.${network}.1`), parseIp(`fd44:0:0:${network}::1`)];
}

/** Network 0: a guest's. */
export function addressesOf(network: number, host: number): { readonly ipv4: Ip; readonly ipv6: Ip; readonly mac: Mac } {
  const place = network === 0 ? ["10.88.0", "fd88:0:0:0"] : [`10.44.${network}`, `fd44:0:0:${network}`];
  return { ipv4: parseIp(`${place[0]}.${host}`), ipv6: parseIp(`${place[1]}::${host}`), mac: parseMac(`02:42:0a:2c:0${network}:0${host}`) };
}

export interface Random {
  /** 0…below - 1. */
  number(below: number): number;
  chance(of: number): boolean;
  pick<T>(from: readonly T[]): T;
  /** Between so many and so many of them. */
  list<T>(least: number, most: number, make: () => T): readonly T[];
}

/** Mulberry32: the same numbers for the same seed, everywhere. */
export function randomFrom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const number = (below: number): number => Math.floor(next() * below);
  return {
    number,
    chance: (of) => next() < of,
    pick: (from) => {
      if (from.length === 0) throw new Error("nothing to pick from");
      return from[number(from.length)] as (typeof from)[number];
    },
    list: (least, most, make) => Array.from({ length: least + number(most - least + 1) }, make),
  };
}
