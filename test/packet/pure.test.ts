// The arithmetic that the programs share is right on this machine too.
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import test from "ava";

const run = promisify(execFile);
const root = join(import.meta.dirname, "../..");

test.serial("checksums by difference, source ports, clock, hash and small letters of bpf/lib/pure", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "hwt-pure-"));
  try {
    const program = join(folder, "pure");
    await run("gcc", ["-O2", "-Wall", "-Wextra", "-Werror", "-fsanitize=undefined", `-I${join(root, "bpf")}`, "-o", program, join(import.meta.dirname, "pure.c")]);
    t.is((await run(program)).stderr, "");
  } finally {
    rmSync(folder, { recursive: true });
  }
});
