// Keeps the maps and the uplinks' programs in step with the host: its devices, addresses and routes come and go (R10, R102).
import { HostAddressFlags } from "../abi/generated.ts";
import type { Uplink } from "../abi/generated.ts";
import type { Netlink } from "../kernel/types.ts";
import { messageOf } from "../std/errors.ts";
import { addressOf, networkOf } from "../std/ip.ts";
import type { Ip } from "../std/ip.ts";
import type { Log } from "../std/log.ts";
import { isCableDevice } from "./host.ts";
import type { Host } from "./host.ts";
import { hostDevice } from "./host-device.ts";
import { writeNameScopes } from "./name-scopes.ts";
import { gatewayPrefix, removeNetwork, subnetsOf, writeNetwork } from "./network.ts";
import type { HostFacts } from "./types.ts";
import { factsOf, hostAddressesOf, knownBy, uplinksOf } from "./uplinks.ts";
import type { HostReading, KnownBy, Sources, UplinkReading } from "./uplinks.ts";

export interface HostSync {
  readonly facts: HostFacts;
  /** One sentence each, as of the last run. */
  readonly problems: readonly string[];
  /** Host ends of cables, as of the last run. */
  readonly cables: ReadonlySet<string>;
  /** Names of the host's devices by their numbers, as of the last run. */
  readonly deviceNames: ReadonlyMap<number, string>;
  /** Whether hwhost was there at the last run. */
  readonly hasHostDevice: boolean;
  run(): Promise<HostFacts>;
  /** The same, and the uplinks' programs are attached anew where somebody took them away (R25). */
  runAfresh(): Promise<HostFacts>;
}

/** No device has it. Its entry says from where what goes to other nodes leaves, by whatever uplink. */
const anyUplink = 0;

export function createHostSync(host: Host, devices: "auto" | readonly string[], named: readonly Ip[], log: Log): HostSync {
  let facts: HostFacts = { uplinkMtu: 1500, hostPrefixes: [], uplinks: [], lan: [], nodeAddresses: [], uplinkAddresses: [] };
  let problems: readonly string[] = [];
  let attached = new Map<number, UplinkReading>();
  let cables: ReadonlySet<string> = new Set();
  let deviceNames: ReadonlyMap<number, string> = new Map();
  let hasHostDevice = true;
  let afresh = false;
  /** Told once. */
  const missing = new Set<Ip>();

  const once = async (): Promise<HostFacts> => {
    const reading = await readHost(host.netlink);
    const uplinks = uplinksOf(reading, devices);
    const found: string[] = [];
    cables = new Set(reading.links.map((link) => link.name).filter(isCableDevice));
    deviceNames = new Map(reading.links.map((link) => [link.index, link.name]));
    hasHostDevice = reading.links.some((link) => link.index === host.hostIndex && link.name === hostDevice);
    const again = afresh;
    afresh = false;
    const known = knownBy(reading, uplinks, named);
    attached = bringUp(host, uplinks, known, attached, again, log, found);
    host.acceleration.sync(attached.values(), reading.links, again);
    writeHostAddresses(host, hostAddressesOf(reading).map(addressOf));
    writeNameScopes(host.tables, reading.links);
    if (hasHostDevice) await restoreNetworks(host, reading, log);
    writeAnyUplink(host, known.any);
    problems = [...found, ...missingParts(reading, uplinks, devices), ...missingAddresses(reading, named, missing, log)];
    facts = factsOf(reading, uplinks, known);
    host.holding.hostChanged(uplinks.filter(({ index }) => attached.has(index)));
    await host.cluster.hostChanged(reading, facts, known);
    host.balancing.hostChanged();
    host.clients.hostChanged();
    host.containerRoutes.hostChanged();
    return facts;
  };

  const run = coalesced(once);
  return {
    get facts() {
      return facts;
    },
    get problems() {
      return problems;
    },
    get cables() {
      return cables;
    },
    get deviceNames() {
      return deviceNames;
    },
    get hasHostDevice() {
      return hasHostDevice;
    },
    run,
    runAfresh: () => {
      afresh = true;
      return run();
    },
  };
}

