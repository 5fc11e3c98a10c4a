// Sockets that a service led to a backend which is gone are ended, so that their programs connect again at once instead of waiting for nobody.
import { u64 } from "../abi/codec.ts";
import { sockOriginCodec } from "../abi/generated.ts";
import { errno, openSocketList, refusedWith } from "../kernel/index.ts";
import type { KernelMap, SocketList } from "../kernel/types.ts";
import { HawserError } from "../std/errors.ts";
import type { Ip } from "../std/ip.ts";

export interface GoneBackend {
  readonly protocol: "tcp" | "udp";
  readonly address: Ip;
  readonly port: number;
  /** The addresses by which it is not to be reached any more; left out: by none. */
  readonly through?: readonly { readonly address: Ip; readonly port: number }[];
}

/**
 * In each of these network namespaces; undefined is the caller's own. A namespace that is gone has no sockets. Those that programs have connected to
 * the backend themselves are theirs to end, and so are UDP's without a connection, which go elsewhere with their next datagram.
 *
 * @param maps sock-lb's, open, by name
 * @returns how many were ended
 * @param signal ends it between two namespaces
 * @throws HawserError UNSUPPORTED when the kernel ends no sockets for others; AggregateError of what failed in single namespaces, when the others are done
 */
export async function endSockets(maps: ReadonlyMap<string, KernelMap>, namespaces: readonly (string | undefined)[], gone: readonly GoneBackend[], signal?: AbortSignal): Promise<number> {
  const [connected, udp] = ["hw_sock_connected", "hw_sock_udp"].map((name) => maps.get(name));
  if (connected === undefined || udp === undefined) throw new HawserError("INTERNAL", "sock-lb is not loaded");
  let ended = 0;
  const failures: unknown[] = [];
  for (const namespace of new Set(namespaces)) {
    signal?.throwIfAborted();
    try {
      using sockets = openIn(namespace);
      if (sockets !== undefined) ended += await endIn(sockets, connected, udp, gone);
    } catch (error) {
      if (refusedWith(error, errno.EOPNOTSUPP)) {
        throw new HawserError("UNSUPPORTED", "this kernel ends no sockets for others (CONFIG_INET_DIAG_DESTROY); programs notice by themselves that a backend is gone", { cause: error });
      }
      failures.push(error);
    }
  }
  if (failures.length > 0) throw new AggregateError(failures, `sockets to backends that are gone were not ended in ${failures.length} network namespaces`);
  return ended;
}

/** undefined: the namespace is gone; of Docker's an empty file may be left, which is none. */
function openIn(namespace: string | undefined): SocketList | undefined {
  try {
    return openSocketList(namespace);
  } catch (error) {
    if (namespace !== undefined && refusedWith(error, errno.ENOENT, errno.EINVAL)) return undefined;
    throw error;
  }
}

async function endIn(sockets: SocketList, connected: KernelMap, udp: KernelMap, gone: readonly GoneBackend[]): Promise<number> {
  let ended = 0;
  for (const protocol of ["tcp", "udp"] as const) {
    // One that several changes took out of several services is there several times.
    const backends = Map.groupBy(gone.filter((one) => one.protocol === protocol), ({ address, port }) => `${address} ${port}`);
    for (const socket of await sockets.connectedTo(protocol, [...backends.values()].flatMap((those) => those.slice(0, 1)), connected)) {
      const those = backends.get(`${socket.address} ${socket.port}`) ?? [];
      const kept = socket.kept ?? (protocol === "udp" ? udp.get(u64.encode(socket.cookie)) : undefined);
      if (those.some((backend) => wasLed(kept, backend)) && (await sockets.end(socket))) ended++;
    }
  }
  return ended;
}

/** What a socket keeps may be of an earlier connection. */
function wasLed(kept: Uint8Array | undefined, { address, port, through }: GoneBackend): boolean {
  if (kept === undefined) return false;
  const origin = sockOriginCodec.decode(kept);
  if (origin.backend !== address || origin.backendPort !== port) return false;
  return through === undefined || through.some((one) => one.address === origin.addr && one.port === origin.port);
}
