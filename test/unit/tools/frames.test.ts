// The frames of compiled functions, added along their calls as the kernel does.
import test from "ava";
import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { findings, functionsOf, worst } from "../../../tools/check-frames.ts";
import { scratchFolder } from "../../scratch.ts";

/** A program with a frame of that many bytes calls a global function, which calls a static one in its own section. */
const chain = (bytes: number): string => `
#define KEEP(n) char room[n]; asm volatile("" : : "r"(room) : "memory")
static __attribute__((noinline)) int third(int x) { KEEP(40); return room[0] + x; }
__attribute__((noinline)) int second(int x) { KEEP(40); return third(x) + room[0]; }
static __attribute__((noinline)) int last(int x) { return x * 3; }
__attribute__((section("tc"))) int first(int *x) { KEEP(${bytes}); return second(*x) + last(*x) + room[0]; }`;

function compiled(source: string): ReturnType<typeof functionsOf> {
  const folder = scratchFolder("frames");
  try {
    const object = join(folder, "x.bpf.o");
    execFileSync("clang-16", ["-O2", "-target", "bpf", "-mcpu=v3", "-x", "c", "-c", "-", "-o", object], { input: source });
    return functionsOf(execFileSync("llvm-objdump-16", ["-d", "-r", object], { encoding: "utf8" }));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("each frame is rounded up to 32 bytes, one at least, and calls are found within a section and across", (t) => {
  const functions = compiled(chain(100));
  t.deepEqual(functions.map(({ name, frame }) => [name, frame]).toSorted(), [["first", 128], ["last", 32], ["second", 64], ["third", 64]]);
  t.deepEqual(worst(functions).deepest, { functions: ["first", "second", "third"], bytes: 256 });
});

test("512 bytes fit, and one frame more is told with the chain", (t) => {
  t.deepEqual(findings("x", compiled(chain(384))), []);
  t.deepEqual(findings("x", compiled(chain(385))), ["x: 544 bytes of stack, and 512 are granted: first 416 ▸ second 64 ▸ third 64"]);
});

test("what is reached from r10 counts, and so does what is reached by a copy of it", (t) => {
  const direct = compiled("int f(int x) { asm volatile(\"*(u64 *)(r10 - 72) = r1\" : : : \"memory\"); return x; }");
  t.like(direct[0], { name: "f", frame: 96 });
  const copied = compiled("int f(int x) { asm volatile(\"r2 = r10; r2 += -72; *(u64 *)(r2 + 8) = r1\" : : : \"r2\", \"memory\"); return x; }");
  t.like(copied[0], { name: "f", frame: 96 });
});

test("eight frames fit, and nine do not", (t) => {
  const calls = (count: number): string => Array.from({ length: count }, (_, i) =>
    `__attribute__((noinline)) int f${i}(int x) { return ${i === 0 ? "x * 3" : `f${i - 1}(x) + 1`}; }`).join("\n");
  t.deepEqual(findings("x", compiled(calls(8))), []);
  t.regex(findings("x", compiled(calls(9))).join(), /^x: 9 frames, and 8 are granted: f8 32 ▸ f7 32 /);
});

test("a function that is called back counts as called by who hands it on", (t) => {
  const source = "static long again(int i, void *x) { volatile char y[300]; y[i & 255] = 1; return y[0]; } int f(int x) { volatile char z[300]; z[x & 255] = 1; return ((long (*)(int, void *, void *, long))181)(3, again, 0, 0) + z[0]; }";
  t.regex(findings("x", compiled(source)).join(), /^x: 640 bytes of stack, and 512 are granted: f 320 ▸ again 320/);
});
