// Refusals of the kernel as errors that say what, where and why.
import test from "ava";
import { asKernelError, kernelCall, KernelError, refusedWith } from "../../../src/kernel/errors.ts";

test("a refusal names the call, the errno and the kernel's words, and keeps them apart", (t) => {
  const error = new KernelError(22, "bpf_object__load", "R1 invalid mem access");
  t.is(error.message, "bpf_object__load: EINVAL (invalid argument): R1 invalid mem access");
  t.is(error.code, "KERNEL");
  t.like(error, { errno: 22, syscall: "bpf_object__load", detail: "R1 invalid mem access" });
});

test("of a log that is too long the end is kept, where the verifier says what is wrong", (t) => {
  const error = new KernelError(13, "bpf_object__load", `${"x".repeat(100_000)} invalid access to packet`);
  t.true(error.detail.endsWith("invalid access to packet"));
  t.true(error.detail.length < 70_000);
});

test("an errno that libuv does not know is shown as its number", (t) => {
  t.is(new KernelError(524, "bpf_tc_attach", "").message, "bpf_tc_attach: errno 524");
});

test("errors with errno and syscall become KernelError, others stay what they are", (t) => {
  const thrown = (error: unknown): unknown => t.throws(() => kernelCall(() => {
    throw error;
  }), { any: true });
  const native = Object.assign(new Error("x"), { errno: 2, syscall: "BPF_OBJ_GET", detail: "/pin" });
  t.true(refusedWith(thrown(native), 2, 3));
  t.false(refusedWith(thrown(native), 17));
  t.is((thrown(native) as Error).cause, native);
  const node = Object.assign(new Error("x"), { errno: -13, syscall: "mkdir", path: "/pin" });
  t.like(thrown(node), { errno: 13, detail: "/pin" });
  const wrong = new TypeError("flags must be a number");
  t.is(thrown(wrong), wrong);
  t.is(asKernelError("text"), "text");
});
