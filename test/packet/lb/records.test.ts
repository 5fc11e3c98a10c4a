// Two CPUs that record flows in one bucket: neither takes what the other has just been given, and of one flow both say the same.
import assert from "node:assert/strict";
import { u32 } from "../../../src/abi/codec.ts";
import { configCodec, LbFlowSeen, lbFlowsCodec } from "../../../src/abi/generated.ts";
import type { LbFlow } from "../../../src/abi/generated.ts";
import { jiffiesClock, ticksPerSecond } from "../../../src/datapath/kernel-facts.ts";
import { createKernel } from "../../../src/kernel/index.ts";
import { createLog } from "../../../src/std/log.ts";
import { isolatedTests, scratch } from "../kernel/isolated.ts";
import { compiled } from "./compiled.ts";

const test = isolatedTests(import.meta.url);
const hz = ticksPerSecond(createLog(() => {}, Date.now));
const places = 8;
/** Of the frontend 1 and hashes below 2^32. */
const bucketKey = u32.encode(0x79b1);

/** What each program returns on a bucket in which one place is left, and the records of backends 1 and 2 then; `left`: what is there. */
async function outcomes(left: () => LbFlow, ticks = hz): Promise<Readonly<Record<string, readonly number[]>>> {
  using object = await createKernel().loadObject(await compiled("records", scratch()), { rodata: { hw_config: Uint8Array.from(configOf(ticks)) } });
  const flows = object.maps.get("hw_lb_flows");
  assert.ok(flows);
  const found: Record<string, readonly number[]> = {};
  for (const [name, program] of object.programs) {
    const lives = { seen: ageOf(0) | LbFlowSeen.WENT_ON, tag: 77, backend: 9 };
    flows.set(bucketKey, lbFlowsCodec.encode({ flows: Array.from({ length: places }, (_, i) => (i === 3 ? left() : lives)) }));
    const { verdict } = program.testRun({ data: new Uint8Array(64) });
    const after = lbFlowsCodec.decode(flows.get(bucketKey) ?? new Uint8Array(lbFlowsCodec.size)).flows;
    found[name] = [verdict, ...after.map(({ backend }) => backend).filter((backend) => backend !== 9)];
  }
  return found;
}

const ageOf = (age: number): number => (Math.floor(jiffiesClock(hz)() / 1024) - age) & LbFlowSeen.AGES;

function configOf(ticks: number): Uint8Array {
  const config = new Uint8Array(configCodec.size);
  return configCodec.encode({ ...configCodec.decode(config), hz: ticks });
}

for (const [what, left] of Object.entries({
  "a free place": () => ({ seen: 0, tag: 0, backend: 0 }),
  "a place of a flow that is dead": () => ({ seen: ageOf(5000) | LbFlowSeen.WENT_ON, tag: 78, backend: 8 }),
  "a place of one that only began": () => ({ seen: ageOf(9), tag: 78, backend: 8 }),
})) {
  test(`two flows want ${what} at once: who comes second leaves it to the first, and two packets of one flow say the same`, async () => {
    assert.deepEqual(await outcomes(left), { chosen_other: [0, 2], chosen_same: [0x201, 1], looked_other: [0, 2], looked_same: [2, 2] });
  });
}

test("a flow that went on is dead when it has been silent for 70 minutes, and not a moment before", async () => {
  // 4200 of 1024 ticks, of which the first and the last need not have been whole.
  const silent = (age: number) => outcomes(() => ({ seen: ageOf(age) | LbFlowSeen.WENT_ON, tag: 78, backend: 8 }), 1024);
  assert.deepEqual((await silent(4199))["chosen_other"]?.map((one) => one | 0), [-1, 8]);
  assert.deepEqual((await silent(4203))["chosen_other"], [0, 2]);
});
