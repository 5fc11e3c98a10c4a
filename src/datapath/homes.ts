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

/** Makes the map hold these and no others. A namespace that is gone has no sockets to know. */
export function syncHomes(kernel: Pick<Kernel, "netnsCookie">, map: KernelMap, homes: readonly Home[]): void {
  const wanted = new Map<string, Uint8Array>();
  for (const { namespace, ipv4, ipv6 } of homes) {
    const cookie = cookieOf(kernel, namespace);
    if (cookie !== undefined) wanted.set(Buffer.from(u64.encode(cookie)).toString("hex"), lbHomeCodec.encode({ ipv4, ipv6 }));
  }
  for (const [key, value] of map.entries()) {
    const name = Buffer.from(key).toString("hex");
    const home = wanted.get(name);
    if (home === undefined) map.delete(key);
    else if (Buffer.compare(home, value) === 0) wanted.delete(name);
  }
  for (const [name, home] of wanted) map.set(Buffer.from(name, "hex"), home);
}

function cookieOf(kernel: Pick<Kernel, "netnsCookie">, namespace: string | undefined): bigint | undefined {
  try {
    return kernel.netnsCookie(namespace);
  } catch (error) {
    if (namespace !== undefined && refusedWith(error, errno.ENOENT, errno.EINVAL)) return undefined;
    throw error;
  }
}
