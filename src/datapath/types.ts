// What the datapath offers to the rest of Hawser: doers for steps, facts about the host, and looks into the kernel.
import type { Kernel, Netlink } from "../kernel/types.ts";
import type { PlanHead, ServicePlan } from "../lb/types.ts";
import type { Doers, Standing, Step } from "../network/types.ts";
import type { PolicyTables, Rule } from "../policy/types.ts";
import type { Clock } from "../std/clock.ts";
import type { HawserError } from "../std/errors.ts";
import type { Cidr, Ip, Mac } from "../std/ip.ts";
import type { Log } from "../std/log.ts";

/** How packets travel to other nodes. */
export interface Routing {
  readonly mode: "overlay" | "native";
  readonly encapsulation: "vxlan" | "geneve";
  /** UDP port of the tunnels, of this node and the others. */
  readonly port: number;
  /** Our programs write and read the tunnel's headers; what they cannot, and everything without it, is the kernel's device's. */
  readonly direct: boolean;
  /** UDP port on which nodes ask each other whether they are there. */
  readonly probePort: number;
}

/** XDP on uplinks. `auto`: where a driver has it, but for veth; else, and with `off`, none. */
export type AccelerationSetting = "auto" | "native" | "generic" | "off";

export interface DatapathOptions {
  /** Our folder below a bpffs, `/sys/fs/bpf/hawser`; a bpffs is mounted there when there is none. */
  readonly bpffs: string;
  /** This node's name. */
  readonly node: string;
  /** Where the compiled objects lie: `from-container.bpf.o` and its siblings. */
  readonly objectDirectory: string;
  /** cgroup2 folder whose sockets are the host's own; "auto": the root of the cgroup2 mount. */
  readonly cgroup: string;
  /** null: there are no other nodes. */
  readonly routing: Routing | null;
  /** Uplinks; "auto": every Ethernet device with a default route. */
  readonly devices: "auto" | readonly string[];
  /** By which other nodes know this one, the first of each family first; none: by the uplinks' own. */
  readonly addresses: readonly Ip[];
  readonly acceleration: AccelerationSetting;
  readonly ipv6: boolean;
  readonly betweenNetworks: boolean;
  /** Whether the published ports of a container that no policy covers are open. */
  readonly published: boolean;
  /** Whether a container may talk before its labels are known. */
  readonly untilIdentified: boolean;
  readonly kernel: Kernel;
  readonly netlink: Netlink;
  readonly log: Log;
  readonly clock: Clock;
  /** MAC of hwhost and of every host-side veth. Containers remember it, so the caller keeps it across restarts. */
  readonly nodeMac: Mac;
}

/** What decisions need to know about the host. */
export interface HostFacts {
  /** Smallest MTU of the uplinks; 1500 when there is none. */
  readonly uplinkMtu: number;
  /** Addresses of the host's own devices with their prefix lengths; loopback and ours left out. */
  readonly hostPrefixes: readonly Cidr[];
  /** Names, sorted. */
  readonly uplinks: readonly string[];
  /** The uplinks' own subnets, sorted. */
  readonly lan: readonly Cidr[];
  /** Those that others know this node by, IPv4 first: of each family the configured one, then each uplink's, by the uplinks' names. */
  readonly nodeAddresses: readonly Ip[];
  /** Each uplink's own, IPv4 first, by their names: from where servers and others who are no nodes are asked. */
  readonly uplinkAddresses: readonly Ip[];
}

/** What was found on the host that nothing claims, and is gone now. */
export interface SweepReport {
  /** Devices. */
  readonly links: readonly string[];
  /** Pins and filters, `PROGRAM@DEVICE`. */
  readonly pins: readonly string[];
  /** Gateway addresses and subnets' routes on hwhost. */
  readonly routes: readonly string[];
  /** Map entries, by map. */
  readonly entries: Readonly<Record<string, number>>;
}

export interface AdoptReport {
  readonly removed: SweepReport;
  /**
   * Host interfaces that were claimed but do not exist, because the container ended or the host was rebooted.
   * Nothing of theirs was made: their endpoints are dead until Docker deletes them.
   */
  readonly missing: readonly string[];
  /** Steps that failed, with the reason; the others are done. */
  readonly failed: readonly { readonly step: Step; readonly error: Error }[];
}

