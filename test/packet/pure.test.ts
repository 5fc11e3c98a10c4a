// The arithmetic that the programs share is right on this machine too.
import { execFile } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import test from "ava";
import { scratchFolder } from "../scratch.ts";

const run = promisify(execFile);
const root = join(import.meta.dirname, "../..");

test.serial("checksums by difference, source ports, clock, hash and small letters of bpf/lib/pure", async (t) => {
  const folder = scratchFolder("pure");
  try {
    const program = join(folder, "pure");
    await run("gcc", ["-O2", "-Wall", "-Wextra", "-Werror", "-fsanitize=undefined", `-I${join(root, "bpf")}`, "-o", program, join(import.meta.dirname, "pure.c")]);
    t.is((await run(program)).stderr, "");
  } finally {
    rmSync(folder, { recursive: true });
  }
});
