// A container that may connect may do so with its first instruction: nothing of it is dropped while it starts.
// Runs alone: it measures how long first connections take.
//
//   a: 80 × client (shop) ──▶ db (shop)
//
// HAWSER_STARTS is how many there are: R4 asks for 1000.
import test from "ava";
import { expectDrops } from "../lab/drops.ts";
import { image } from "../lab/image.ts";
import { policyScene } from "../lab/policy.ts";
import { patience } from "../lab/run.ts";

const stage = policyScene(test);

const starts = Number(process.env["HAWSER_STARTS"] ?? 80);
const lanes = 4;

test.serial(`${starts} containers whose first instruction is an allowed connect get through at once, without a drop or a retransmission (R4)`, async (t) => {
  const { host } = stage;
  t.timeout(Math.max(600_000, starts * 1500) * patience);
  await host.network("shop", "--subnet", "10.66.0.0/22");
  await host.container("db", ["--network", "shop", "--ip", "10.66.0.9"]);
  const db = await host.inside("db");
  await using _db = await db.serve({ tcp: [7000] });
  // By a label, by a Compose service, by a name that comes and goes.
  await stage.apply(`
policy: shop
for: { network: shop }
default: { in: deny, out: deny }
allow:
  - label(role=client) -> db:7000
  - worker -> db:7000
  - named0, named1, named2, named3 -> db:7000
`);
  const before = await host.drops();
  const milliseconds: number[] = [];
  const wrong: string[] = [];
  let next = 0;
  const lane = async (_: unknown, number: number): Promise<void> => {
    while (next < starts) {
      const index = next++;
      const who = [["--label", "role=client"], ["--label", "com.docker.compose.service=worker"], ["--name", `named${number}`]][index % 3] ?? [];
      // `nc` is the first that runs, after the shell that counts what it sent twice.
      const script = `time nc -w 5 ${db.ipv4} 7000 < /dev/null; cat /proc/net/snmp`;
      const { stdout, stderr } = await host.dockerOutput(["run", "--rm", "--network", "shop", ...who, image, "sh", "-c", script], { timeoutMs: 60_000 });
      const retransmits = /^Tcp: (?:-?\d+ ){11}(\d+)/m.exec(stdout)?.[1];
      const [, minutes = "", seconds = ""] = /real\s+(\d+)m\s*([\d.]+)s/.exec(stderr) ?? [];
      milliseconds.push((Number(minutes) * 60 + Number(seconds)) * 1000);
      if (!stdout.startsWith("who ") || retransmits !== "0") wrong.push(`${who.join(" ")}: ${retransmits} retransmissions; ${stdout.slice(0, 80)} ${stderr}`);
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  t.deepEqual(wrong, []);
  t.is(milliseconds.length, starts);
  const slowest = Math.max(...milliseconds);
  t.log(`slowest: ${slowest} ms`);
  t.true(slowest < 900 * patience, `the slowest took ${slowest} ms; a lost SYN is sent again after 1000`);
  await expectDrops(host, before, {});
});
