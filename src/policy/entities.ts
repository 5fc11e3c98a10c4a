// The words for those who are no container by name, and the slips that people make in writing them.
import type { Entity } from "./types.ts";

export const entities: readonly Entity[] = ["any", "self", "host", "nodes", "lan", "world", "internet"];

/** Words of other tools for the same. */
const synonyms: Readonly<Record<string, Entity>> = {
  all: "any", "*": "any", everyone: "any", everything: "any", anyone: "any", anything: "any", anywhere: "any", localhost: "host",
};

export function parseEntity(word: string): Entity | null {
  return entities.find((entity) => entity === word) ?? null;
}

/**
 * The entity that was most likely meant by what is none. A container may have any name, so that only what hardly is one counts:
 * other letter case, two letters changed over, and for the long words one wrong letter.
 */
export function meantEntity(word: string): Entity | undefined {
  const small = word.slice(0, 20).toLowerCase();
  if (Object.hasOwn(synonyms, small)) return synonyms[small];
  return entities.find((entity) => small === entity || swapped(small, entity) || (entity.length >= 5 && entity !== "nodes" && oneEdit(small, entity)));
}

function swapped(word: string, entity: string): boolean {
  return word.length === entity.length && [...entity].some((char, i) => `${entity.slice(0, i)}${entity[i + 1] ?? ""}${char}${entity.slice(i + 2)}` === word);
}

function oneEdit(word: string, entity: string): boolean {
  const [short, long] = word.length < entity.length ? [word, entity] : [entity, word];
  if (long.length - short.length > 1) return false;
  let same = 0;
  while (same < short.length && short[same] === long[same]) same++;
  return short.slice(same + (short.length === long.length ? 1 : 0)) === long.slice(same + 1);
}