export interface CounterRow {
  /** "from-container", "to-container", "from-uplink", "from-host". */
  readonly direction: string;
  /** "forwarded", or the drop reason in small letters with dashes. */
  readonly reason: string;
  readonly packets: bigint;
  readonly bytes: bigint;
}

/** One packet that a program told of: dropped, or the first of its flow. Field by field struct hw_event. */
export interface PacketEvent {
  /** Nanoseconds since boot, CLOCK_MONOTONIC. */
  readonly time: bigint;
  readonly ifindex: number;
  readonly network: number;
  /** Empty: no IP packet. */
  readonly source: string;
  readonly destination: string;
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** Of a published port: where it goes; empty: as destination. */
  readonly backend: string;
  readonly backendPort: number;
  readonly protocol: number;
  readonly family: number;
  readonly verdict: "dropped" | "forwarded" | "audit";
  /** `invalid-source-ip`; `forwarded` when it was not dropped. */
  readonly reason: string;
  readonly direction: string;
  /** Which end's policy decided. */
  readonly end: "in" | "out" | null;
  readonly tcpFlags: number;
  readonly icmpType: number;
  readonly icmpCode: number;
  readonly length: number;
  /** 0: none. */
  readonly rule: number;
  readonly revision: number;
  readonly sourceIdentity: number;
  readonly destinationIdentity: number;
}

/** Policy as it stands in the kernel. */
export interface PolicyStanding {
  /** 0: none was ever written. */
  readonly revision: number;
  /** The tables that this agent wrote last; null: none yet, what an earlier agent wrote is in force. */
  readonly tables: PolicyTables | null;
  /** What the numbers of rules meant at a revision of this agent's; undefined: too old, or not of this agent's. */
  rulesOf(revision: number): readonly Rule[] | undefined;
}

export interface MapRow {
  readonly name: string;
  readonly type: string;
  readonly keySize: number;
  readonly valueSize: number;
  readonly capacity: number;
  readonly entries: number;
}

export interface MapEntry {
  /** Plain JSON: addresses as text, bytes as hex, 64-bit numbers as decimal text. */
  readonly key: unknown;
  readonly value: unknown;
}

export interface ProgramRow {
  /** The function's name, `from_container`. */
  readonly name: string;
  /** Device, or the cgroup folder. */
  readonly device: string;
  /** "ingress", "egress", "native", "connect4", … */
  readonly hook: string;
  readonly mode: "tcx" | "clsact" | "cgroup" | "xdp";
}

export interface KernelView {
  readonly release: string;
  /** Feature → here or not: btf, tcx, netnsCookie, cgroup. */
  readonly features: Readonly<Record<string, boolean>>;
  readonly programs: readonly ProgramRow[];
  readonly uplinks: readonly string[];
  /** One sentence each, with the mend; empty when all is well. */
  readonly problems: readonly string[];
  /** One sentence each, of what is well and could be faster. */
  readonly remarks: readonly string[];
}

/** Addresses of services that this node answers for. Times in milliseconds since the epoch. */
export interface HoldingParts {
  /** What it answers for now, by its own or an earlier agent's word, and until when that is certain; null: for good. */
  answered(): ReadonlyMap<Ip, number | null>;
  /**
   * Answers for these on every uplink, as those come and go, and for no others. Until its time an address is certainly this node's; afterwards whoever
   * announces it has it. What is not certain any more goes on where it is answered for, and does not begin.
   */
  hold(addresses: ReadonlyMap<Ip, number | null>): void;
  /** Addresses that another machine on a link has, and no node about to give one up: they are not answered for there. And where that is. The link is asked again at calls of `hold`. */
  taken(): ReadonlyMap<Ip, string>;
  /** Addresses that it answers for and another machine on a link says it has, and who, where and how often. They are defended at calls of `hold`. */
  rivals(): ReadonlyMap<Ip, string>;
  /** Says once more what is certainly its own, to those who are back and did not hear it. */
  announce(): void;
  /** Whether any uplink has its cable in. */
  readonly linked: boolean;
  /** When a cable was put in last; 0: none since the agent's start. What others have said before then may have been missed. */
  readonly linkedSince: number;
}

export interface GcReport {
  readonly scanned: number;
  readonly deleted: number;
  /** True when the end of both tables was reached; the next call starts over. */
  readonly finished: boolean;
}

