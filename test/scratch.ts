// A folder for what a test writes: gone when its process ends, also when the test fails, or what it tests writes until the end.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const folders: string[] = [];

export function scratchFolder(name: string): string {
  if (folders.length === 0) process.once("exit", () => folders.forEach((folder) => rmSync(folder, { recursive: true, force: true })));
  const folder = mkdtempSync(join(tmpdir(), `hawser-${name}-`));
  folders.push(folder);
  return folder;
}