/** As a run finds them, which it need not wait for. */
export async function readHostFacts(netlink: Netlink, devices: "auto" | readonly string[], named: readonly Ip[]): Promise<HostFacts> {
  const reading = await readHost(netlink);
  const uplinks = uplinksOf(reading, devices);
  return factsOf(reading, uplinks, knownBy(reading, uplinks, named));
}

/** Runs one after the other; calls that come while one waits for its turn share it. */
function coalesced<T>(work: () => Promise<T>): () => Promise<T> {
  let running: Promise<unknown> = Promise.resolve();
  let waiting: Promise<T> | undefined;
  return () => {
    waiting ??= running.then(() => {
      waiting = undefined;
      const now = work();
      running = now.catch(() => undefined);
      return now;
    });
    return waiting;
  };
}

async function readHost(netlink: Netlink): Promise<HostReading> {
  const links = await netlink.links();
  const addresses = await netlink.addresses();
  const routes = await netlink.routes();
  return { links, addresses, routes };
}

/** A new uplink gets its program before its entry, so that nothing leaves where answers would not be known. */
function bringUp(
  host: Host,
  uplinks: readonly UplinkReading[],
  { by }: KnownBy,
  attached: ReadonlyMap<number, UplinkReading>,
  again: boolean,
  log: Log,
  problems: string[],
): Map<number, UplinkReading> {
  const now = new Map<number, UplinkReading>();
  const { uplinks: table, uplinkMacs } = host.tables;
  for (const uplink of uplinks) {
    const before = attached.get(uplink.index);
    try {
      if (before !== undefined && before.name !== uplink.name) host.attachments.rename("netdev", before.name, uplink.name);
      const known = table.get(uplink.index);
      // First, so that no program takes one uplink's word on the link for a stranger's.
      if (uplinkMacs.get(uplink) === undefined) uplinkMacs.set(uplink, 1);
      if (again || before?.name !== uplink.name) host.attachments.attach("netdev", uplink.name, uplink.index, "ingress", known === undefined);
      const entry = { ipv4: uplink.ipv4, ipv6: uplink.ipv6, mtu: uplink.mtu, accelerated: known?.accelerated ?? 0, ...ownFlags(uplink, by.get(uplink.index)) };
      if (!sameUplink(known, entry)) table.set(uplink.index, entry);
      now.set(uplink.index, uplink);
      if (before === undefined) log.info("uplink", { device: uplink.name, ipv4: uplink.ipv4, ipv6: uplink.ipv6, mtu: uplink.mtu });
    } catch (error) {
      problems.push(`uplink ${uplink.name} cannot be used: ${messageOf(error)}`);
      log.error("uplink cannot be used", { device: uplink.name, error });
    }
  }
  for (const [index] of [...table.entries()]) {
    if (index !== anyUplink && !now.has(index)) table.delete(index);
  }
  const macs = new Set(uplinks.map(({ mac }) => mac));
  for (const [key] of [...uplinkMacs.entries()]) if (!macs.has(key.mac)) uplinkMacs.delete(key);
  const names = new Set(uplinks.map((uplink) => uplink.name));
  for (const gone of attached.values()) {
    if (names.has(gone.name)) continue;
    host.attachments.detach("netdev", gone.name, now.has(gone.index) ? undefined : gone.index, "ingress");
    log.info("no uplink any more", { device: gone.name });
  }
  return now;
}

/** Whether what goes to other nodes by the uplink has its own addresses, though there is an entry for any. */
function ownFlags({ ipv4, ipv6 }: UplinkReading, sources: Sources | undefined): Pick<Uplink, "ownIpv4" | "ownIpv6"> {
  const same = (own: Ip | null, source: Ip | null | undefined): number => (own !== null && own === source ? 1 : 0);
  return { ownIpv4: same(ipv4, sources?.ipv4), ownIpv6: same(ipv6, sources?.ipv6) };
}

