// Policy in a Compose file: `x-hawser:` beside its services, about the project that the file is.
import { readPolicy } from "./document.ts";
import type { Entry, Node, Page } from "../yaml/page.ts";
import { isName } from "./peers.ts";
import { problem } from "../yaml/problems.ts";
import type { Problem } from "../yaml/problems.ts";
import { quoted } from "../yaml/render.ts";
import { wrong } from "../yaml/text.ts";
import type { Policy } from "./types.ts";

export function isCompose(page: Page): boolean {
  if (!page.isMap(page.root)) return false;
  const keys = page.map(page.root, "the file");
  return keys.has("x-hawser") || (keys.has("services") && !keys.has("policy"));
}

/** @throws Problems for a Compose file that holds no policy. */
export function readCompose(page: Page, file: string, problems: Problem[]): readonly Policy[] {
  const keys = page.map(page.root, "the file");
  const value = valueOf(keys, "x-hawser");
  if (value === undefined) throw problem(page.placeOf(page.root), 'this Compose file holds no policy: it has no "x-hawser:" beside its services');
  const items = page.isList(value) ? page.list(value, '"x-hawser"') : [value];
  if (items.length === 0) throw problem(page.placeOf(value), '"x-hawser" is an empty list');
  const needsProject = items.some((item) => !page.isMap(item) || !page.map(item, "a policy").has("for") || !page.map(item, "a policy").has("policy"));
  const project = needsProject ? projectOf(page, file) : null;
  const scope = project === null ? null : { kind: "project" as const, name: project };
  const closedNames = namesOf(page);
  return items.flatMap((item) => readPolicy(page, item, { name: project, scope, closedNames }, problems) ?? []);
}

/** As Compose makes it: `name:`, or the folder's name in small letters without what it may not hold. */
function projectOf(page: Page, file: string): string {
  const name = valueOf(page.map(page.root, "the file"), "name");
  if (name !== undefined) {
    const text = page.text(name, '"name"');
    if (isName(text.text)) return text.text;
    throw wrong(text, `the project's name ${quoted(text.text)} is known to Compose alone; write policy: NAME and for: { project: NAME } below x-hawser`);
  }
  const folder = file.split("/").slice(0, -1).findLast((part) => part !== "" && part !== ".") ?? "";
  const made = folder.toLowerCase().replace(/[^a-z0-9_-]/g, "").replace(/^[_-]+/, "");
  if (made !== "" && folder !== "..") return made;
  throw problem(page.placeOf(page.root), "the project's name is not known: write name: NAME in the Compose file, or give its path with the folder");
}

/** Its services and their containers' names; null when it takes in other files, and so does not list all. */
function namesOf(page: Page): readonly string[] | null {
  const keys = page.map(page.root, "the file");
  const services = valueOf(keys, "services");
  if (services === undefined || keys.has("include")) return null;
  const names = new Set<string>();
  for (const [name, { value }] of page.map(services, '"services"')) {
    names.add(name);
    const container = value === null ? undefined : containerName(page, value);
    if (container !== undefined) names.add(container);
  }
  return [...names];
}

function containerName(page: Page, service: Node): string | undefined {
  if (!page.isMap(service)) return undefined;
  const given = valueOf(page.map(service, "a service"), "container_name");
  return given === undefined ? undefined : page.text(given, '"container_name"').text;
}

function valueOf(entries: ReadonlyMap<string, Entry>, key: string): Node | undefined {
  return entries.get(key)?.value ?? undefined;
}
