// Packets that were told, as people read them: whose each end was at that moment, here and on other nodes.
import test from "ava";
import type { PacketEvent } from "../../../src/datapath/types.ts";
import { FlowLog } from "../../../src/engine/flow-log.ts";
import type { AddressBook } from "../../../src/engine/flow-log.ts";
import type { FlowQuery, FlowView } from "../../../src/engine/types.ts";
import type { RemoteEndpoint } from "../../../src/network/cluster.ts";
import { parseCidr, parseIp } from "../../../src/std/ip.ts";

const far: RemoteEndpoint = {
  node: "b", id: "e", containerId: "c0ffee", name: "db", names: ["db"], network: "shop", ipv4: parseIp("10.44.2.9"), ipv6: null, mac: "02:42:0a:2c:02:09", identity: 300,
  labels: { network: "shop", project: null, service: null, name: null, own: { tier: "db" } },
};
const book: AddressBook = {
  ends: new Map([["10.44.1.2", { identity: 256, labels: { network: "shop" }, name: "web", containerId: "c1", network: "shop" }]]), pool: [parseCidr("10.44.0.0/16")], node: "a",
};
const all: FlowQuery = { last: 100, follow: false, verdicts: [], from: "", to: "", with: "", since: 0 };

/** Its bytes are where it goes. */
function logOf(): FlowLog {
  const event: Omit<PacketEvent, "destination"> = {
    time: 1n, verdict: "forwarded", reason: "none", ifindex: 1, network: 1, family: 4, protocol: 6, source: "10.44.1.2", sourcePort: 4000, destinationPort: 80, backend: "", backendPort: 0,
    tcpFlags: 2, icmpType: 0, icmpCode: 0, direction: "from-container", length: 60, sourceIdentity: 256, destinationIdentity: 0, rule: 0, revision: 1, end: null,
  };
  return new FlowLog({ decode: (bytes) => ({ ...event, destination: new TextDecoder().decode(bytes) }), rulesOf: () => undefined, deviceName: () => "eth0", epoch: 0n });
}

async function read(log: FlowLog, change: Partial<FlowQuery> = {}): Promise<readonly FlowView[]> {
  const found: FlowView[] = [];
  for await (const view of log.read({ ...all, ...change })) found.push(view);
  return found;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

test("a container on another node is named as it was when the packet was told", async (t) => {
  const log = logOf();
  let owners: Readonly<Record<string, RemoteEndpoint>> = { "10.44.2.9": far };
  const add = (to: string): void => log.add(bytes(to), book, 0, (address) => owners[address]);
  add("10.44.2.9");
  owners = { "10.44.2.9": { ...far, name: "cache" } };
  add("10.44.2.9");
  add("10.44.1.2");
  t.deepEqual((await read(log)).map(({ destination: { name, identity, labels, network } }) => [name, identity, labels, network]), [
    ["db", 300, { network: "shop", tier: "db" }, "shop"], ["cache", 300, { network: "shop", tier: "db" }, "shop"], ["web", 256, { network: "shop" }, "shop"],
  ]);
  t.deepEqual((await read(log, { to: "db" })).length, 1);
});

test("an address of the pool that nobody known has is not the world's", async (t) => {
  const log = logOf();
  for (const to of ["10.44.7.7", "198.51.100.1"]) log.add(bytes(to), book, 0);
  t.deepEqual((await read(log)).map(({ destination: { identity, labels } }) => [identity, labels]), [[0, {}], [2, { reserved: "world" }]]);
  t.deepEqual((await read(log, { to: "world" })).map(({ destination: { address } }) => address), ["198.51.100.1"]);
});
