// What of a file's text is one service's own, and whether two services say the same.
import type { Sliced } from "../std/sliced.ts";
import { readDocument, readRightly } from "./read.ts";
import type { ServiceSource } from "./read.ts";
import type { Service } from "./types.ts";

/** A service with its own document of the text that it was read from: that holds it alone, and says the same. */
export interface ServicePart extends Omit<ServiceSource, "file"> {
  readonly name: string;
  readonly service: Service;
}

/** What it says, wherever it stands and however it is written. */
export function meaningOf(service: Service): string {
  return JSON.stringify(service, (key, value: unknown) => (key === "place" ? undefined : value));
}

/** In the order of `services`, which are all of the source. A part is the whole text when that holds no other service, or cannot be taken apart. */
export function* takeApart(source: ServiceSource, services: readonly Service[]): Sliced<readonly ServicePart[]> {
  const { file, text, line } = source;
  const whole = (service: Service): ServicePart => ({ name: service.name, service, text, ...(line === undefined ? {} : { line }) });
  if (services.length < 2) return services.map(whole);
  const documents = documentsOf(source);
  // A %TAG before a document, and a mark of the byte order, may mean something in it.
  const plain = !/(?:^|\n)%|\ufeff/.test(text);
  let at = 0;
  const partOf = (service: Service): ServicePart => {
    while ((documents[at + 1]?.line ?? Infinity) <= service.place.line) at++;
    const own = documents[at];
    // How much aliases may stand for depends on the length of the text.
    if (own === undefined || !((plain && !/[&*]/.test(own.text)) || saysTheSame({ file, ...own }, service))) return whole(service);
    return { name: service.name, service, text: own.text, ...(own.line === 1 ? {} : { line: own.line }) };
  };
  const parts: ServicePart[] = [];
  for (const service of services) {
    parts.push(partOf(service));
    yield;
  }
  return parts;
}

/** What stands between lines of `---` and `...`, which are such lines wherever they are in YAML. */
function documentsOf({ text, line: first = 1 }: ServiceSource): readonly { readonly text: string; readonly line: number }[] {
  const documents: { readonly text: string; readonly line: number }[] = [];
  let [start, line] = [0, first];
  const cut = (end: number): void => {
    documents.push({ text: `${text.slice(start, end).trimEnd()}\n`, line });
    for (let i = text.indexOf("\n", start); i >= 0 && i < end; i = text.indexOf("\n", i + 1)) line++;
    start = end;
  };
  for (const { index } of text.matchAll(/(?<=^|\n)(?:---|\.\.\.)(?=[ \t\r\n]|$)/g)) {
    cut(index);
    const end = text.indexOf("\n", index);
    // A mark that has its line for itself is no part of what follows.
    if (!/^\s*(?:#|$)/.test(text.slice(index + 3, end < 0 ? undefined : end))) continue;
    start = end < 0 ? text.length : end + 1;
    line++;
  }
  cut(text.length);
  return documents;
}

function saysTheSame(source: ServiceSource, service: Service): boolean {
  const [first, ...others] = readRightly(readDocument(source)) ?? [];
  return first !== undefined && others.length === 0 && meaningOf(first) === meaningOf(service);
}
