// From nothing, or from what the last agent left, to a datapath that carries packets.
import { randomInt } from "node:crypto";
import type { Config } from "../abi/generated.ts";
import type { LinkInfo } from "../kernel/types.ts";
import { accelerator, createAcceleration } from "./acceleration.ts";
import { adopt } from "./adopt.ts";
import { createAttachments } from "./attachments.ts";
import { balancesAlready, createBalancing, loadAccelerator, ownSources } from "./balancing.ts";
import type { PortConfig } from "./balancing.ts";
import { createClients } from "./clients.ts";
import { createCluster } from "./cluster.ts";
import { createContainerRoutes } from "./container-routes.ts";
import { createConntrack } from "./conntrack.ts";
import { readCounters } from "./counters.ts";
import { createDoers } from "./doers.ts";
import { createEventSource, decodeEvent } from "./events.ts";
import { probeFeatures } from "./features.ts";
import type { Features } from "./features.ts";
import { createHeld } from "./held.ts";
import { createHolding } from "./holding.ts";
import { createHostSync, readHostFacts } from "./host-sync.ts";
import { ensureHostDevice, hostDevice } from "./host-device.ts";
import { isCableDevice, requireLink } from "./host.ts";
import type { Host } from "./host.ts";
import { dumpMap, inspectKernel, mapRows } from "./inspect.ts";
import { cgroupRoot, ephemeralPorts, jiffiesClock, ticksPerSecond } from "./kernel-facts.ts";
import { listLinkPins, mountPointOf } from "./pins.ts";
import { createPolicy } from "./policy.ts";
import { loadPrograms } from "./programs.ts";
import { snatPorts, withSnatPorts } from "./snat-ports.ts";
import { standingOf } from "./standing.ts";
import { openTables } from "./tables.ts";
import { ensureTunnel, tunnelDevice } from "./tunnel.ts";
import { watchHost } from "./watch.ts";
import type { Datapath, DatapathOptions, Routing } from "./types.ts";

/** Entries that one sweep of conntrack looks at: about 20 ms of work. */
const gcBudget = 16384;

/**
 * Opens the datapath. Programs and maps that an earlier agent pinned are taken over: the programs are swapped without a gap,
 * the maps keep their flows. Endpoints' own programs are swapped by `adopt`.
 * @throws HawserError UNSUPPORTED or KERNEL
 */
