// By which addresses the sockets of each network namespace are clients of services: no packet says so when a program connects.
import { lbHomeCodec } from "../abi/generated.ts";
import { u64 } from "../abi/codec.ts";
import { errno, refusedWith } from "../kernel/index.ts";
import type { Kernel, KernelMap } from "../kernel/types.ts";
import type { Ip } from "../std/ip.ts";

export interface Home {
  /** File of the namespace; undefined: the host's own. */
  readonly namespace: string | undefined;
  /** By which it reaches the world; null: it has none of that family. */
  readonly ipv4: Ip | null;
  readonly ipv6: Ip | null;
}

export interface Homes {
  /**
   * Makes the map hold these and no others. False: some namespaces are not there, because they are gone or because Docker has not made them yet.
   * @throws KernelError E2BIG when the map is full
   */
  sync(homes: readonly Home[]): boolean;
}

/** A namespace is opened once, as long as it is among the homes: another one has another file. */
export function openHomes(kernel: Pick<Kernel, "netnsCookie">, map: KernelMap): Homes {
  const standing = new Map([...map.entries()].map(([key, value]) => [Buffer.from(key).toString("hex"), value]));
  let cookies: ReadonlyMap<string | undefined, bigint> = new Map();
  return {
    sync: (homes) => {
      const found = new Map<string | undefined, bigint>();
      const wanted = new Map<string, Uint8Array>();
      for (const { namespace, ipv4, ipv6 } of homes) {
        const cookie = cookies.get(namespace) ?? cookieOf(kernel, namespace);
        if (cookie === undefined) continue;
        found.set(namespace, cookie);
        wanted.set(Buffer.from(u64.encode(cookie)).toString("hex"), lbHomeCodec.encode({ ipv4, ipv6 }));
      }
      cookies = found;
      for (const name of [...standing.keys()]) {
        if (wanted.has(name)) continue;
        map.delete(Buffer.from(name, "hex"));
        standing.delete(name);
      }
      for (const [name, home] of wanted) {
        const was = standing.get(name);
        if (was !== undefined && Buffer.compare(was, home) === 0) continue;
        map.set(Buffer.from(name, "hex"), home);
        standing.set(name, home);
      }
      return homes.every(({ namespace }) => found.has(namespace));
    },
  };
}

/** Of Docker's that are not made yet, or are gone, an empty file may be there. */
function cookieOf(kernel: Pick<Kernel, "netnsCookie">, namespace: string | undefined): bigint | undefined {
  try {
    return kernel.netnsCookie(namespace);
  } catch (error) {
    if (namespace !== undefined && refusedWith(error, errno.ENOENT, errno.EINVAL)) return undefined;
    throw error;
  }
}
