// What nodes write of their containers for the others.
import test from "ava";
import type { RemoteEndpoint } from "../../../src/network/cluster.ts";
import { decode, encodeEndpoint } from "../../../src/peers/records.ts";
import { parseIp } from "../../../src/std/ip.ts";

const endpoint: RemoteEndpoint = {
  node: "b", id: "x", containerId: "c", name: "web", names: ["web"], network: "back", ipv4: parseIp("10.44.9.5"), ipv6: null, mac: "02:00:00:00:00:05", identity: 300,
  labels: { network: "back", project: null, service: null, name: null, own: { app: "web" } },
};

test("a container's record is read as it was written, and what is left out of it is not so", (t) => {
  for (const one of [endpoint, { ...endpoint, internal: true as const }, { ...endpoint, stopping: true as const }]) {
    t.deepEqual(decode({ kind: "endpoint", node: "b", id: "x" }, encodeEndpoint(one)), { kind: "endpoint", endpoint: one });
  }
});