export async function openDatapath(options: DatapathOptions): Promise<Datapath> {
  const { kernel, netlink, log, bpffs } = options;
  await using stack = new AsyncDisposableStack();
  kernel.mountBpffs(mountPointOf(bpffs));
  const features = probeFeatures(kernel);
  const hostLink = await ensureHostDevice(netlink, options.nodeMac, options.ipv6 && features.ipv6);
  const tunnel = await tunnelOf(options);
  const services = balancesAlready(kernel, bpffs) ? ownSources(await readHostFacts(netlink, options.devices, options.addresses)) : undefined;
  const config = { ...configOf(options, features, hostLink, tunnel), ...(services === undefined ? {} : { services: 1, ...services }) };
  const loaded = stack.use(await loadPrograms(kernel, options, config, log));

  const attachments = createAttachments(kernel, bpffs, features.tcx, loaded.programs);
  const tables = openTables(loaded.maps);
  const conntrack = createConntrack(tables, config.hz, jiffiesClock(config.hz));
  const policy = stack.use(createPolicy(kernel, loaded.maps));
  const cluster = createCluster({ tables, netlink, conntrack, policy, routing: options.routing, log });
  const acceleration = createAcceleration({
    setting: options.acceleration, attachments, uplinks: tables.uplinks, log,
    pinnedDevices: () => listLinkPins(bpffs).filter(({ program }) => program === accelerator).map(({ device }) => device),
  });
  const clients = stack.use(createClients({ kernel, maps: loaded.maps, facts: () => sync.facts, log }));
  const host: Host = {
    netlink, tables, attachments, conntrack, policy, cluster, acceleration, clients,
    balancing: stack.use(createBalancing({
      kernel, loaded, config, setting: options.acceleration, acceleration, node: options.node, nodeAddress: cluster.addressOf, facts: () => sync.facts,
      attachAgain: async () => {
        attachments.renew("from_container");
        await sync.runAfresh();
      },
      ports: portsNow, onGone: clients.end, clock: options.clock, log,
    })),
    holding: stack.use(createHolding({
      held: createHeld({ kernel, objectDirectory: options.objectDirectory, table: tables.held, rivals: tables.rivals, clock: options.clock, log }),
      table: tables.held, netlink, clock: options.clock, log,
    })),
    containerRoutes: stack.use(createContainerRoutes(options.clock, log)),
    mac: options.nodeMac,
    hostIndex: hostLink.index,
    networks: new Map(),
    link: (name) => requireLink(netlink, name),
  };

  const cgroup = options.cgroup === "auto" ? cgroupRoot() : options.cgroup;
  const attachFixed = (): void => {
    attachments.attach("from_host", hostDevice, hostLink.index, "egress");
    if (tunnel !== undefined) attachments.attach("from_overlay", tunnelDevice, tunnel.index, "ingress");
    for (const program of loaded.cgroupPrograms) attachments.attachCgroup(program.name, cgroup, program.hook);
  };
  attachFixed();

  if (services !== undefined) {
    await loadAccelerator(loaded, acceleration, options.acceleration, config);
    acceleration.turn(true);
  }
  const sync = createHostSync(host, options.devices, options.addresses, log);
  await sync.run();
  const watch = stack.use(watchHost(netlink, sync.run, log));
  const ring = loaded.maps.get("hw_events");
  const events = ring === undefined ? undefined : stack.use(createEventSource(kernel, ring));
  const counters = loaded.maps.get("hw_metrics");
  log.info("datapath open", { kernel: features.release, mode: attachments.mode, uplinks: sync.facts.uplinks, programs: loaded.programs.size });

  /** What no step makes is made again, where somebody took it away: the bpffs, the maps' pins, hwhost, the fixed programs (R25). */
  const mend = async (): Promise<void> => {
    kernel.mountBpffs(mountPointOf(bpffs));
    loaded.pinAgain();
    await ensureHostDevice(netlink, options.nodeMac, options.ipv6 && features.ipv6, hostLink.index);
    await tunnelOf(options, tunnel?.index);
    attachFixed();
    await sync.runAfresh();
  };

  const doers = createDoers(host);
  const kept = stack.move();
  return {
    doers,
    get facts() {
      return sync.facts;
    },
    syncHost: sync.run,
    onHostChange: (listener) => watch.listen(listener),
    adopt: async (steps, unclaimed) => {
      await mend();
      return adopt({ kernel, bpffs, host, doers, cgroup, uplinks: sync.facts.uplinks }, steps, unclaimed);
    },
    standing: () => standingOf(tables, sync.cables),
    intact: () => sync.hasHostDevice && (tunnel === undefined || sync.deviceNames.get(tunnel.index) === tunnelDevice) && attachments.lost().every((pin) => isCableDevice(pin.device) && !sync.cables.has(pin.device)) && loaded.isPinned(),
    gc: (budget = gcBudget) => conntrack.gc(budget),
    elsewhere: () => host.balancing.elsewhere(),
    services: host.balancing.services,
    counters: () => (counters === undefined ? [] : readCounters(counters)),
    traffic: () => host.balancing.traffic(),
    events: (signal) => events?.listen(signal) ?? nothing(),
    rawEvents: (onRecord) => events?.tap(onRecord) ?? { [Symbol.dispose]: () => {} },
    decodeEvent,
    deviceName: (ifindex) => sync.deviceNames.get(ifindex) ?? "",
    policy: () => policy.standing(),
    holding: host.holding,
    maps: () => mapRows(kernel, loaded.maps, policy.standing().tables),
    dumpMap: (name, limit) => dumpMap(kernel, loaded.maps, name, limit),
    inspect: () => inspectKernel(features, attachments, sync, host.cluster, acceleration, clients),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** The overlay's device; undefined: there is no overlay, and none is left. */
async function tunnelOf({ netlink, routing }: DatapathOptions, index?: number): Promise<LinkInfo | undefined> {
  if (routing?.mode === "overlay") return ensureTunnel(netlink, routing, index);
  await netlink.deleteLink(tunnelDevice);
  return undefined;
}

/** First words of VXLAN's header (RFC 7348: flags) and of Geneve's without options (RFC 8926: an Ethernet frame follows). */
const headers = { vxlan: 0x0800_0000, geneve: 0x0000_6558 } as const;

/** 0: the device writes and reads it. With native routing there is none, and nothing but services' packets go by a tunnel. */
function headerOf(routing: Routing | null): number {
  if (routing?.mode === "native") return headers.geneve;
  return routing?.direct === true ? headers[routing.encapsulation] : 0;
}

export function configOf(options: DatapathOptions, features: Features, hostLink: LinkInfo, tunnel?: LinkInfo): Config {
  return {
    hostIfindex: hostLink.index,
    hz: ticksPerSecond(options.log),
    hostMac: options.nodeMac,
    betweenNetworks: options.betweenNetworks ? 1 : 0,
    ipv6: options.ipv6 && features.ipv6 ? 1 : 0,
    ...portsNow(),
    setRetval: features.setRetval ? 1 : 0,
    hostNetnsCookie: options.kernel.netnsCookie() ?? 0n,
    agentPid: process.pid,
    publishedDeny: options.published ? 0 : 1,
    unidentifiedAllow: options.untilIdentified ? 1 : 0,
    mark: randomInt(1, 2 ** 32),
    tunnelIfindex: tunnel?.index ?? 0,
    tunnelPort: options.routing?.port ?? 0,
    probePort: options.routing?.probePort ?? 0,
    native: options.routing?.mode === "native" ? 1 : 0,
    tunnelHeader: headerOf(options.routing),
    services: 0,
    lbIpv4: 0,
    lbIpv6: null,
    nodeIpv4: 0,
    nodeIpv6: null,
  };
}

function portsNow(): PortConfig {
  const own = ephemeralPorts();
  const snat = snatPorts(own);
  const { low, high } = withSnatPorts(own, snat);
  return { ephemeralLow: low, ephemeralHigh: high, snatFirst: snat.first, snatPorts: snat.ports };
}

async function* nothing(): AsyncIterable<never> {}
