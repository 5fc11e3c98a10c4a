// Loads every source, so that Node's compile cache has also what an agent loads late; bin/hawser runs this when a source is newer than the cache.
import { readdirSync } from "node:fs";
import { flushCompileCache } from "node:module";
import { join } from "node:path";
import { openDocker } from "../docker/client.ts";

const root = join(import.meta.dirname, "..");
const later = new Set([import.meta.filename, join(root, "main.ts")]);
const sources = readdirSync(root, { recursive: true, encoding: "utf8" }).map((file) => join(root, file)).filter((file) => file.endsWith(".ts") && !later.has(file));
// Nobody answers there; but the client's library is loaded by the first call.
const asked = openDocker("/dev/null").version().catch(() => undefined);
// A source that does not load here says so where it is used.
await Promise.all([...sources.map((file) => import(file).catch(() => undefined)), asked]);
flushCompileCache();
// main.ts runs a command line when it is loaded and then ends the process, so it comes last; this is its cheapest.
process.argv.splice(2, process.argv.length, "--version");
await import("../main.ts");
