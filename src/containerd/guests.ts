// From containers and their network namespaces to guests: pure.
import type { Guest } from "../engine/types.ts";
import { resultOf } from "./cni.ts";
import type { CniResult } from "./cni.ts";
import { ownLabels } from "./image.ts";
import { parsed, textOf } from "./json.ts";
import type { Entry, NamespaceDevice, NamespaceView } from "./types.ts";

/** Containers that share one network namespace, oldest first. */
export interface Household {
  readonly view: NamespaceView;
  readonly members: readonly Entry[];
}

export interface Outcome {
  readonly guests: readonly Guest[];
  /** One sentence each: what runs and is not judged. */
  readonly unjudged: readonly string[];
  /** Whether more may be to come: a namespace that has no cable yet, or one without an address. */
  readonly unfinished: boolean;
}

/** Ours: an endpoint's cable, or hwhost. */
const ourDevices = /^hw/;

export function guestsOf(households: readonly Household[], results: readonly CniResult[]): Outcome {
  const outcomes = households.map((household) => of(household, results));
  return {
    guests: withoutDisputes(outcomes.flatMap(({ guests }) => guests)),
    unjudged: outcomes.flatMap(({ unjudged }) => unjudged),
    unfinished: outcomes.some(({ unfinished }) => unfinished),
  };
}

/** As the runtimes call a container to CNI. */
export function cniNames({ namespace, id }: Pick<Entry, "namespace" | "id">): readonly string[] {
  return [`${namespace}-${id}`, id];
}

function of({ view, members }: Household, results: readonly CniResult[]): Outcome & { readonly guests: readonly (Guest & Evidence)[] } {
  const [chief, ...others] = members.toSorted(byStanding);
  if (chief === undefined) return { guests: [], unjudged: [], unfinished: false };
  if (view.own) return { guests: [], unjudged: members.map((member) => `${idOf(member)} uses the host's network`), unfinished: false };
  const started = members.some(({ task }) => task?.started === true);
  const own = ownOf(chief);
  const notes = [
    ...(others.length === 0 ? [] : [`${others.map(idOf).join(", ")} ${others.length === 1 ? "shares" : "share"} its network and its identity`]),
    ...(chief.image?.known === false ? [`${chief.image.why}, so that its labels count only for what closes`] : []),
  ];
  const wired = view.devices.filter((device): device is NamespaceDevice & { readonly host: NonNullable<NamespaceDevice["host"]> } =>
    device.host !== null && !ourDevices.test(device.host.name)).toSorted((a, b) => a.index - b.index);
  const elsewhere = view.devices.filter((device) => device.host === null);
  const guests = wired.map((device, position): Guest & Evidence => {
    // A container that may change its own devices can look like another from inside: what the plugin wrote down comes first.
    const written = resultOf(results, members.flatMap(cniNames), { host: device.host.name, mac: device.mac });
    const network = written?.network ?? (position === 0 ? firstNetwork(own) : undefined);
    const addresses = written === undefined || written.addresses.length === 0 ? device.addresses : written.addresses;
    // Only a started task's network is sure to be as it shall be. Without an address nothing that it sends passes.
    const known = started || network !== undefined ? [firstAddress(addresses, 4), firstAddress(addresses, 6)] : [];
    const [ipv4 = null, ipv6 = null] = known;
    const more = known.length === 0 ? [] : addresses.filter((address) => ![ipv4, ipv6].includes(address.split("/")[0] ?? null));
    return {
      id: position === 0 ? idOf(chief) : `${idOf(chief)}@${device.name}`, name: nameOf(chief), containerId: chief.id, network: network ?? "",
      device: device.host.name, ifindex: device.host.index, ipv4, ipv6, mac: written?.macs[0] ?? device.mac,
      labels: chief.container?.labels ?? {}, own, ...(chief.image?.known === true ? {} : { doubtful: chief.container?.labels ?? {} }),
      notes: more.length === 0 ? notes : [...notes, `of ${device.name}'s addresses only the first of each family may be used: not ${more.join(", ")}`],
      written: written !== undefined,
    };
  });
  return {
    guests,
    unjudged: elsewhere.map((device) => `${idOf(chief)} has ${device.name}${device.kind === "" ? "" : ` (${device.kind})`}, which has no end on this host`),
    unfinished: guests.length === 0 || guests.some(({ ipv4, ipv6 }) => ipv4 === null && ipv6 === null),
  };
}

interface Evidence {
  /** Whether its addresses are what a plugin gave it, not only what it has. */
  readonly written: boolean;
}

/** An address that several claim is theirs to whom a plugin gave it; without such a one nobody's. */
function withoutDisputes(guests: readonly (Guest & Evidence)[]): readonly Guest[] {
  const claims = new Map<string, (Guest & Evidence)[]>();
  for (const guest of guests) {
    for (const address of [guest.ipv4, guest.ipv6]) if (address !== null) claims.set(address, [...(claims.get(address) ?? []), guest]);
  }
  return guests.map(({ written, ...guest }): Guest => {
    const lost = (address: string | null): boolean => {
      const rivals = address === null ? [] : (claims.get(address) ?? []);
      return rivals.length > 1 && (!written || rivals.filter((rival) => rival.written).length > 1);
    };
    const disputed = [guest.ipv4, guest.ipv6].filter(lost);
    if (disputed.length === 0) return guest;
    return {
      ...guest, ipv4: lost(guest.ipv4) ? null : guest.ipv4, ipv6: lost(guest.ipv6) ? null : guest.ipv6,
      notes: [...(guest.notes ?? []), `${disputed.join(", ")}: claimed by another container too, so that nothing is taken for its own`],
    };
  });
}

/** A pod's sandbox speaks for the pod: it carries the pod's labels. Otherwise the oldest made the namespace. */
function byStanding(a: Entry, b: Entry): number {
  return Number(isSandbox(b)) - Number(isSandbox(a)) || age(a) - age(b) || (idOf(a) < idOf(b) ? -1 : 1);
}

function isSandbox(entry: Entry): boolean {
  return ownOf(entry)["io.cri-containerd.kind"] === "sandbox";
}

/** Microseconds since the epoch. */
function age({ container }: Entry): number {
  return container?.createdAt === undefined ? Infinity : Number(container.createdAt.seconds) * 1e6 + container.createdAt.nanos / 1e3;
}

function ownOf({ container, image }: Entry): Readonly<Record<string, string>> {
  return container === undefined || image === undefined ? {} : ownLabels(container.labels, image);
}

function idOf({ namespace, id }: Entry): string {
  return `${namespace}/${id}`;
}

function nameOf(entry: Entry): string {
  const own = ownOf(entry);
  return own["nerdctl/name"] || own["io.kubernetes.pod.name"] || entry.id;
}

/** nerdctl's `["bridge"]`. */
function firstNetwork(own: Readonly<Record<string, string>>): string | undefined {
  return textOf(parsed(own["nerdctl/networks"] ?? ""), "0") || undefined;
}

function firstAddress(addresses: readonly string[], family: 4 | 6): string | null {
  return addresses.find((prefix) => prefix.includes(":") === (family === 6))?.split("/")[0] ?? null;
}
