// The first packet of a container's life is judged by its labels, however busy the machine is.
//
//   a: 80 × evil (shop) ──▶ db (shop), outside
//
// HAWSER_STARTS is how many there are: R1 asks for 1000.
import test from "ava";
import { expectDrops, some } from "../lab/drops.ts";
import { image } from "../lab/image.ts";
import { counter, policyScene } from "../lab/policy.ts";
import { patience } from "../lab/run.ts";

const stage = policyScene(test);

const starts = Number(process.env["HAWSER_STARTS"] ?? 80);
const lanes = 4;

async function inParallel(count: number, work: (index: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

test.serial(`of ${starts} containers whose first instruction is a denied connect not one packet gets out, with every processor busy (R1)`, async (t) => {
  const { host, world: { outside, router } } = stage;
  t.timeout(Math.max(600_000, starts * 1500) * patience);
  await host.network("shop", "--subnet", "10.66.0.0/22");
  await host.container("db", ["--network", "shop", "--ip", "10.66.0.9"]);
  const db = await host.inside("db");
  await using _db = await db.serve({ tcp: [7000] });
  await using _world = await outside.serve({ tcp: [7000] });
  // Without its labels such a container would be one that no rule denies; so they must be known before its first packet.
  await stage.apply("policy: shop\nfor: { network: shop }\ndeny:\n  - label(role=evil) -> any\n");
  await using atDb = await counter(db, "tcp dport 7000");
  await using onTheWay = await counter(router, "tcp dport 7000");
  await using atWorld = await counter(outside, "tcp dport 7000");
  const before = await host.drops();
  const busy = host.start(["timeout", String(Math.max(200, starts)), "sh", "-c", "for i in $(seq $(nproc)); do (while :; do :; done) & done; wait"]);
  const outputs: string[] = [];
  try {
    await inParallel(starts, async (index) => {
      const target = index % 2 === 0 ? db.ipv4 : outside.ipv4;
      const { code, stdout, stderr } = await host.dockerOutput(["run", "--rm", "--network", "shop", "--label", "role=evil", image, "nc", "-w", "1", target, "7000"], { timeoutMs: 60_000 });
      outputs.push(`${code} ${stdout}${stderr}`.trim());
    });
  } finally {
    await busy.stop();
  }
  t.is(outputs.length, starts);
  t.deepEqual(outputs.filter((text) => !/^1 nc: .*timed out/.test(text)), [], "each ran, tried and waited in vain");
  t.is(await atDb.packets(), 0);
  t.is(await onTheWay.packets(), 0);
  t.is(await atWorld.packets(), 0);
  await expectDrops(host, before, { POLICY_DENIED: some });
  t.true(((await host.drops())["POLICY_DENIED"] ?? 0) - (before["POLICY_DENIED"] ?? 0) >= starts, "each was counted");
  t.is((await host.dockerOutput(["run", "--rm", "--network", "shop", image, "nc", "-w", "2", db.ipv4, "7000"])).code, 0, "one without the label connects");
});
