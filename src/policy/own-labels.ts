// Policy that a container carries itself, in its own `hawser.…` labels; it opens and closes that container's end alone.
import { nearest, slip } from "../std/nearest.ts";
import { attempt } from "../yaml/problems.ts";
import type { Problem } from "../yaml/problems.ts";
import { quoted } from "../yaml/render.ts";
import { PolicyProblems } from "./problems.ts";
import { parseTargets } from "./sentence.ts";
import type { Target } from "./sentence.ts";
import { slice, split, wrong } from "../yaml/text.ts";
import type { Text } from "../yaml/text.ts";
import type { Action, Direction, IdentityLabels, Peer, Place, Policy, Rule } from "./types.ts";

const directions: readonly Direction[] = ["in", "out"];
const actions: readonly Action[] = ["allow", "deny", "audit"];
/** Of keys and values together; who has more to say writes a file. Whoever may start a container must not fill everybody's tables (R32). */
const longest = 4096;
const keys = ["default", ...actions].flatMap((what) => directions.map((direction) => `hawser.${what}.${direction}`));

/**
 * `labels` are one identity's and `identityKey` its key. null: its labels hold no policy.
 * @throws PolicyProblems; a place's file is `label hawser.allow.out`. What was meant is not known then, so the container must be closed.
 */
export function policyOfLabels(labels: IdentityLabels, identityKey: string): Policy | null {
  const given = Object.keys(labels.own).filter((key) => key.startsWith("hawser."));
  if (given.length === 0) return null;
  const length = given.reduce((sum, key) => sum + key.length + (labels.own[key] ?? "").length, 0);
  if (length > longest) {
    throw new PolicyProblems([{
      place: placeIn(given[0] ?? "", 0), message: `a container's hawser.… labels hold ${length} characters, and may hold ${longest}; write a policy file instead`,
    }]);
  }
  const problems: Problem[] = [];
  for (const key of given.filter((one) => !keys.includes(one))) problems.push({ place: placeIn(key, 0), message: unknownLabel(key) });
  const name = `labels of ${labels.network}/${labels.service ?? labels.name ?? "?"}`;
  const text = (what: string, direction: Direction): Text | null => {
    const key = `hawser.${what}.${direction}`;
    return Object.hasOwn(labels.own, key) ? slice({ text: labels.own[key] ?? "", offset: 0, place: (offset) => placeIn(key, offset) }, 0) : null;
  };
  const rules = actions.flatMap((action) => directions.flatMap((direction) => {
    const value = text(action, direction);
    return value === null ? [] : attempt(problems, () => rulesOf(value, name, action, direction, labels.network)) ?? [];
  }));
  const readDefault = (direction: Direction): "allow" | "deny" | null => {
    const value = text("default", direction);
    return value === null ? null : attempt(problems, () => defaultOf(value)) ?? null;
  };
  const defaults = { in: readDefault("in"), out: readDefault("out") };
  if (problems.length > 0) throw new PolicyProblems(problems);
  return { name, place: placeIn(given[0] ?? "", 0), scope: { kind: "identity", key: identityKey }, defaults, rules, tests: [], closedNames: null };
}

function placeIn(key: string, offset: number): Place {
  return { file: `label ${key}`, line: 1, column: offset + 1 };
}

function unknownLabel(key: string): string {
  const meant = nearest(key, keys, slip);
  return `${quoted(key)} is no label of Hawser's; ${meant === undefined ? "" : `did you mean ${meant}? `}There are ${keys.join(", ")}`;
}

function defaultOf(value: Text): "allow" | "deny" {
  if (value.text === "allow" || value.text === "deny") return value.text;
  throw wrong(value, `${quoted(value.text)} where allow or deny was expected`);
}

/** Whom the container accepts, with its own ports, or whom it goes to, with theirs. A name is one on the same network. */
function rulesOf(value: Text, policy: string, action: Action, direction: Direction, network: string): readonly Rule[] {
  const [, second] = split(value, "->");
  if (second !== undefined) throw wrong(second, `a label names only the other end, without "->"`);
  const place = value.place(value.offset);
  const self: Peer = { kind: "entity", entity: "self", place };
  return parseTargets(value, { sets: new Map(), network }, true).map(({ peer, ports, text }: Target): Rule => ({
    policy, action, place: peer.place, text: `hawser.${action}.${direction}=${text}`, ports, ends: direction,
    from: direction === "in" ? [peer] : [self],
    to: direction === "in" ? [self] : [peer],
  }));
}
