// A container's labels to its identity: which of them count, how sets of them are told apart, how they are shown.
import type { IdentityLabels, Policy } from "./types.ts";

/** What tools write onto containers for themselves. It tells replicas apart that are the same to every rule, so it does not count. */
const bookkeepingPrefixes: readonly string[] = [
  "com.docker.", "desktop.docker.", "org.opencontainers.", "org.label-schema.", "io.containerd.", "io.cri-containerd", "nerdctl/",
];
const bookkeepingKeys: readonly string[] = ["maintainer"];

export function bookkeeping(key: string): boolean {
  return bookkeepingKeys.includes(key) || bookkeepingPrefixes.some((prefix) => key.startsWith(prefix));
}

export interface LabelledContainer {
  /** Name of the network that the endpoint is on. */
  readonly network: string;
  readonly name: string;
  /** The container's own labels, without its image's (R88). */
  readonly own: Readonly<Record<string, string>>;
  /** Those that may be its own or its image's. */
  readonly doubtful?: Readonly<Record<string, string>>;
}

/** The labels that count. The container's name is among them only when somebody refers to it. */
export function relevantLabels({ doubtful = {}, ...container }: LabelledContainer, referencedNames: ReadonlySet<string>): IdentityLabels {
  const sure = countingIn(container, referencedNames);
  if (Object.keys(doubtful).length === 0) return sure;
  const supposed = countingIn({ ...container, own: { ...doubtful, ...container.own } }, referencedNames);
  return identityKey(supposed) === identityKey(sure) ? sure : { ...sure, doubtful: supposed };
}

function countingIn({ network, name, own }: LabelledContainer, referencedNames: ReadonlySet<string>): IdentityLabels {
  const label = (key: string): string | null => (Object.hasOwn(own, key) && own[key] !== "" ? own[key] ?? null : null);
  return {
    network,
    project: label("com.docker.compose.project"),
    service: label("com.docker.compose.service"),
    name: referencedNames.has(name) ? name : null,
    own: Object.fromEntries(Object.entries(own).filter(([key]) => !bookkeeping(key)).sort(byKey)),
  };
}

/** Two sets of labels have the same key exactly when they are the same; whatever they hold. */
export function identityKey({ network, project, service, name, own, doubtful }: IdentityLabels): string {
  return JSON.stringify([network, project, service, name, ...Object.entries(own).sort(byKey), ...(doubtful === undefined ? [] : [identityKey(doubtful)])]);
}

function byKey([a]: readonly [string, string], [b]: readonly [string, string]): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

const fields = ["network", "project", "service", "name"] as const;
/** What flows call the host and the world by. */
const hostAndWorld = "reserved";

/**
 * As lists show them. A container's own label that has a field's key is shown as `label:KEY`, so that it cannot pass for it, and what
 * may not be its own as `doubtful:KEY`.
 */
export function displayLabels(labels: IdentityLabels): Readonly<Record<string, string>> {
  const shown = fields.flatMap((field) => (labels[field] === null ? [] : [[field, labels[field]] as const]));
  const own = Object.entries(labels.own).map(([key, value]) => [reserved(key) ? `label:${key}` : key, value] as const);
  const sure = Object.fromEntries([...shown, ...own]);
  if (labels.doubtful === undefined) return sure;
  const supposed = Object.entries(displayLabels(labels.doubtful)).filter(([key, value]) => !Object.hasOwn(sure, key) || sure[key] !== value);
  return Object.fromEntries([...Object.entries(sure), ...supposed.map(([key, value]) => [`doubtful:${key}`, value] as const)]);
}

function reserved(key: string): boolean {
  return key === hostAndWorld || fields.some((field) => field === key) || key.startsWith("label:") || key.startsWith("doubtful:");
}

/** Every name that the policies speak of: containers that carry one have it in their identity. */
export function referencedNames(policies: readonly Policy[]): ReadonlySet<string> {
  const names = new Set<string>();
  const label = (key: string, value: string | null): void => {
    if (key === "name" && value !== null) names.add(value);
  };
  for (const { scope, rules, tests } of policies) {
    if (scope.kind === "label") label(scope.key, scope.value);
    for (const { from, to } of rules) {
      for (const peer of [...from, ...to]) {
        if (peer.kind === "name") names.add(peer.name);
        else if (peer.kind === "labels") for (const [key, value] of Object.entries(peer.labels)) label(key, value);
      }
    }
    for (const { from, to } of tests) for (const end of [from, to]) for (const name of namesIn(end)) names.add(name);
  }
  return names;
}

/** `shop/db:5432/tcp` speaks of db; `label(name=db)` too; one name too many does no harm. */
function namesIn(end: string): readonly string[] {
  const label = /^label\((.*)\)/.exec(end)?.[1];
  if (label !== undefined) return label.split(",").flatMap((one) => /^\s*name\s*=\s*"?([^"]*?)"?\s*$/.exec(one)?.[1] ?? []);
  const name = /^(?:[\w.-]+\/)?([\w.-]+?)(?::.*|\/(?:tcp|udp|sctp|icmp|icmpv6))?$/.exec(end)?.[1];
  return name === undefined ? [] : [name];
}
