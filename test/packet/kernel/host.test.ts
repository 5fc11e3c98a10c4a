// What the running host says and is told: namespace cookie, TCX, bpffs, sd_notify.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { statfsSync } from "node:fs";
import { join } from "node:path";
import { createKernel } from "../../../src/kernel/index.ts";
import { isolatedTests, scratch, u32 } from "./isolated.ts";

const test = isolatedTests(import.meta.url);
const kernel = createKernel();

test("a namespace has one cookie", async () => {
  const cookie = kernel.netnsCookie();
  assert.ok(typeof cookie === "bigint" && cookie > 0n);
  assert.equal(kernel.netnsCookie(), cookie);
});

test("the probe for TCX answers without leaving anything attached", async () => {
  assert.equal(typeof kernel.probeTcx(), "boolean");
  assert.equal(kernel.probeTcx(), kernel.probeTcx());
});

test("bpffs is mounted where there is none, and left alone where there is one", async () => {
  const path = join(scratch(), "deep", "bpf");
  kernel.mountBpffs(path);
  assert.equal(statfsSync(path).type, 0xcafe4a11);
  using map = kernel.createMap("hash", "hwt_pin", 4, 4, 1);
  map.set(u32(1), u32(2));
  map.pin(join(path, "pin"));
  kernel.mountBpffs(path);
  kernel.openPinnedMap(join(path, "pin")).close();
  assert.throws(() => kernel.mountBpffs("/dev/null/nowhere"), { name: "KernelError", errno: 20, detail: "/dev/null/nowhere" });
});

test("R114: sd_notify reaches a path and an abstract socket, and says false without one", async () => {
  delete process.env["NOTIFY_SOCKET"];
  assert.equal(kernel.sdNotify("READY=1"), false);
  const folder = scratch();
  const listen = "import socket,sys\ns=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM)\na=sys.argv[1]\n"
    + "s.bind(chr(0)+a[1:] if a[0]=='@' else a)\nprint('bound',end='',flush=True)\nprint(s.recv(999).decode(),end='',flush=True)";
  for (const address of [join(folder, "notify"), `@hwt-kernel-${process.pid}`]) {
    const listener = spawn("/usr/bin/python3", ["-c", listen, address], { stdio: ["ignore", "pipe", "inherit"] });
    await once(listener.stdout, "data");
    process.env["NOTIFY_SOCKET"] = address;
    const heard = once(listener.stdout, "data");
    assert.equal(kernel.sdNotify("READY=1\nSTATUS=all is well"), true);
    assert.equal(String((await heard)[0]), "READY=1\nSTATUS=all is well");
    if (listener.exitCode === null) await once(listener, "exit");
  }
  process.env["NOTIFY_SOCKET"] = join(folder, "nobody");
  assert.throws(() => kernel.sdNotify("READY=1"), { errno: 2, syscall: "sendto(AF_UNIX)" });
});
