// Loads what an agent loads, so that Node's compile cache has it; bin/hawser runs this when the sources are newer than the cache.
import { flushCompileCache } from "node:module";
import { openDocker } from "../docker/client.ts";

// main.ts runs a command line when it is loaded; this is its cheapest.
process.argv.splice(2, process.argv.length, "--version");
// Nobody answers there; but the client's library is loaded by the first call.
const asked = openDocker("/dev/null").version().catch(() => undefined);
await Promise.all([import("./agent.ts"), import("./process.ts"), import("../config/load.ts"), import("../main.ts"), asked]);
flushCompileCache();