function writeAnyUplink({ tables: { uplinks: table } }: Host, { ipv4, ipv6 }: Sources): void {
  const [before, entry] = [table.get(anyUplink), { ipv4, ipv6, mtu: 0, accelerated: 0, ownIpv4: 0, ownIpv6: 0 }];
  if (ipv4 === null && ipv6 === null) {
    if (before !== undefined) table.delete(anyUplink);
  } else if (!sameUplink(before, entry)) table.set(anyUplink, entry);
}

/** Gateways' entries belong to their networks and are not touched. */
function writeHostAddresses(host: Host, addresses: readonly Ip[]): void {
  const table = host.tables.hostAddresses;
  const wanted = new Set(addresses);
  for (const [address, entry] of [...table.entries()]) {
    const local = (entry.flags & HostAddressFlags.LOCAL) !== 0;
    if (local && !wanted.has(address)) table.delete(address);
    wanted.delete(address);
  }
  for (const address of wanted) table.set(address, { flags: HostAddressFlags.LOCAL, network: 0 });
}

/** Network managers take away routes and addresses that they did not make (R99): ours come back. */
async function restoreNetworks(host: Host, reading: HostReading, log: Log): Promise<void> {
  for (const plan of [...host.networks.values()]) {
    const whole = subnetsOf(plan).every(
      (subnet) =>
        reading.addresses.some((address) => address.index === host.hostIndex && address.prefix === gatewayPrefix(subnet)) &&
        reading.routes.some((route) => route.index === host.hostIndex && route.destination === networkOf(subnet.prefix)),
    );
    if (whole || host.networks.get(plan.number) !== plan) continue;
    log.warn("someone took a network's address or route off the host; made again", { network: plan.number });
    await writeNetwork(host, plan);
    // It may have been removed while we waited for the kernel.
    if (!host.networks.has(plan.number)) await removeNetwork(host, plan);
  }
}

function missingParts(reading: HostReading, uplinks: readonly UplinkReading[], devices: "auto" | readonly string[]): string[] {
  const problems: string[] = [];
  if (!reading.links.some((link) => link.name === hostDevice)) {
    problems.push(`device ${hostDevice} is gone: the host and its containers cannot reach each other; it is made again in a few seconds`);
  }
  if (devices === "auto" && uplinks.length === 0) {
    problems.push("no uplink: no Ethernet device has a default route; containers cannot reach the world until one has, or `devices` names one");
  }
  for (const name of devices === "auto" ? [] : devices) {
    if (!uplinks.some((uplink) => uplink.name === name)) problems.push(`uplink ${name} does not exist yet; it is taken up when it appears`);
  }
  return problems;
}

const mend = "give it to a device, or correct node.address or this node's line in peers";

/** `told` are those of which the log knows. */
function missingAddresses(reading: HostReading, named: readonly Ip[], told: Set<Ip>, log: Log): string[] {
  const own = new Set(hostAddressesOf(reading).map(addressOf));
  for (const address of told) if (own.has(address)) told.delete(address);
  return named.filter((address) => !own.has(address)).map((address) => {
    if (!told.has(address)) log.warn("an address by which other nodes know this one is not on this host", { address, mend });
    told.add(address);
    return `other nodes know this one by ${address}, which no device of this host has, and take nothing that comes from another address; ${mend}`;
  });
}

function sameUplink(a: Uplink | undefined, b: Uplink): boolean {
  return a !== undefined && a.ipv4 === b.ipv4 && a.ipv6 === b.ipv6 && a.mtu === b.mtu && a.ownIpv4 === b.ownIpv4 && a.ownIpv6 === b.ownIpv6;
}
