// Takes off the host whatever carries our name and nobody claims; works with no agent and no loaded program.
import { u32 } from "../abi/codec.ts";
import { HostAddressFlags } from "../abi/generated.ts";
import type { Kernel, KernelMap, LinkInfo, Netlink } from "../kernel/types.ts";
import type { Step } from "../network/types.ts";
import { familyOf, parseCidr } from "../std/ip.ts";
import { accelerator } from "./acceleration.ts";
import { solicitedNode } from "./announcement.ts";
import { detachFilter, removePin } from "./attachments.ts";
import { claimsEntry, claimsOf, frontendText } from "./claims.ts";
import type { Claims } from "./claims.ts";
import { createConntrack } from "./conntrack.ts";
import type { Conntrack } from "./conntrack.ts";
import { guestPrograms, isGuest } from "./guest.ts";
import { hostDevice } from "./host-device.ts";
import { isCableDevice, isOurDevice } from "./host.ts";
import { sweepServices } from "./lb-sweep.ts";
import { lookedThrough } from "./names.ts";
import { linksFolder, listLinkPins, listMapPins, mapPath, mapsFolder, pinName, removeFolder, unpin } from "./pins.ts";
import type { LinkPin } from "./pins.ts";
import { backendOf, sameBackend } from "./port.ts";
import { shapeDifference } from "./programs.ts";
import { mainTable, routeProtocol, unicast } from "./route-marks.ts";
import { openTables, tableNames } from "./tables.ts";
import type { Tables } from "./tables.ts";
import { tunnelDevice } from "./tunnel.ts";
import type { SweepReport } from "./types.ts";

export interface SweepContext {
  readonly kernel: Kernel;
  readonly netlink: Netlink;
  readonly bpffs: string;
}

interface Leftovers extends SweepContext {
  /** undefined: no agent ever pinned them. */
  readonly tables: Tables | undefined;
  readonly conntrack: Conntrack | undefined;
}

/**
 * For `hawser sweep`: with `all`, everything of Hawser's goes, claimed or not. Otherwise what the steps do not claim goes, and
 * the programs on uplinks, hwhost and cgroups stay, so that what is claimed keeps talking without an agent. What is
 * known of other nodes, of which the steps do not tell, stays unless there can be none (`alone`), and so do services unless there are none (`services` false).
 */
export async function sweep(
  context: SweepContext & { readonly claimed: readonly Step[]; readonly all: boolean; readonly alone?: boolean; readonly services?: boolean },
): Promise<SweepReport> {
  using maps = openPinnedTables(context);
  const leftovers = { ...context, tables: maps.tables, conntrack: maps.tables && createConntrack(maps.tables, 0, () => 0) };
  if (context.all) return await sweepEverything(leftovers);
  const others = context.alone === true ? await sweepOtherNodes(leftovers) : nothingSwept;
  const services = context.services === false ? await sweepServices(context.kernel, context.bpffs) : {};
  const existing = new Set((await context.netlink.links()).map((link) => link.name));
  const claims = claimsOf(context.claimed);
  const keeps = (pin: LinkPin): boolean => {
    if (pin.device.startsWith("/")) return true;
    if (pin.program === accelerator && context.services === false) return false;
    if (isGuestPin(pin)) return claims.guests.has(pin.device);
    return isCableDevice(pin.device) ? claims.interfaces.has(pin.device) : existing.has(pin.device);
  };
  const { links, pins, routes, entries } = await sweepUnclaimed(leftovers, claims, keeps);
  return { links: [...others.links, ...links], pins, routes: [...others.routes, ...routes], entries: { ...entries, ...others.entries, ...services } };
}

const nothingSwept: SweepReport = { links: [], pins: [], routes: [], entries: {} };

/** Whoever is reached there first, then the way. */
async function sweepOtherNodes({ netlink, tables }: Leftovers): Promise<SweepReport> {
  const entries = Object.entries(tables === undefined ? {} : {
    hw_names: tables.names, hw_pointers: tables.pointers, hw_remotes: tables.remotes, hw_slices: tables.slices, hw_balancers: tables.balancers, hw_peers: tables.peers, hw_nodes: tables.nodes,
  }).map(([name, { map }]) => [name, emptied(map)] as const);
  const routes: string[] = [];
  for (const route of await netlink.routes()) {
    if (route.protocol === routeProtocol && route.table === mainTable && await netlink.deleteRoute(route)) routes.push(route.destination);
  }
  const tunnel = (await netlink.links()).filter(isTunnel).map(({ name }) => name);
  return { links: await removeDevices(netlink, tunnel), pins: [], routes, entries: counted(Object.fromEntries(entries)) };
}

