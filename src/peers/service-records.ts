// Under which keys nodes share services, and the records there: services/NAME, service-files/NODE, service-turn.
import type { SharedService } from "../engine/types.ts";
import { longestRecord } from "../engine/shared.ts";
import { nodeName } from "./keys.ts";
import { fail, form, list, longestName, string, versioned, whole } from "./records.ts";

export type ServicePlace =
  | { readonly kind: "service"; readonly name: string }
  /** Which services stand in the node's watched directory. */
  | { readonly kind: "files"; readonly node: string }
  /** The count of changes: who changes any of the others changes it, too, and only if it is what he read. */
  | { readonly kind: "turn" };

/** Begins all of them. */
export const serviceRecords = "service";
export const serviceTurnKey = "service-turn";
export const serviceKey = (name: string): string => `services/${name}`;
export const serviceFilesKey = (node: string): string => `service-files/${node}`;

const serviceName = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/;
const longestPath = 4096;
const mostFiles = 16_383;

/** undefined: a key of another build's. @throws when it is a known kind's and wrong. */
export function servicePlaceOf(key: string): ServicePlace | undefined {
  if (key === serviceTurnKey) return { kind: "turn" };
  const [room, name = "", ...more] = key.split("/");
  const right = (one: RegExp): boolean => more.length === 0 && one.test(name);
  if (room === "services") return right(serviceName) ? { kind: "service", name } : fail("a key of that form is none");
  if (room === "service-files") return right(nodeName) ? { kind: "files", node: name } : fail("a key of that form is none");
  return undefined;
}

export const encodeTurn = (turn: number): string => JSON.stringify({ v: form, turn });
export const encodeFiles = (node: string, files: ReadonlyMap<string, string>): string => JSON.stringify({ v: form, node, files: [...files].toSorted() });
export function encodeService({ name, file, line, text, source, revision, changedAt, node, turn }: SharedService): string {
  return JSON.stringify({ v: form, name, node, file, line, source, revision, changedAt, turn, text });
}

export function decodeTurn(text: string): number {
  return whole(versioned(text)["turn"], "turn", 0, Number.MAX_SAFE_INTEGER);
}

/** By the service's name. */
export function decodeFiles(node: string, text: string): ReadonlyMap<string, string> {
  const fields = versioned(text);
  if (fields["node"] !== node) fail("it is the record of another node");
  return new Map(list(fields["files"], "files", mostFiles).map((one) => {
    const [name, file] = list(one, "files", 2);
    return [string(name, "files", longestName), string(file, "files", longestPath)] as const;
  }));
}

export function decodeService(name: string, text: string): SharedService {
  const fields = versioned(text);
  if (fields["name"] !== name) fail("it is the record of another service");
  const node = string(fields["node"], "node", longestName);
  const source = fields["source"];
  if (!nodeName.test(node)) fail("node: it is no node's name");
  if (source !== "apply" && source !== "directory") return fail("source: it is neither apply nor directory");
  return {
    name, node, source, file: string(fields["file"], "file", longestPath), text: string(fields["text"], "text", longestRecord),
    revision: whole(fields["revision"], "revision", 0, Number.MAX_SAFE_INTEGER), changedAt: whole(fields["changedAt"], "changedAt", 0, Number.MAX_SAFE_INTEGER),
    turn: whole(fields["turn"], "turn", 0, Number.MAX_SAFE_INTEGER),
    ...(fields["line"] === undefined ? {} : { line: whole(fields["line"], "line", 1, Number.MAX_SAFE_INTEGER) }),
  };
}
