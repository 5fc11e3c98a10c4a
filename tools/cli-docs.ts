// Writes docs/cli.md from the command tree; `--check` only compares.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { referenceOf } from "../src/cli/reference.ts";

const path = join(import.meta.dirname, "../docs/cli.md");
const text = referenceOf();

if (!process.argv.includes("--check")) {
  writeFileSync(path, text);
} else if (text !== readOrEmpty()) {
  process.stderr.write("stale: docs/cli.md; run: npm run docs\n");
  process.exitCode = 1;
}

function readOrEmpty(): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
