// Who this node is, the same after every restart: its name, and the MAC that containers remember for their gateway.
import type { Log } from "../std/log.ts";
import { parseMac } from "../std/ip.ts";
import type { Mac } from "../std/ip.ts";
import type { Store } from "../store/types.ts";

export interface Identity {
  readonly name: string;
  readonly mac: Mac;
}

export interface IdentityOptions {
  readonly store: Store;
  readonly name: string;
  /** What our host device has now; undefined when there is none. */
  readonly standing: string | undefined;
  readonly randomBytes: (count: number) => Uint8Array;
  readonly log: Log;
}

/** The MAC is the remembered one; when the state is lost, that of the device that still stands; else a new one. */
export async function identify({ store, name, standing, randomBytes, log }: IdentityOptions): Promise<Identity> {
  const kept = (await store.load()).get("meta");
  const remembered = kept?.get("mac");
  const mac = typeof remembered === "string" ? parseMac(remembered, "the remembered MAC") : standing === undefined ? newMac(randomBytes) : parseMac(standing);
  if (kept?.get("name") !== name || remembered !== mac) {
    await store.write([{ table: "meta", key: "name", value: name }, { table: "meta", key: "mac", value: mac }]).catch((error: unknown) => {
      log.error("this node's name and MAC could not be kept", { error });
    });
  }
  return { name, mac };
}

/** Unicast and locally administered (IEEE 802, bits 0 and 1 of the first byte). */
function newMac(randomBytes: (count: number) => Uint8Array): Mac {
  return parseMac(["02", ...Array.from(randomBytes(5), (byte) => byte.toString(16).padStart(2, "0"))].join(":"));
}
