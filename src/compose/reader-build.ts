// Which build reads services: an agent whose sources were replaced on disk must not ask a process that would be made of the new ones.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Exit status of a reader when whoever asks is of another build. */
export const otherBuild = 64;

const root = join(import.meta.dirname, "../..");
/** Whose sources say what is asked and answered, and how documents are read. */
const folders = ["src/lb", "src/yaml", "src/std"];
const files = ["src/compose/read-services.ts", "package.json", "package-lock.json"];

/** Of what is on disk now. */
export function readerBuild(): string {
  const hash = createHash("sha256");
  const sources = folders.flatMap((folder) => readdirSync(join(root, folder)).toSorted().map((file) => join(folder, file)));
  for (const file of [...sources, ...files]) hash.update(`${file}\n`).update(contentsOf(join(root, file)));
  return hash.digest("base64url");
}

/** What is not there is nothing: a package has no lock. */
function contentsOf(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch {
    return Buffer.alloc(0);
  }
}
