// Programs of tests that include the balancer's own.
import { execFile } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../../..", import.meta.url));

/** The object of `NAME.bpf.c` beside this file, made in the folder. */
export async function compiled(name: string, folder: string): Promise<string> {
  const object = join(folder, `${name}.bpf.o`);
  const { stdout: multiarch } = await run("gcc", ["-print-multiarch"]);
  const flags = ["-g", "-O2", "-target", "bpf", "-mcpu=v3", "-Wall", "-Wextra", "-Werror", `-I${join(root, "bpf")}`, `-I/usr/include/${multiarch.trim()}`];
  await run("clang-16", [...flags, "-c", join(import.meta.dirname, `${name}.bpf.c`), "-o", object]);
  return object;
}
