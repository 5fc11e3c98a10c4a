// What of a text is one service's own, and whether two texts say the same of it.
import { readServices } from "./read.ts";
import type { Service } from "./types.ts";

/** What it says, wherever it stands and however it is written. */
export function meaningOf(service: Service): string {
  return JSON.stringify(service, (key, value: unknown) => (key === "place" ? undefined : value));
}

/** The service's own document of the text that it was read from; the whole text when that holds no other, or cannot be taken apart. */
export function ownText(text: string, service: Service): string {
  const { file, line } = service.place;
  if (!/^(?:---|\.\.\.)(?:\s|$)/m.test(text) || readServices([{ file, text }]).length === 1) return text;
  const lines = text.split("\n");
  const end = lines.findIndex((one, i) => i >= line && /^(?:---|\.\.\.)(?:\s|$)/.test(one));
  const own = `${lines.slice(line - 1, end < 0 ? undefined : end).join("\n").trimEnd()}\n`;
  return saysTheSame(own, service) ? own : text;
}

function saysTheSame(text: string, service: Service): boolean {
  try {
    const [first, ...others] = readServices([{ file: service.place.file, text }]);
    return first !== undefined && others.length === 0 && meaningOf(first) === meaningOf(service);
  } catch {
    return false;
  }
}