function emptied(map: KernelMap): number {
  const keys = [...map.entries()].map(([key]) => key);
  for (const key of keys) map.delete(key);
  return keys.length;
}

function isTunnel({ name, tunnelPort }: LinkInfo): boolean {
  return name === tunnelDevice && tunnelPort !== null;
}

export function isGuestPin(pin: LinkPin): boolean {
  return guestPrograms.some(({ program }) => program === pin.program);
}

/** Unpublishes first: ports, addresses, then what lies below them. */
export async function sweepUnclaimed(context: Leftovers, claims: Claims, keeps: (pin: LinkPin) => boolean): Promise<SweepReport> {
  const links = await context.netlink.links();
  const devices = new Map(links.map((link) => [link.name, link.index]));
  const guests = [...claims.guests.values()].filter((guest) => devices.get(guest.device) === guest.ifindex).map((guest) => guest.ifindex);
  const indices = new Set([...[...claims.interfaces].map((name) => devices.get(name)).filter((index) => index !== undefined), ...guests]);
  const entries = context.tables === undefined ? {} : sweepReachable(context, context.tables, claims, indices);
  const pins = sweepPins(context, keeps);
  const gone = links.filter((link) => isCableDevice(link.name) && link.kind === "veth" && !claims.interfaces.has(link.name));
  const removed = await removeDevices(context.netlink, gone.map((link) => link.name));
  const routes = await sweepHostDevice(context.netlink, devices.get(hostDevice), claims);
  const rest = context.tables === undefined ? {} : sweepNetworks(context.tables, claims);
  return { links: removed, pins, routes, entries: { ...entries, ...rest } };
}

async function sweepEverything(context: Leftovers): Promise<SweepReport> {
  const links = await context.netlink.links();
  const pins = sweepPins(context, () => false);
  for (const link of links.filter((one) => !isOurDevice(one.name))) {
    for (const hook of ["ingress", "egress"] as const) detachFilter(context.kernel, link.index, hook);
  }
  const ours = links.filter((link) => (link.kind === "veth" && (isCableDevice(link.name) || link.name === hostDevice)) || isTunnel(link));
  for (const route of await context.netlink.routes()) if (route.protocol === routeProtocol && route.table === mainTable) await context.netlink.deleteRoute(route);
  const removed = await removeDevices(context.netlink, ours.map((link) => link.name));
  await leaveGroups(context);
  const entries: Record<string, number> = {};
  for (const name of listMapPins(context.bpffs)) {
    entries[name] = 0;
    unpin(mapPath(context.bpffs, name));
  }
  for (const folder of [mapsFolder(context.bpffs), linksFolder(context.bpffs), context.bpffs]) removeFolder(folder);
  return { links: removed, pins, routes: [], entries };
}

function sweepReachable({ kernel, conntrack }: Leftovers, tables: Tables, claims: Claims, indices: ReadonlySet<number>): Record<string, number> {
  const ports = [...tables.frontends.entries()].filter(([key, backend]) => {
    const plan = claims.ports.get(frontendText(key));
    return plan === undefined || !sameBackend(backendOf(plan), backend);
  });
  for (const [key, backend] of ports) {
    tables.frontends.delete(key);
    conntrack?.flushPort(key, backend);
  }
  const addresses = [...tables.addresses.entries()].filter(([address, entry]) => !claimsEntry(claims.addresses.get(address), entry));
  for (const [address] of addresses) {
    tables.addresses.delete(address);
    conntrack?.flushAddress(address);
  }
  const endpoints = [...tables.endpoints.entries()].filter(([index]) => !indices.has(index));
  for (const [index, entry] of endpoints) {
    // A guest's device stays, and with it a filter of ours, which no pin tells of.
    if (isGuest(entry) && tables.uplinks.get(index) === undefined) for (const { hook } of guestPrograms) detachFilter(kernel, index, hook);
    tables.endpoints.delete(index);
  }
  const members = [...tables.members.entries()].filter(([{ network }, index]) => tables.endpoints.get(index)?.network !== network);
  for (const [member] of members) tables.members.delete(member);
  const scopes = [...tables.nameScopes.entries()].filter(([index]) => !indices.has(index));
  for (const [index] of scopes) tables.nameScopes.delete(index);
  const containers = [...tables.containers.entries()].map(([index]) => index).filter((index) => !indices.has(index));
  for (const index of containers) tables.containers.delete(index);
  return counted({ hw_frontends: ports.length, hw_addresses: addresses.length, hw_endpoints: endpoints.length, hw_members: members.length, hw_name_scopes: scopes.length, hw_containers: containers.length });
}

