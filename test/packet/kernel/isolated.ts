// Tests that touch the kernel: each runs in a process, a network namespace and a mount namespace of its own, gone when it ends.
import { execFile } from "node:child_process";
import { mkdirSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { createKernel } from "../../../src/kernel/index.ts";
import { scratchFolder } from "../../scratch.ts";
import { patience } from "../../lab/run.ts";

const run = promisify(execFile);
const chosen = process.env["HAWSER_ISOLATED"];
// Inside the namespaces the file is a plain script: ava may not be imported there.
const ava = chosen === undefined ? (await import("ava")).default : undefined;

/** Declares tests of the file `url`; a body asserts by throwing and must leave nothing that keeps its process alive. */
export function isolatedTests(url: string): (title: string, body: () => Promise<void>) => void {
  return (title, body) => {
    if (title === chosen) {
      void inside(body);
      return;
    }
    ava?.serial(title, async (t) => {
      const command = ["--net", "--mount", "--propagation", "private", "--", process.execPath, fileURLToPath(url)];
      const folder = scratchFolder("kernel");
      try {
        await run("unshare", command, { env: { ...process.env, HAWSER_ISOLATED: title, HAWSER_SCRATCH: folder }, timeout: 30_000 * patience });
        t.pass();
      } catch (error) {
        const { stderr, message, killed } = error as Error & { stderr?: string; killed?: boolean };
        t.fail(killed ? `it did not end in time: a handle keeps the process alive\n${stderr ?? ""}` : stderr || message);
      } finally {
        rmSync(folder, { recursive: true }); // what was mounted in it went with the mount namespace
      }
    });
  };
}

async function inside(body: () => Promise<void>): Promise<void> {
  try {
    await body();
  } catch (error) {
    console.error(error);
    process.exitCode = 1;
  }
}

/** The compiled object of NAME.bpf.c beside this file. */
export async function objectOf(name: string): Promise<string> {
  const source = fileURLToPath(new URL(`${name}.bpf.c`, import.meta.url));
  const folder = fileURLToPath(new URL("../../../build/test/kernel", import.meta.url));
  const object = join(folder, `${name}.bpf.o`);
  const built = statSync(object, { throwIfNoEntry: false });
  if (built && built.mtimeMs > statSync(source).mtimeMs) return object;
  mkdirSync(folder, { recursive: true });
  const { stdout: multiarch } = await run("gcc", ["-print-multiarch"]);
  const flags = ["-g", "-O2", "-target", "bpf", "-mcpu=v3", "-Wall", "-Wextra", "-Werror", `-I/usr/include/${multiarch.trim()}`];
  const made = `${object}.${process.pid}`;
  await run("clang-16", [...flags, "-c", source, "-o", made]);
  await run("llvm-strip-16", ["-g", made]);
  renameSync(made, object);
  return object;
}

/** A folder of the test's own, removed after it. */
export function scratch(): string {
  return process.env["HAWSER_SCRATCH"] ?? "";
}

/** A bpffs that nobody outside this process's mount namespace sees, gone with it. */
export function privateBpffs(): string {
  const path = join(scratch(), "bpf");
  createKernel().mountBpffs(path);
  return path;
}

/** Waits until a fact holds. */
export async function until(what: string | (() => string), holds: () => boolean | Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 5000 * patience; Date.now() < end; ) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error(`never came true: ${typeof what === "string" ? what : what()}`);
}

export function u32(value: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(value).buffer);
}

export function u64(value: number): Uint8Array {
  return new Uint8Array(BigUint64Array.of(BigInt(value)).buffer);
}

export function numberOf(bytes: Uint8Array | undefined): number {
  if (!bytes) return 0;
  const view = Buffer.from(bytes);
  return view.length === 8 ? Number(view.readBigUInt64LE()) : view.readUInt32LE();
}
