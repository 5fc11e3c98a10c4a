// Hawser on the kernels of Debian 12, each in a virtual machine of its own: one boot, one run of the inner suites, its verdict.
//
// Geneve, XDP on a virtio device, a plain server and a bare host on 6.1 always; with HAWSER_CLUSTER=full (test/cluster/all) every packet test and the lab's scenarios
// on 6.1 and 6.12, virtio devices in every way, and three hosts over Geneve, which not every kernel has.
import test from "ava";
import { readdirSync, readFileSync } from "node:fs";
import { root } from "../lab/names.ts";
import { run } from "../lab/run.ts";

const bareHost = "test/cluster/inside/bare-host.test.ts";
/** Which the kernel of a machine that runs CI may lack. */
const geneve = "test/packet/datapath/geneve.test.ts";
const virtio = "test/cluster/inside/virtio.test.ts";
const plainServer = "test/cluster/inside/plain-server.test.ts";
const virtioModes = "test/cluster/inside/virtio-modes.test.ts";
const scenarios = ["talk", "ports", "outside", "restart"].map((name) => `test/scenario/${name}.test.ts`);
/** Of several hosts; Debian's kernels have Geneve, too. */
const tunnels = ["overlay", "forged"].map((name) => `test/scenario/cluster-${name}.test.ts`);
const full = process.env["HAWSER_CLUSTER"] === "full";

/** Boots, runs the files there, and reads ava's verdict off the console. */
async function boot(kernel: string, files: readonly string[], encapsulation = "vxlan"): Promise<{ readonly code: number; readonly passed: number; readonly report: string }> {
  const { code, stdout, stderr } = await run([`${root}/test/cluster/vm`, kernel, ...files], {
    mayFail: true, timeoutMs: 0, env: { HAWSER_LAB_ENCAPSULATION: encapsulation },
  });
  const passed = Number(/^\s*(\d+) tests? passed/m.exec(stdout)?.[1] ?? 0);
  return { code, passed, report: `${stderr.slice(-2_000)}\n${stdout.slice(-8_000)}` };
}

/** How many tests a file declares in its own words. */
function declared(file: string): number {
  return readFileSync(`${root}/${file}`, "utf8").match(/^test(\.serial)?\(/gm)?.length ?? 0;
}

test.serial("Linux 6.1: Geneve carries between nodes, services are balanced by XDP on virtio, a plain server takes them out as documented, and a bare Debian 12 goes through quickstart; its containers, ports and world work", async (t) => {
  t.timeout(30 * 60_000);
  const { code, passed, report } = await boot("6.1", [geneve, virtio, plainServer, bareHost]);
  t.is(code, 0, report);
  // Two of the files make their tests of cases: one each.
  t.is(passed, 2 + declared(plainServer) + declared(bareHost), report);
});

if (full) {
  const packets = readdirSync(`${root}/test/packet`, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".test.ts")).map((name) => `test/packet/${name}`).toSorted();
  for (const [kernel, title, files, encapsulation] of [
    ["6.12", "a plain server and a bare host", [plainServer, bareHost]],
    ["6.1", "XDP on virtio devices", [virtio, virtioModes]],
    ["6.12", "XDP on virtio devices", [virtio, virtioModes]],
    ["6.1", "every packet test", packets],
    ["6.12", "every packet test", packets],
    ["6.1", "the lab's scenarios", scenarios],
    ["6.12", "the lab's scenarios", scenarios],
    ["6.1", "three hosts over VXLAN", tunnels, "vxlan"],
    ["6.1", "three hosts over Geneve", tunnels, "geneve"],
    ["6.12", "three hosts over Geneve", tunnels, "geneve"],
  ] as const) {
    test.serial(`Linux ${kernel}: ${title}`, async (t) => {
      t.timeout(45 * 60_000);
      const { code, passed, report } = await boot(kernel, files, encapsulation);
      t.is(code, 0, report);
      t.true(passed >= files.reduce((sum, file) => sum + declared(file), 0), report);
      t.log(`${passed} tests passed`);
    });
  }
}
