// What `hawser status` makes of what the datapath says of itself.
import test from "ava";
import { statusOf } from "../../../src/engine/status.ts";
import { emptyState } from "../../../src/network/types.ts";

test("what is well and could be faster is told beside what is attached, and is no problem", (t) => {
  const told = (problems: readonly string[], remarks: readonly string[]): readonly unknown[] => {
    const kernel = { release: "6.1.0", features: {}, programs: [], uplinks: ["eth0"], problems, remarks };
    const { parts: [datapath], problems: wrong } = statusOf({ node: "a", version: "1", started: true, startedAt: 0, state: emptyState, kernel, counters: [], parts: [], nodes: [] });
    return [datapath?.state, datapath?.detail, wrong];
  };
  t.deepEqual(told([], ["uplink eth0: slow"]), ["ok", "0 programs attached; uplink eth0: slow", []]);
  t.deepEqual(told(["wan0 is gone"], ["uplink eth0: slow"]), ["degraded", "wan0 is gone", ["wan0 is gone"]]);
});
