// Packets of 50 containers through from_container and the agent's own maps: which of them does the policy in force let pass?
import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { configCodec } from "../src/abi/generated.ts";
import { mapPath, mapsFolder } from "../src/datapath/pins.ts";
import type { EndpointView } from "../src/engine/types.ts";
import { createKernel } from "../src/kernel/index.ts";
import { parseMac } from "../src/std/ip.ts";
import { frame, ip, udp } from "../test/packet/packets.ts";
import { root } from "./run.ts";
import { bpffs } from "./worlds.ts";

export const probePort = 7000;

export interface Probes extends AsyncDisposable {
  /** When a first packet of each container's to its neighbour passes, or does not: `performance.now()` of the last that did so. */
  everywhere(passes: boolean, signal: AbortSignal): Promise<number>;
}

const hostMac = "02:48:57:00:00:01";
/** Offsets in struct __sk_buff. */
const [contextSize, ifindexAt] = [192, 40];
/** Where the source port lies in an IPv4 frame. */
const portAt = 14 + 20;
/** TC_ACT_REDIRECT and TC_ACT_SHOT. */
const [redirect, shot] = [7, 2];

/** A program of our own on the agent's maps; which device a packet comes from is what its context says. */
export async function openProbes(endpoints: readonly EndpointView[]): Promise<Probes> {
  await using stack = new AsyncDisposableStack();
  const kernel = createKernel();
  const maps = new Map(readdirSync(mapsFolder(bpffs)).map((name) => [name, stack.use(kernel.openPinnedMap(mapPath(bpffs, name)))]));
  const links = JSON.parse(execFileSync("ip", ["-j", "link"], { encoding: "utf8" })) as readonly { readonly ifname: string; readonly ifindex: number }[];
  const ifindexes = new Map(links.map(({ ifname, ifindex }) => [ifname, ifindex]));
  const config = configCodec.encode({
    hostIfindex: ifindexes.get("hwhost") ?? 0, hz: 250, hostMac: parseMac(hostMac), betweenNetworks: 0, ipv6: 0, ephemeralLow: 32768, ephemeralHigh: 60999,
    setRetval: 0, hostNetnsCookie: 0n, agentPid: 0, publishedDeny: 0, unidentifiedAllow: 0, mark: 0, tunnelIfindex: 0, tunnelPort: 0, tunnelHeader: 0, services: 0, lbIpv4: 0, lbIpv6: null, nodeIpv4: 0, nodeIpv6: null, snatFirst: 0, snatPorts: 0, probePort: 0, native: 0,
  });
  const object = stack.use(await kernel.loadObject(join(root, "build/bpf/from-container.bpf.o"), { rodata: { hw_config: config }, reuse: maps }));
  const program = object.programs.get("from_container");
  if (program === undefined) throw new Error("from-container has no program from_container");
  const address = ({ ipv4 }: EndpointView): string => ipv4.replace(/\/.*/, "");
  const probes = endpoints.map((from, i) => {
    const to = endpoints[(i + 1) % endpoints.length] ?? from;
    const context = new Uint8Array(contextSize);
    new DataView(context.buffer).setUint32(ifindexAt, ifindexes.get(from.hostInterface) ?? 0, true);
    return { data: frame(from.mac, hostMac, ip(address(from), address(to), udp(1024, probePort, "probe"))), context };
  });
  let port = 1024;
  const passes = ({ data, context }: (typeof probes)[number]): boolean => {
    port = port >= 65_535 ? 1024 : port + 1;
    new DataView(data.buffer, data.byteOffset).setUint16(portAt, port);
    const { verdict } = program.testRun({ data, context });
    if (verdict !== redirect && verdict !== shot) throw new Error(`a probe met verdict ${verdict}`);
    return verdict === redirect;
  };
  const kept = stack.move();
  return {
    everywhere: async (wanted, signal) => {
      let last = performance.now();
      for (const probe of probes) {
        // One at a time, and not too often: dropped packets are told of, and telling keeps the agent busy.
        while (passes(probe) !== wanted) await setTimeout(2, undefined, { signal });
        last = performance.now();
      }
      return last;
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}
