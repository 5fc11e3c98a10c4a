// Service files to services: all of them, or every problem of every file.
import { atOnce } from "../std/sliced.ts";
import type { Sliced } from "../std/sliced.ts";
import { readingPages } from "../yaml/page.ts";
import { attempt } from "../yaml/problems.ts";
import type { Problem } from "../yaml/problems.ts";
import { placeText } from "../yaml/render.ts";
import { readService } from "./document.ts";
import { endText } from "./fields.ts";
import { ServiceProblems } from "./problems.ts";
import type { Frontend, Service, WrittenFrontend } from "./types.ts";

export interface ServiceSource {
  /** How places call it. */
  readonly file: string;
  readonly text: string;
  /** The file's in which the text begins, from 1; left out: the first. */
  readonly line?: number;
}

/** Problems of one file; nobody reads on. */
const enough = 1000;

/**
 * A text may hold several documents, each a service, in YAML or in JSON. `read`: how each is, or was.
 * @throws ServiceProblems with every problem, each with its file, line and column; then nothing of the documents may be used.
 */
export function readServices(documents: readonly ServiceSource[], read: typeof readDocument = readDocument): readonly Service[] {
  return atOnce(readingServices(documents, read));
}

/** As `readServices`. */
export function* readingServices(documents: readonly ServiceSource[], read: typeof readDocument): Sliced<readonly Service[]> {
  const services: Service[] = [];
  const problems: Problem[] = [];
  for (const document of documents) {
    const one = read(document);
    for (const service of one.services) services.push(service);
    problems.push(...one.problems);
    yield;
  }
  yield* findTwice(services, problems);
  if (problems.length > 0) throw new ServiceProblems(problems);
  return services;
}

/** What is in one document, with what is wrong with it by itself. */
export interface ReadServices {
  readonly services: readonly Service[];
  readonly problems: readonly Problem[];
}

export function readDocument(source: ServiceSource): ReadServices {
  return atOnce(readingDocument(source));
}

/** As `readDocument`. */
export function* readingDocument({ file, text, line }: ServiceSource): Sliced<ReadServices> {
  const own: Problem[] = [];
  const services: Service[] = [];
  for (const page of yield* readingPages(file, text, "service", own, line)) {
    yield;
    if (own.length > enough) break;
    const service = attempt(own, () => readService(page, own));
    if (service !== undefined) services.push(service);
  }
  own.sort(({ place: a }, { place: b }) => a.line - b.line || a.column - b.column);
  return { services, problems: own };
}

/** null: something in it is wrong. */
export function readRightly(read: ReadServices): readonly Service[] | null {
  return atOnce(readingRightly(read));
}

/** As `readRightly`. */
export function* readingRightly({ services, problems }: ReadServices): Sliced<readonly Service[] | null> {
  const all = [...problems];
  yield* findTwice(services, all);
  return all.length === 0 ? services : null;
}

/** A name is one service's, and so is an address with its port and protocol: both places are told. */
export function* findTwice(services: readonly Service[], problems: Problem[]): Sliced<void> {
  const taken = new Taken();
  for (const service of services) {
    problems.push(...taken.inTheWayOf(service));
    taken.add(service);
    yield;
  }
}

/** The names and frontends that services have, as one comes after another. */
export class Taken {
  readonly #names = new Map<string, Service>();
  readonly #frontends = new Map<string, { readonly service: Service; readonly frontend: WrittenFrontend }>();

  /** Of two with the same the first has it. */
  add(service: Service): void {
    if (!this.#names.has(service.name)) this.#names.set(service.name, service);
    for (const frontend of service.frontends) {
      const text = frontendText(frontend);
      if (!this.#frontends.has(text)) this.#frontends.set(text, { service, frontend });
    }
  }

  inTheWayOf(service: Service): readonly Problem[] {
    const same = this.#names.get(service.name);
    const problems: Problem[] = same === undefined ? [] : [{ place: service.place, message: `there is another service ${service.name} at ${placeText(same.place)}; a service's name is unique` }];
    const own = new Map<string, WrittenFrontend>();
    for (const frontend of service.frontends) {
      const text = frontendText(frontend);
      const [other, mine] = [this.#frontends.get(text), own.get(text)];
      const whose = other !== undefined ? `service ${other.service.name} has it` : "this service has it";
      const there = other?.frontend ?? mine;
      if (there === undefined) own.set(text, frontend);
      else problems.push({ place: frontend.place, message: `${text} is taken: ${whose} at ${placeText(there.place)}; give one of them another address or port` });
    }
    return problems;
  }
}

/** `203.0.113.10:80/tcp`, `[2001:db8::10]:80/tcp`. */
export function frontendText(frontend: Frontend): string {
  return `${endText(frontend)}/${frontend.protocol}`;
}
