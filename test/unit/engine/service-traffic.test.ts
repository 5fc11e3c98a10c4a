// Whose packets and flows a reading of the datapath is.
import test from "ava";
import type { TrafficReading } from "../../../src/datapath/types.ts";
import { serviceTraffic } from "../../../src/engine/service-traffic.ts";
import type { BackendPlan, ServicePlan } from "../../../src/lb/types.ts";
import type { Ip } from "../../../src/std/ip.ts";

const backend = (number: number, identity: string, address: string): BackendPlan =>
  ({ number, identity, address: address as Ip, port: 8080, node: null, way: "container", weight: 1, state: "active", takes: true });
const plan = (name: string, number: number, backends: readonly BackendPlan[]): ServicePlan => ({
  name, family: 4, number, frontends: [], affinity: null, sources: { allow: null, deny: [] }, open: true, backends, slots: { size: 0, words: new Uint32Array(), between: new Map() },
});
const [here, here6, far] = [backend(1, "n1/shop/a:8080", "10.44.0.2"), backend(2, "n1/shop/a:8080", "fd44::2"), backend(3, "n2/shop/b:8080", "10.44.1.2")];
const reading: TrafficReading = {
  sent: new Map([
    [1, { packets: 10n, bytes: 1000n, begun: 4n, ended: 0n, tracked: true }], [2, { packets: 1n, bytes: 100n, begun: 1n, ended: 0n, tracked: true }],
    [3, { packets: 7n, bytes: 700n, begun: 6n, ended: 4n, tracked: false }],
  ]),
  tracked: [
    { service: 1, address: "10.44.0.2" as Ip, port: 8080, flows: 3 }, { service: 2, address: "fd44::2" as Ip, port: 8080, flows: 1 }, { service: 3, address: "10.44.0.2" as Ip, port: 8080, flows: 2 },
    { service: 1, address: "10.44.1.2" as Ip, port: 8080, flows: 1 },
  ],
};

test("a container here has the flows that conntrack knows, one elsewhere what began there and has not ended, with those that began here", (t) => {
  const { flows, backends } = serviceTraffic([plan("web", 1, [here, far]), plan("web", 2, [here6])], reading);
  t.deepEqual([...flows], [["web", 3 + 1 + 2 + 1]]);
  t.deepEqual(backends, [
    { services: ["web"], backend: "n1/shop/a:8080", packets: 11n, bytes: 1100n, begun: 5n, flows: 4 }, { services: ["web"], backend: "n2/shop/b:8080", packets: 7n, bytes: 700n, begun: 6n, flows: 3 },
  ]);
});

test("a backend that two services have is counted once, under both names", (t) => {
  const { flows, backends } = serviceTraffic([plan("web", 1, [here]), plan("api", 3, [here])], reading);
  t.deepEqual([...flows], [["web", 3], ["api", 2]]);
  t.deepEqual(backends, [{ services: ["api", "web"], backend: "n1/shop/a:8080", packets: 10n, bytes: 1000n, begun: 4n, flows: 5 }]);
});

test("more ends than beginnings are no flows, a backend that the datapath does not know is none, and a service without any has 0", (t) => {
  const ended: TrafficReading = { sent: new Map([[3, { packets: 1n, bytes: 1n, begun: 1n, ended: 3n, tracked: false }]]), tracked: [] };
  const { flows, backends } = serviceTraffic([plan("web", 1, [here, far]), plan("api", 2, [])], ended);
  t.deepEqual([...flows], [["web", 0], ["api", 0]]);
  t.deepEqual(backends.map((one) => [one.backend, one.flows]), [["n2/shop/b:8080", 0]]);
});
