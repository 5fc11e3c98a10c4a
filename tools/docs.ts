// Writes docs/drops.md, docs/maps.md and docs/errors.md; with --check it only says which of them are stale.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pages } from "./docs/pages.ts";

/** The pages in `folder` that differ from what would be written. */
export function stalePages(folder: string): readonly string[] {
  return Object.entries(pages)
    .filter(([name, page]) => !existsSync(join(folder, name)) || readFileSync(join(folder, name), "utf8") !== page())
    .map(([name]) => name);
}

export function writePages(folder: string): void {
  for (const [name, page] of Object.entries(pages)) writeFileSync(join(folder, name), page());
}

if (import.meta.main) {
  const folder = join(import.meta.dirname, "../docs");
  if (process.argv.includes("--check")) {
    const stale = stalePages(folder);
    for (const name of stale) console.error(`docs/${name} is stale: run \`npm run docs\` and commit what it writes`);
    process.exitCode = stale.length > 0 ? 1 : 0;
  } else {
    writePages(folder);
  }
}
