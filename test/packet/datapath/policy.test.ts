// Policy carried by the datapath's steps: what it says holds at the next packet, without the agent too.
//
//   ns a: eth0 10.44.0.2, identity 100 ── hwaaaaaaaaaaa ┐
//   ns b: eth0 10.44.0.3, identity 200 ── hwbbbbbbbbbbb ┴─ hwhost .1
import assert from "node:assert/strict";
import type { Datapath, PacketEvent } from "../../../src/datapath/types.ts";
import type { Step } from "../../../src/network/types.ts";
import type { PolicyTables, Rule } from "../../../src/policy/types.ts";
import { inOwnHost } from "./namespace.ts";
import type { World } from "./namespace.ts";
import { doAll } from "./perform.ts";
import { cableA, cableB, desired, endpointA, endpointB, noPolicy } from "./plans.ts";
import { ping, plug, prepare } from "./plug.ts";

const free = { denyIn: false, denyOut: false, covered: false };
const open: PolicyTables = { ...noPolicy, classes: new Map([[100, { ...free, class: 1 }], [200, { ...free, class: 2 }]]) };
const rule: Rule = {
  policy: "shop", action: "deny", place: { file: "shop.yaml", line: 3, column: 5 }, text: "a to b", from: [], to: [], ports: [], ends: "both",
};
const closed: PolicyTables = {
  ...open,
  pairs: new Map([["out 1 2", 1]]),
  ports: new Map([["1 * 0/0", { ruleset: 1, protocol: null, port: 0, bits: 0, verdict: "deny", wide: true, rule: 1 }]]),
  rules: [rule],
};

const identified: readonly Step[] = desired.map((step) =>
  step.kind === "endpoint" ? { ...step, endpoint: { ...step.endpoint, identity: step.endpoint.hostInterface === cableA.hostInterface ? 100 : 200 } } : step);

function under(tables: PolicyTables): readonly Step[] {
  return identified.map((step) => (step.kind === "policy" ? { ...step, tables } : step));
}

async function connected(world: World, datapath: Datapath, tables: PolicyTables): Promise<void> {
  prepare(world);
  await doAll(datapath.doers, under(tables));
  plug(world, "a", cableA.containerInterface, 2);
  plug(world, "b", cableB.containerInterface, 3);
}

await inOwnHost(import.meta.url, {
  "a denial holds from the next packet on, is told with its rule, and goes with undo": async (world) => {
    await using datapath = await world.open();
    await connected(world, datapath, open);
    ping("a", "10.44.0.3");
    const deny = { kind: "policy", tables: closed, before: open } as const;
    await datapath.doers.policy.do(deny);
    const { revision } = datapath.policy();
    const told: PacketEvent[] = [];
    using _tap = datapath.rawEvents((record) => void told.push(datapath.decodeEvent(record)));
    assert.throws(() => ping("a", "10.44.0.3"));
    await world.until("the drop is told", () => told.some((event) => event.reason === "policy-denied"));
    const event = told.find((one) => one.reason === "policy-denied");
    assert.deepEqual(
      [event?.verdict, event?.source, event?.destination, event?.sourceIdentity, event?.destinationIdentity, event?.end, event?.rule, event?.revision],
      ["dropped", "10.44.0.2", "10.44.0.3", 100, 200, "out", 1, revision],
    );
    assert.equal(datapath.policy().rulesOf(event?.revision ?? 0)?.[(event?.rule ?? 0) - 1], rule);
    assert.equal(datapath.deviceName(event?.ifindex ?? 0), cableA.hostInterface);
    await datapath.doers.policy.undo(deny);
    ping("a", "10.44.0.3");
    assert.ok(told.some((one) => one.verdict === "forwarded" && one.reason === "forwarded"));
    await datapath.doers.policy.undo({ ...deny, before: null });
    assert.equal(datapath.policy().tables, open);
  },

  "without an agent, and while the next one starts, the policy of the last is kept (R11)": async (world) => {
    {
      await using datapath = await world.open();
      await connected(world, datapath, closed);
      assert.throws(() => ping("a", "10.44.0.3"));
    }
    assert.throws(() => ping("a", "10.44.0.3"));
    await using datapath = await world.open();
    assert.deepEqual([datapath.policy().tables, datapath.policy().rulesOf(datapath.policy().revision)], [null, undefined]);
    assert.throws(() => ping("a", "10.44.0.3"));
    const { revision } = datapath.policy();
    assert.deepEqual((await datapath.adopt(under(closed))).failed, []);
    assert.deepEqual([datapath.policy().revision, datapath.policy().tables], [revision + 1, closed]);
    assert.throws(() => ping("a", "10.44.0.3"));
    assert.deepEqual((await datapath.adopt(under(open))).failed, []);
    ping("a", "10.44.0.3");
  },

  "whoever gets another identity is judged again, and who is new disturbs nobody (R56)": async (world) => {
    await using datapath = await world.open();
    await connected(world, datapath, closed);
    const before = { ...endpointA, identity: 100 };
    const { revision } = datapath.policy();
    const step = { kind: "endpoint", endpoint: { ...endpointA, identity: 200 }, before } as const;
    await datapath.doers.endpoint.do(step);
    assert.equal(datapath.policy().revision, revision + 2);
    ping("a", "10.44.0.3");
    await datapath.doers.endpoint.undo(step);
    assert.equal(datapath.policy().revision, revision + 4);
    assert.throws(() => ping("a", "10.44.0.3"));
    const other = { kind: "endpoint", endpoint: { ...endpointB, identity: 200 } } as const;
    await datapath.doers.endpoint.do(other);
    await datapath.doers.endpoint.undo(other);
    await datapath.doers.endpoint.do(other);
    assert.equal(datapath.policy().revision, revision + 4);
  },

  "policy's tables are listed and dumped as they are in force": async ({ open: start }) => {
    await using datapath = await start();
    assert.deepEqual(datapath.dumpMap("hw_policy_pairs", 10), []);
    await datapath.doers.policy.do({ kind: "policy", tables: closed, before: null });
    assert.deepEqual(datapath.dumpMap("hw_policy_pairs", 10), [{ key: { subject: 1, peer: 2, direction: 0 }, value: 1 }]);
    const row = (await datapath.maps()).find(({ name }) => name === "hw_policy_pairs");
    assert.deepEqual(row, { name: "hw_policy_pairs", type: "array_of_maps", keySize: 12, valueSize: 4, capacity: 64, entries: 1 });
  },
});
