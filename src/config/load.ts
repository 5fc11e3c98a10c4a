// Reads hawser.yaml: text → checked configuration, or an error that names key, place and what is allowed.
import { readFileSync } from "node:fs";
import { LineCounter, isMap, isNode, isPair, isScalar, isSeq, parseDocument } from "yaml";
import type { Document } from "yaml";
import { HawserError } from "../std/errors.ts";
import { read } from "./read.ts";
import type { Path, Problem } from "./read.ts";
import { schema } from "./schema.ts";
import type { Config } from "./schema.ts";
import { unsupported } from "./support.ts";

export const defaultPath = "/etc/hawser/hawser.yaml";

/**
 * `path` undefined: the default path when there is such a file, the defaults when there is none.
 * @throws HawserError BAD_CONFIG, or UNSUPPORTED for what this build cannot do.
 */
export function loadConfig(path: string | undefined): Config {
  let text = "";
  try {
    text = readFileSync(path ?? defaultPath, "utf8");
  } catch (error) {
    const absent = (error as NodeJS.ErrnoException).code === "ENOENT";
    if (path === undefined && absent) return parseConfig("", defaultPath);
    const why = absent ? "there is no such file" : (error as Error).message;
    throw new HawserError("BAD_CONFIG", `the configuration ${path ?? defaultPath} cannot be read: ${why}`, { cause: error });
  }
  return parseConfig(text, path ?? defaultPath);
}

/** `file` is how errors call the text. */
export function parseConfig(text: string, file: string): Config {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  const broken = document.errors[0];
  if (broken !== undefined) {
    const { line, col } = lines.linePos(broken.pos[0]);
    throw new HawserError("BAD_CONFIG", `${file}:${line}:${col}: ${broken.message}`);
  }
  const problems: Problem[] = [];
  const config = read(schema, valueOf(document, file), [], problems) as Config;
  if (problems.length === 0) problems.push(...contradictions(config));
  const sentences = (those: readonly Problem[]): string => those.map(({ path, sentence }) => `${file}${placeOf(document, lines, path)}: ${sentence}`).join("; ");
  if (problems.length > 0) throw new HawserError("BAD_CONFIG", sentences(problems));
  const refused = unsupported(config);
  if (refused.length > 0) throw new HawserError("UNSUPPORTED", sentences(refused));
  return config;
}

/** Aliases may multiply without end (R90); nobody needs a hundred. */
function valueOf(document: Document, file: string): unknown {
  try {
    return document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    throw new HawserError("BAD_CONFIG", `${file}: ${(error as Error).message}`, { cause: error });
  }
}

/** What one key alone cannot show. */
function contradictions({ pool, store, peers }: Config): readonly Problem[] {
  const problems: Problem[] = [];
  const check = (holds: boolean, path: Path, sentence: string): void => {
    if (!holds) problems.push({ path, sentence: `"${path.join(".")}" ${sentence}` });
  };
  const length = (cidr: string): number => Number(cidr.slice(cidr.indexOf("/") + 1));
  check(pool.ipv4NodePrefix >= length(pool.ipv4), ["pool", "ipv4NodePrefix"], `is ${pool.ipv4NodePrefix}, but a slice cannot be larger than the pool ${pool.ipv4}`);
  if (pool.ipv6 !== null) {
    check(pool.ipv6NodePrefix >= length(pool.ipv6), ["pool", "ipv6NodePrefix"], `is ${pool.ipv6NodePrefix}, but a slice cannot be larger than the pool ${pool.ipv6}`);
  }
  const etcd = store.kind === "etcd";
  const { ca, cert, key } = store.tls;
  check(!etcd || store.endpoints.length > 0, ["store", "endpoints"], "must name at least one address when store.kind is etcd");
  check(etcd || store.endpoints.length === 0, ["store", "endpoints"], "names etcd's addresses, so store.kind must be etcd");
  check(!etcd || peers.length === 0, ["peers"], "must be empty when store.kind is etcd: the nodes then find one another there");
  check(etcd || store.user === null, ["store", "user"], "is etcd's, so store.kind must be etcd");
  check(store.user === null || store.passwordFile !== null, ["store", "passwordFile"], "must name the file with the password of store.user");
  check(store.passwordFile === null || store.user !== null, ["store", "user"], "must say whose password store.passwordFile holds");
  check(key === null || cert !== null, ["store", "tls", "cert"], "must name the certificate that store.tls.key belongs to");
  check(cert === null || key !== null, ["store", "tls", "key"], "must name the key of the certificate store.tls.cert");
  const secure = store.endpoints.some((endpoint) => endpoint.toLowerCase().startsWith("https:"));
  check(secure || (ca ?? cert ?? key) === null, ["store", "tls"], "is for https, but no address in store.endpoints begins with https://");
  return problems;
}

/** `:line:column` of the key, or of the innermost group that holds it; empty when the file has neither. */
function placeOf(document: Document, lines: LineCounter, path: Path): string {
  let offset: number | undefined;
  let node: unknown = document.contents;
  for (const part of path) {
    if (isMap(node)) {
      const pair = node.items.find((item) => isPair(item) && isScalar(item.key) && item.key.value === part);
      if (pair === undefined) break;
      if (isNode(pair.key)) offset = pair.key.range?.[0];
      node = pair.value;
    } else if (isSeq(node)) {
      node = node.items[Number(part)];
      if (isNode(node)) offset = node.range?.[0];
    }
  }
  if (offset === undefined) return "";
  const { line, col } = lines.linePos(offset);
  return `:${line}:${col}`;
}
