// Which ports are kept for servers that are asked in this node's name, whatever the host keeps for its own sockets.
import test from "ava";
import { snatPorts, withSnatPorts } from "../../../src/datapath/snat-ports.ts";
import type { PortRange } from "../../../src/datapath/snat-ports.ts";

const rows: readonly (readonly [what: string, own: PortRange, first: number, ports: number, masqueraded: PortRange])[] = [
  ["Linux's defaults", { low: 32_768, high: 60_999 }, 16_384, 16_384, { low: 16_384, high: 60_999 }],
  ["a wide range leaves them half of the rest", { low: 10_240, high: 65_535 }, 5632, 4608, { low: 5632, high: 65_535 }],
  ["a range at the bottom: above it", { low: 1024, high: 20_000 }, 20_001, 16_384, { low: 1024, high: 36_384 }],
  ["a range that reaches below 1024", { low: 500, high: 900 }, 1024, 16_384, { low: 500, high: 17_407 }],
  ["more room above than below", { low: 4000, high: 30_000 }, 30_001, 16_384, { low: 4000, high: 46_384 }],
  ["nothing is left", { low: 1024, high: 65_535 }, 1024, 0, { low: 1024, high: 65_535 }],
  ["hardly anything is left", { low: 1032, high: 65_535 }, 1032, 0, { low: 1032, high: 65_535 }],
];
for (const [what, own, first, ports, masqueraded] of rows) {
  test(`ports for servers lie beside the host's own: ${what}`, (t) => {
    t.deepEqual(snatPorts(own), { first, ports });
    t.deepEqual(withSnatPorts(own, snatPorts(own)), masqueraded);
  });
}
