// What policy is made of: documents as written, facts about who is there, the tables that the kernel enforces, verdicts.
import type { Cidr, Ip } from "../std/ip.ts";
import type { Place } from "../yaml/lines.ts";

export type { Place } from "../yaml/lines.ts";

export type Action = "allow" | "deny" | "audit";
/** As seen by a container: who comes in, where it goes out to. */
export type Direction = "in" | "out";
export type Protocol = "tcp" | "udp" | "sctp" | "icmp" | "icmpv6";
export type Entity = "any" | "self" | "host" | "nodes" | "lan" | "world" | "internet";

/** Which containers a policy is for. */
export type Scope =
  | { readonly kind: "all" }
  | { readonly kind: "network"; readonly name: string }
  | { readonly kind: "project"; readonly name: string }
  | { readonly kind: "label"; readonly key: string; readonly value: string | null }
  /** Of a container's own `hawser.…` labels: the containers with exactly this identity key (`identityKey`). */
  | { readonly kind: "identity"; readonly key: string };

/** An address is of a group when one of `include` contains it and none of that one's `except` does. */
export interface AddressRange {
  readonly include: Cidr;
  readonly except: readonly Cidr[];
}

export type Peer =
  | { readonly kind: "entity"; readonly entity: Entity; readonly place: Place }
  /** A Compose service or a container's name; network null: of the policy's own network or project (any, when the policy is for all or by label). */
  | { readonly kind: "name"; readonly network: string | null; readonly name: string; readonly place: Place }
  /** Every label must be there with this value; null: with any value. The keys network, project, service and name mean the identity's own fields. */
  | { readonly kind: "labels"; readonly labels: Readonly<Record<string, string | null>>; readonly place: Place }
  | { readonly kind: "network"; readonly name: string; readonly place: Place }
  /** Addresses that are no container's: sets are written out. */
  | { readonly kind: "addresses"; readonly ranges: readonly AddressRange[]; readonly set: string | null; readonly place: Place };

/** Ports first…last, both included; for icmp and icmpv6: type × 256 + code. */
export interface PortRange {
  readonly protocol: Protocol;
  readonly first: number;
  readonly last: number;
}

export interface Rule {
  readonly policy: string;
  readonly action: Action;
  readonly place: Place;
  /** The sentence as written; the long form as one line of YAML flow text. */
  readonly text: string;
  readonly from: readonly Peer[];
  readonly to: readonly Peer[];
  /** Empty: every port of every protocol. */
  readonly ports: readonly PortRange[];
  /**
   * Whose end the rule opens or closes. A sentence of a policy speaks for both; one in a container's own label for that
   * container alone, so that no container opens another.
   */
  readonly ends: "both" | Direction;
}

/** What happens to what no rule speaks of; null: what Docker does (same network may talk). */
export interface Defaults {
  readonly in: "allow" | "deny" | null;
  readonly out: "allow" | "deny" | null;
}

export interface PolicyTest {
  readonly place: Place;
  /** As written. */
  readonly from: string;
  readonly to: string;
  readonly expect: "allow" | "deny" | "audit";
}

/** One policy, in order with itself; whom its names mean is not known here. */
export interface Policy {
  readonly name: string;
  readonly place: Place;
  readonly scope: Scope;
  readonly defaults: Defaults;
  readonly rules: readonly Rule[];
  readonly tests: readonly PolicyTest[];
  /** Names that a Compose file declares: then a name outside of them is an error. */
  readonly closedNames: readonly string[] | null;
}

/** A policy as it is remembered: the whole document that it stands in, to be read again. */
export interface StoredPolicy {
  readonly name: string;
  readonly file: string;
  readonly text: string;
  /** From the watched directory, or by `policy apply`. */
  readonly source: "directory" | "apply";
  /** Counts the changes of this policy, from 1. */
  readonly revision: number;
  /** Milliseconds since the epoch. */
  readonly changedAt: number;
}

// ---- Who is there.

/** The labels that count. `own`: the container's own, without those of its image and without Compose's bookkeeping. */
export interface IdentityLabels {
  readonly network: string;
  readonly project: string | null;
  readonly service: string | null;
  /** null unless a rule or a service refers to the name. */
  readonly name: string | null;
  readonly own: Readonly<Record<string, string>>;
  /**
   * The same container as it would be if the labels of which nobody can tell whether they are its image's were its own too; left out
   * when there are none. It counts for what closes and never for what opens (R88).
   */
  readonly doubtful?: IdentityLabels;
}