/** What a backend was sent, over all CPUs, since the kernel has its counters. */
export interface BackendSent {
  /** Of containers here only by XDP. */
  readonly packets: bigint;
  readonly bytes: bigint;
  /** Flows of TCP and SCTP that were seen to begin, with those whose first packet was sent again; of containers here of UDP too. */
  readonly begun: bigint;
  /** Ends that clients have sent; 0 where `tracked`. */
  readonly ended: bigint;
  /** Its flows from the world are conntrack's. */
  readonly tracked: boolean;
}

export interface TrafficReading {
  /** By the backend's number. */
  readonly sent: ReadonlyMap<number, BackendSent>;
  readonly tracked: readonly TrackedFlows[];
}

/** Flows of a service, by its number, that conntrack knows to go to one end, were answered and have not ended. */
export interface TrackedFlows {
  readonly service: number;
  readonly address: Ip;
  readonly port: number;
  readonly flows: number;
}

/** Which services this node can carry out. */
export interface BalancedServices {
  /** Why it cannot, whatever room there is; undefined: it can. Cheap. */
  refusal(plan: PlanHead): HawserError | undefined;
  /** Plans of the last `services` step that are not carried out, and why; what stood in their place stands. */
  refused(): ReadonlyMap<ServicePlan, HawserError>;
  /** Calls back when `refused` may be others without a step: nodes have moved, or the host's addresses are others. */
  onRefused(listener: () => void): void;
}

/** When packets of services' changed slots last went to another backend than the slot's current one. */
export interface Elsewhere {
  /** For each place in the row of all slots, modulo their number, the epoch in which that was; of what never was, any. */
  readonly epochs: Uint8Array;
  /** That of now: epochs are counted modulo 256. */
  readonly epoch: number;
  /** What is so many epochs old is longer ago than any flow that is silent is remembered. */
  readonly quiet: number;
  /** Seconds, by a clock that nobody sets. */
  readonly uptime: number;
  /** Where each service's slots lie in the row, by its number. Those that are refused have none: what lies there is of their former plan. */
  readonly places: ReadonlyMap<number, { readonly first: number; readonly slots: number }>;
}

export interface Datapath extends AsyncDisposable {
  readonly doers: Doers;
  /** As of the last `syncHost()`. */
  readonly facts: HostFacts;
  /** Reads links, addresses and routes again and brings uplinks, their programs and the host's addresses up to date. */
  syncHost(): Promise<HostFacts>;
  /** Calls back after each syncHost that the kernel's own notice caused, until disposed. */
  onHostChange(listener: (facts: HostFacts) => void): Disposable;
  /**
   * Makes exactly these steps so, touching what is already so as little as it can, and removes whatever else
   * carries our name, unless that is to be kept. `steps` are the doing kinds only (policy, network, cable, attach, endpoint, guest, port).
   * Policy goes first, so that whoever is known is judged.
   */
  adopt(steps: readonly Step[], unclaimed?: "sweep" | "keep"): Promise<AdoptReport>;
  /** What the kernel knows of cables, networks and ports. */
  standing(): Standing;
  /** False when a pin of ours or hwhost is gone, which `adopt` mends; cheap enough for every few seconds (R25). */
  intact(): boolean;
  /** Deletes expired conntrack entries; looks at no more than `budget` entries and goes on there at the next call. */
  gc(budget?: number): GcReport;
  /** null: there are no services here. */
  elsewhere(): Promise<Elsewhere | null>;
  readonly services: BalancedServices;
  /** Counters that are not zero. */
  counters(): readonly CounterRow[];
  /** Of services in force. Takes a look at all of conntrack, with turns for others in between. */
  traffic(): Promise<TrafficReading>;
  /** Packets as they are told, until the signal aborts. A slow reader loses the oldest beyond 4096; the counters do not. */
  events(signal?: AbortSignal): AsyncIterable<PacketEvent>;
  /** Every record of the ring as it comes, at once, as long as the handle is not disposed: valid during the call only. */
  rawEvents(onRecord: (record: Uint8Array) => void): Disposable;
  decodeEvent(record: Uint8Array): PacketEvent;
  /** A device's name by its number; empty when it is not known. Cheap. */
  deviceName(ifindex: number): string;
  policy(): PolicyStanding;
  readonly holding: HoldingParts;
  maps(): Promise<readonly MapRow[]>;
  /** @throws HawserError NOT_FOUND with the known names. */
  dumpMap(name: string, limit: number): readonly MapEntry[];
  inspect(): KernelView;
}
