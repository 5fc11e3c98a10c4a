// Which selectors a container's labels match, found by looking labels up and not by trying every selector.
import { identityKey } from "./identity.ts";
import type { ContainerTest } from "./selectors.ts";
import type { IdentityLabels } from "./types.ts";

type Label = readonly [key: string, value: string | null];

/** Numbers of the selectors that match, ascending; those that match every container are not among them. */
export type Matcher = (labels: IdentityLabels) => readonly number[];

export function createMatcher(tests: ReadonlyMap<number, ContainerTest>): Matcher {
  const byName = new Map<string, number>();
  const byKey = new Map<string, number>();
  /** A selector of several labels stands at its rarest one, the others are then compared. */
  const byLabel = new Map<string, { readonly number: number; readonly others: readonly Label[] }[]>();
  for (const [number, test] of tests) {
    if (test.kind === "identity") byKey.set(test.key, number);
    else if (test.kind === "name") byName.set(nameKey(test.home, test.where, test.name), number);
    else {
      const rarest = test.labels.toSorted((a, b) => commonness(a) - commonness(b))[0] as Label;
      const entry = { number, others: test.labels.filter((label) => label !== rarest) };
      const list = byLabel.get(labelKey(...rarest));
      if (list) list.push(entry);
      else byLabel.set(labelKey(...rarest), [entry]);
    }
  }

  return (labels) => {
    const found: number[] = [];
    for (const name of new Set([labels.service, labels.name])) {
      if (name === null) continue;
      found.push(...has(byName.get(nameKey("network", labels.network, name))), ...has(byName.get(nameKey("anywhere", "", name))));
      if (labels.project !== null) found.push(...has(byName.get(nameKey("project", labels.project, name))));
    }
    if (byKey.size > 0) found.push(...has(byKey.get(identityKey(labels))));
    const try_ = (key: string, value: string | null): void => {
      for (const { number, others } of byLabel.get(labelKey(key, value)) ?? []) {
        if (others.every((label) => matches(labels, label))) found.push(number);
      }
    };
    for (const key of [...fields, ...Object.keys(labels.own).filter((own) => !isField(own))]) {
      const value = valueOf(labels, key);
      if (value === null) continue;
      try_(key, value);
      try_(key, null);
    }
    return found.toSorted((a, b) => a - b);
  };
}

const fields = ["network", "project", "service", "name"] as const;

function isField(key: string): key is (typeof fields)[number] {
  return (fields as readonly string[]).includes(key);
}

/** A field of the identity hides an own label of its name. */
function valueOf(labels: IdentityLabels, key: string): string | null {
  if (isField(key)) return labels[key];
  return Object.hasOwn(labels.own, key) ? (labels.own[key] ?? null) : null;
}

function matches(labels: IdentityLabels, [key, wanted]: Label): boolean {
  const value = valueOf(labels, key);
  return value !== null && (wanted === null || wanted === value);
}

/** A guess at how many containers carry the label, to look at few selectors for each container. */
function commonness([key, value]: Label): number {
  const ofKey = { name: 0, service: 1, project: 3, network: 4 }[key] ?? 2;
  return value === null ? 10 + ofKey : ofKey;
}

function nameKey(home: string, where: string, name: string): string {
  return `${home}\0${where}\0${name}`;
}

function labelKey(key: string, value: string | null): string {
  return value === null ? key : `${key}\0${value}`;
}

function has(number: number | undefined): readonly number[] {
  return number === undefined ? [] : [number];
}