export interface Identity {
  /** 1…2^32-1. */
  readonly id: number;
  readonly labels: IdentityLabels;
}

/** Everything that verdicts depend on besides the policies. */
export interface PolicyFacts {
  readonly identities: readonly Identity[];
  /** Addresses that the host itself answers to, gateways included. */
  readonly host: readonly Ip[];
  /** Other Hawser nodes. */
  readonly nodes: readonly Cidr[];
  /** What the installation hands out to containers: of the world is none of it, whether or not somebody has it. */
  readonly pool: readonly Cidr[];
  /** Whether a prefix in a rule means addresses of the pool too: of static peers' containers nothing else is known. */
  readonly poolByAddress: boolean;
  /** The uplinks' own subnets. */
  readonly lan: readonly Cidr[];
  /** By name: whether the network is internal, and whether its containers may talk to one another (`icc`). */
  readonly networks: ReadonlyMap<string, { readonly internal: boolean; readonly icc: boolean }>;
  /** TCP ports of the host that containers reach only by a rule: Docker's API, the agent's own. */
  readonly hostServices: readonly number[];
  readonly betweenNetworks: "allow" | "deny";
  readonly published: "allow" | "deny";
  readonly untilIdentified: "allow" | "deny";
}

// ---- What the kernel enforces (bpf/abi/policy.h says how).

export type Verdict = "allow" | "deny" | "audit";

export interface ClassRow {
  readonly class: number;
  readonly denyIn: boolean;
  readonly denyOut: boolean;
  readonly covered: boolean;
}

export interface PortRow {
  readonly ruleset: number;
  /** IANA number; null: every protocol, and then `port` is 0 and `bits` 0. */
  readonly protocol: number | null;
  readonly port: number;
  /** How many of the port's 16 bits count; 0: every port of the protocol. */
  readonly bits: number;
  readonly verdict: Verdict;
  /** The rule speaks of every port and of no ICMP type: an ICMP error passes it with the flow that it belongs to. */
  readonly wide: boolean;
  /** Index in `rules` plus 1, or a built-in rule's number (`builtinRules`). */
  readonly rule: number;
}

/**
 * A whole policy as tables. Immutable; a part that did not change may be the same object as in the tables before.
 * Keys as text, so that maps can be compared: `pairs`: `${direction} ${subject} ${peer}` → ruleset, peer 0: every other one.
 * `ports`: `${ruleset} ${protocol ?? "*"} ${port}/${bits}`.
 */
export interface PolicyTables {
  readonly classes: ReadonlyMap<number, ClassRow>;
  readonly prefixes: ReadonlyMap<Cidr, number>;
  readonly pairs: ReadonlyMap<string, number>;
  readonly ports: ReadonlyMap<string, PortRow>;
  /** What the numbers in `ports` mean. */
  readonly rules: readonly Rule[];
}

/** Rules that no file holds: refused unless a rule allows it. Their numbers are above every written rule's. */
export const builtinRules = {
  metadata: 0xffff_ff01,
  hostServices: 0xffff_ff02,
  localServices: 0xffff_ff03,
} as const;
export type BuiltinRule = keyof typeof builtinRules;

// ---- Verdicts for people.

/** One end of a flow. `identity` null: no container. `address` null: of a container that does not run (tests, trace by name). */
export interface End {
  readonly identity: IdentityLabels | null;
  readonly address: Ip | null;
  /** True: a container whose labels are not known; of its identity only the network is true. */
  readonly unidentified?: boolean;
  /** True: a container that somebody else wired. */
  readonly guest?: boolean;
}

export interface PacketQuestion {
  readonly from: End;
  readonly to: End;
  /** null: any protocol, no port asked: then rules with ports do not match. */
  readonly protocol: Protocol | null;
  /** Port, or ICMP type × 256 + code; null with `protocol` null. */
  readonly port: number | null;
  /** True: through a published port; from outside, or from a container that asks the host's address. */
  readonly published: boolean;
}

export type Decider =
  | { readonly kind: "rule"; readonly rule: Rule }
  /** `default:in`, `default:out`, `between-networks`, `default:icc`, `default:published`, `default:metadata`, `default:host-services`, `default:local-services`, `default:multicast`, `internal`, `not-identified`; `policy`: whose default it is. */
  | { readonly kind: "default"; readonly name: string; readonly policy: string | null; readonly place: Place | null };

export interface Judgement {
  readonly verdict: Verdict;
  readonly decidedBy: Decider;
  /** Which end decided. */
  readonly end: Direction;
}
