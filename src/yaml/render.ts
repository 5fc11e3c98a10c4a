// Places and other people's words as a message shows them.
import type { Place } from "./lines.ts";

/** `shop.yaml:4:5`, as editors and terminals understand it. */
export function placeText({ file, line, column }: Place): string {
  return `${file}:${line}:${column}`;
}

/** Somebody else's words inside a sentence of ours: quoted, and cut where they would drown it. */
export function quoted(text: string): string {
  const most = 80;
  return JSON.stringify(text.length > most ? `${text.slice(0, most)}…` : text);
}