function sweepNetworks(tables: Tables, claims: Claims): Record<string, number> {
  const gateways = [...tables.hostAddresses.entries()].filter(
    ([address, entry]) => (entry.flags & HostAddressFlags.GATEWAY) !== 0 && claims.gateways.get(address) !== entry.network,
  );
  for (const [address] of gateways) tables.hostAddresses.delete(address);
  const networks = [...tables.networks.entries()].filter(([number]) => !claims.networks.has(number));
  for (const [number] of networks) tables.networks.delete(number);
  const [names, pointers] = [sweepNames(tables.names.map, claims), sweepNames(tables.pointers.map, claims)];
  return counted({ hw_host_addrs: gateways.length, hw_networks: networks.length, hw_names: names, hw_pointers: pointers });
}

/** Once: those of networks that go later go with the plan that has them no more, and looking through a hundred thousand takes time. */
function sweepNames(map: KernelMap, claims: Claims): number {
  if (lookedThrough.has(map)) return 0;
  lookedThrough.add(map);
  const gone: Uint8Array[] = [];
  // Only whose it is: their addresses are much to read.
  for (const [key] of map.entries()) if (!claims.networks.has(u32.decode(key.subarray(0, u32.size)))) gone.push(key);
  for (const key of gone) map.delete(key);
  return gone.length;
}

function sweepPins(context: SweepContext, keeps: (pin: LinkPin) => boolean): string[] {
  const doomed = listLinkPins(context.bpffs).filter((pin) => !keeps(pin));
  for (const pin of doomed) removePin(context.kernel, context.bpffs, pin);
  return doomed.map(pinName);
}

/** Both ends of a pair go with one. */
async function removeDevices(netlink: Netlink, names: readonly string[]): Promise<string[]> {
  const removed: string[] = [];
  for (const name of names) {
    if (await netlink.deleteLink(name)) removed.push(name);
  }
  return removed;
}

/** Routes before addresses: the kernel takes a route away with the address that it names as source. */
async function sweepHostDevice(netlink: Netlink, index: number | undefined, claims: Claims): Promise<string[]> {
  if (index === undefined) return [];
  const removed = new Set<string>();
  for (const route of await netlink.routes()) {
    // The way to other nodes is made with the plan of them, which nobody here knows.
    if (route.index !== index || route.type !== unicast || route.table !== mainTable || route.protocol === routeProtocol) continue;
    const destination = parseCidr(route.destination);
    if (claims.subnets.has(destination) || claims.gatewayPrefixes.has(destination)) continue;
    if (await netlink.deleteRoute({ destination, index })) removed.add(destination);
  }
  for (const address of await netlink.addresses()) {
    if (address.index !== index || claims.gatewayPrefixes.has(parseCidr(address.prefix))) continue;
    if (await netlink.deleteAddress(index, address.prefix)) removed.add(address.prefix);
  }
  return [...removed];
}

function openPinnedTables(context: SweepContext): Disposable & { readonly tables: Tables | undefined } {
  using stack = new DisposableStack();
  const open = new Map<string, KernelMap>();
  for (const name of listMapPins(context.bpffs).filter((pinned) => tableNames.includes(pinned))) {
    const map = stack.use(context.kernel.openPinnedMap(mapPath(context.bpffs, name)));
    if (shapeDifference(name, map.info) === undefined) open.set(name, map);
  }
  const tables = open.size === tableNames.length ? openTables(open) : undefined;
  const kept = stack.move();
  return { tables, [Symbol.dispose]: () => kept.dispose() };
}

/** In which neighbours were asked for addresses of services. */
async function leaveGroups({ netlink, tables }: Leftovers): Promise<void> {
  for (const [{ addr, ifindex }] of tables?.held.entries() ?? []) {
    if (addr !== null && familyOf(addr) === 6) await netlink.deleteAddress(ifindex, `${solicitedNode(addr)}/128`);
  }
}

function counted(all: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(all).filter(([, count]) => count > 0));
}
