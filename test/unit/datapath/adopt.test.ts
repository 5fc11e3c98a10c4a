// In which order a start does what the state claims.
import test from "ava";
import { inOrder } from "../../../src/datapath/adopt.ts";
import type { Step } from "../../../src/network/types.ts";

test("who is known is judged, nodes are known before their backends are written, and programs come last", (t) => {
  const kinds = ["attach", "services", "endpoint", "cluster", "network", "policy"] as const;
  const steps = kinds.map((kind) => ({ kind }) as Step);
  t.deepEqual(inOrder(steps).map(({ kind }) => kind), ["policy", "endpoint", "network", "cluster", "services", "attach"]);
});
