// Writes docs/configuration.md from the configuration's schema; with --check, fails when the page is stale.
import { readFileSync, writeFileSync } from "node:fs";
import { reference } from "../src/config/reference.ts";

const page = new URL("../docs/configuration.md", import.meta.url);
const fresh = reference();
if (!process.argv.includes("--check")) {
  writeFileSync(page, fresh);
} else if (readFileSync(page, "utf8") !== fresh) {
  process.stderr.write("docs/configuration.md is stale; run: node tools/config-docs.ts\n");
  process.exitCode = 1;
}
