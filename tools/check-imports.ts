// Keeps who may import whom: reads every import under src/ and names those that the table does not allow, with the reason.
import { globSync, readFileSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";

/** What a room may take from another: everything, or only types (which leave no trace when the code runs). */
interface Room {
  readonly values: "all" | readonly string[];
  readonly types?: readonly string[];
  /** Node's own modules: all, none, or these. */
  readonly node: "all" | readonly string[];
  /** Packages; left out: none. */
  readonly packages?: readonly string[];
  readonly because: string;
}

const door = ["std", "engine"];
const doorTypes = ["network"];
const doorBecause = "a door speaks to the engine's commands and queries; it never reads a map and never imports another door";

/** The house's table; a folder of src/ that is not in it may import nothing. */
export const rooms: Readonly<Record<string, Room>> = {
  std: { values: [], node: "all", because: "it is the ground" },
  network: { values: ["std"], types: ["policy", "lb"], node: [], because: "a model is pure: no node:*, no clock but the one passed in" },
  yaml: { values: ["std"], node: [], packages: ["yaml"], because: "it knows where a word stands, and not what it means" },
  policy: { values: ["std", "yaml"], types: ["network", "lb"], node: [], because: "a model is pure: no node:*, no clock but the one passed in" },
  lb: { values: ["std", "yaml"], types: ["network", "policy"], node: [], because: "a model is pure: no node:*, no clock but the one passed in" },
  abi: { values: ["std"], node: [], because: "it speaks bytes, not policy" },
  kernel: { values: ["abi", "std", "native"], node: "all", because: "it does not know what an endpoint is" },
  datapath: {
    values: ["kernel", "abi", "std"], types: ["network", "policy", "lb", "engine"], node: "all",
    because: "steps in, kernel calls out; it never reads engine state",
  },
  config: { values: ["std"], node: "all", packages: ["yaml"], because: "it turns a file into values and knows nobody who uses them" },
  doctor: { values: ["std"], node: "all", because: "it looks at a host that may have no agent, no addon and no right kernel" },
  store: {
    values: ["std"], types: ["network", "policy", "lb"], node: "all", packages: ["@grpc/grpc-js", "@bufbuild/protobuf"],
    because: "it remembers values and knows no kernel",
  },
  engine: {
    values: ["network", "policy", "lb", "yaml", "std"], types: ["store", "datapath"], node: "all",
    because: "it receives its doers and its store, and never imports native",
  },
  libnetwork: { values: door, types: doorTypes, node: "all", because: doorBecause },
  docker: { values: door, types: doorTypes, node: "all", packages: ["dockerode"], because: doorBecause },
  containerd: { values: door, types: doorTypes, node: "all", packages: ["@grpc/grpc-js", "@bufbuild/protobuf"], because: doorBecause },
  api: { values: door, types: doorTypes, node: "all", packages: ["@grpc/grpc-js", "@bufbuild/protobuf"], because: doorBecause },
  peers: { values: door, types: [...doorTypes, "store", "policy"], node: "all", because: doorBecause },
  health: { values: door, types: doorTypes, node: "all", because: doorBecause },
  compose: { values: "all", node: "all", because: "it is main in several files: builds everything and hands it around" },
  cli: {
    values: ["std", "policy", "api/client", "api/generated"], node: "all", packages: ["commander", "yaml", "@grpc/grpc-js", "@bufbuild/protobuf"],
    because: "it is a client of the API like any other",
  },
};

export interface Import {
  /** Below src/, `engine/queue.ts`. */
  readonly from: string;
  /** As written. */
  readonly specifier: string;
  readonly typeOnly: boolean;
}

/** One line per import under `source` that the house forbids; empty when all is well. */
export function forbiddenImports(source: string): readonly string[] {
  return globSync("**/*.ts", { cwd: source })
    .sort()
    .flatMap((file) => importsOf(file, readFileSync(join(source, file), "utf8")))
    .flatMap((one) => judge(one) ?? []);
}

/** Every static import and re-export of a file, and every import("…") with a plain text. */
export function importsOf(from: string, text: string): readonly Import[] {
  const code = text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "");
  const statements = code.matchAll(/^\s*(?:import|export)\s+(type\s+)?(?:([^"';]*?)\s+from\s+)?["']([^"']+)["']/gm);
  const calls = code.matchAll(/\bimport\(\s*["']([^"']+)["']\s*\)/g);
  return [
    ...[...statements].map((match) => ({ from, specifier: match[3] ?? "", typeOnly: match[1] !== undefined || onlyTypes(match[2]) })),
    ...[...calls].map((match) => ({ from, specifier: match[1] ?? "", typeOnly: false })),
  ];
}

/** `{ type A, type B }` brings no value either. */
function onlyTypes(clause: string | undefined): boolean {
  const names = /^\{(.*)\}$/s.exec(clause?.trim() ?? "")?.[1]?.split(",").map((name) => name.trim()).filter(Boolean);
  return names !== undefined && names.length > 0 && names.every((name) => name.startsWith("type "));
}

function judge(one: Import): string | undefined {
  const roomName = one.from.split("/")[0] ?? "";
  if (!one.from.includes("/")) {
    return one.from === "main.ts" ? undefined : `src/${one.from}: only main.ts lives outside a room`;
  }
  const room = rooms[roomName];
  const refuse = (what: string): string =>
    `src/${one.from} imports ${what}: ${room ? `${roomName} may not, because ${room.because}` : `the room ${roomName} is not in tools/check-imports.ts`}`;
  if (!room) return refuse(one.specifier);
  if (one.specifier.startsWith("node:")) {
    return room.node === "all" || one.typeOnly || room.node.includes(one.specifier) ? undefined : refuse(one.specifier);
  }
  if (!one.specifier.startsWith(".")) {
    const name = one.specifier.split("/").slice(0, one.specifier.startsWith("@") ? 2 : 1).join("/");
    return room.packages?.includes(name) ? undefined : refuse(one.specifier);
  }
  const target = normalize(join(dirname(one.from), one.specifier));
  if (target.startsWith(`${roomName}/`)) return undefined;
  if (room.values === "all") return undefined;
  const allowed = one.typeOnly ? [...room.values, ...(room.types ?? [])] : room.values;
  return allowed.some((entry) => target.startsWith(`${entry}/`) || target === `${entry}.ts`) ? undefined : refuse(target);
}

if (import.meta.main) {
  const source = join(import.meta.dirname, "../src");
  const found = forbiddenImports(source);
  for (const line of found) console.error(line);
  if (found.length > 0) {
    console.error(`${found.length} forbidden imports below ${relative(process.cwd(), source) || source}`);
    process.exitCode = 1;
  }
}
