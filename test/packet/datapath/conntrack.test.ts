// Flows are forgotten by address and by port, swept when expired, and left alone when an agent comes back.
import assert from "node:assert/strict";
import { CtFlags, maps } from "../../../src/abi/generated.ts";
import type { Ct4Key } from "../../../src/abi/generated.ts";
import { jiffiesClock, ticksPerSecond } from "../../../src/datapath/kernel-facts.ts";
import { mapPath } from "../../../src/datapath/pins.ts";
import { ip4ToNumber, parseIp } from "../../../src/std/ip.ts";
import { createLog } from "../../../src/std/log.ts";
import { inOwnHost } from "./namespace.ts";
import type { World } from "./namespace.ts";
import { doAll } from "./perform.ts";
import { cableA, endpointA, port } from "./plans.ts";

const hz = ticksPerSecond(createLog(() => {}, Date.now));
const jiffies = jiffiesClock(hz);

await inOwnHost(import.meta.url, {
  "withdrawing a port forgets the flows through it, both ways, and no other": async ({ open, kernel, bpffs }) => {
    await using datapath = await open();
    await datapath.doers.port.do({ kind: "port", port });
    write({ kernel, bpffs }, "203.0.113.9:4000>192.0.2.10:8080", "203.0.113.9:4000>10.44.0.2:80");
    write({ kernel, bpffs }, "10.44.0.2:80>203.0.113.9:4000", "192.0.2.10:8080>203.0.113.9:4000");
    write({ kernel, bpffs }, "10.44.0.3:5000>10.44.0.2:80", "10.44.0.3:5000>10.44.0.2:80");
    write({ kernel, bpffs }, "10.44.0.2:80>10.44.0.3:5000", "10.44.0.2:80>10.44.0.3:5000");
    await datapath.doers.port.undo({ kind: "port", port });
    assert.deepEqual(flows({ kernel, bpffs }), ["10.44.0.2:80>10.44.0.3:5000", "10.44.0.3:5000>10.44.0.2:80"]);
  },

  "an address that changes hands brings no old flow along (R58), and an endpoint that stands keeps its own (R11)": async ({ open, kernel, bpffs }) => {
    await using datapath = await open();
    write({ kernel, bpffs }, "10.44.0.2:5000>198.51.100.1:443", "192.0.2.10:30000>198.51.100.1:443");
    write({ kernel, bpffs }, "198.51.100.1:443>192.0.2.10:30000", "198.51.100.1:443>10.44.0.2:5000");
    write({ kernel, bpffs }, "10.44.0.9:5000>198.51.100.1:443", "192.0.2.10:30001>198.51.100.1:443");
    await doAll(datapath.doers, [{ kind: "cable", cable: cableA }, { kind: "endpoint", endpoint: endpointA }]);
    assert.deepEqual(flows({ kernel, bpffs }), ["10.44.0.9:5000>198.51.100.1:443"]);

    write({ kernel, bpffs }, "10.44.0.2:5001>198.51.100.1:443", "192.0.2.10:30002>198.51.100.1:443");
    await datapath.doers.endpoint.do({ kind: "endpoint", endpoint: endpointA });
    await datapath.adopt([{ kind: "cable", cable: cableA }, { kind: "attach", cable: cableA }, { kind: "endpoint", endpoint: endpointA }]);
    assert.equal(flows({ kernel, bpffs }).length, 2);
    await datapath.doers.removeEndpoint.do({ kind: "removeEndpoint", endpoint: endpointA });
    assert.deepEqual(flows({ kernel, bpffs }), ["10.44.0.9:5000>198.51.100.1:443"]);
  },

  "the sweep takes expired entries only, a budget at a time, and comes round": async ({ open, kernel, bpffs }) => {
    await using datapath = await open();
    for (let i = 0; i < 1500; i++) {
      write({ kernel, bpffs }, `10.44.0.2:${2000 + i}>198.51.100.1:443`, `10.44.0.2:${2000 + i}>198.51.100.1:443`, i % 3 === 0 ? 60 : -60);
    }
    const first = datapath.gc(700);
    assert.deepEqual([first.scanned, first.finished], [700, false]);
    let deleted = first.deleted;
    for (let round = datapath.gc(700); ; round = datapath.gc(700)) {
      deleted += round.deleted;
      if (round.finished) break;
    }
    assert.equal(deleted, 1000);
    assert.equal(flows({ kernel, bpffs }).length, 500);
    assert.equal(datapath.gc(1000).deleted, 0);
  },
});

type Pins = Pick<World, "kernel" | "bpffs">;

function write({ kernel, bpffs }: Pins, key: string, to: string, secondsLeft = 60): void {
  using map = kernel.openPinnedMap(mapPath(bpffs, "hw_ct4"));
  const expires = (jiffies() + secondsLeft * hz + 2 ** 32) % 2 ** 32;
  const { value: codec } = maps.hw_ct4;
  const value = { ...codec.decode(new Uint8Array(codec.size)), to: tuple(to), expires, flags: key === to ? CtFlags.SEEN : CtFlags.SEEN | CtFlags.NAT, network: 1 };
  map.set(maps.hw_ct4.key.encode(tuple(key)), codec.encode(value));
}

function flows({ kernel, bpffs }: Pins): string[] {
  using map = kernel.openPinnedMap(mapPath(bpffs, "hw_ct4"));
  return [...map.entries()].map(([key]) => shown(maps.hw_ct4.key.decode(key))).toSorted();
}

function tuple(text: string): Ct4Key {
  const [, saddr = "", sport, daddr = "", dport] = /^(.*):(\d+)>(.*):(\d+)$/.exec(text) ?? [];
  return { saddr: ip4ToNumber(parseIp(saddr)), sport: Number(sport), daddr: ip4ToNumber(parseIp(daddr)), dport: Number(dport), proto: 6, node: 0 };
}

function shown(key: Ct4Key): string {
  const dotted = (value: number): string => [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join(".");
  return `${dotted(key.saddr)}:${key.sport}>${dotted(key.daddr)}:${key.dport}`;
}
