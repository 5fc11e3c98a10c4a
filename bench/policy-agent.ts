// An agent without Docker: the real engine, datapath, store and API, and so many containers that a door would have told of.
// Started by policy-apply.ts with the socket's path, the state's file and the number of containers; says when it is ready.
import { join } from "node:path";
import { startApi } from "../src/api/server.ts";
import { openDatapath } from "../src/datapath/bootstrap.ts";
import { cgroupRoot } from "../src/datapath/kernel-facts.ts";
import { createEngine } from "../src/engine/engine.ts";
import type { EndpointId, NetworkId } from "../src/engine/types.ts";
import { createKernel, openNetlink } from "../src/kernel/index.ts";
import { systemClock } from "../src/std/clock.ts";
import { parseCidr, parseMac } from "../src/std/ip.ts";
import { createLog } from "../src/std/log.ts";
import { openEmbedded } from "../src/store/embedded.ts";
import { bpffs } from "./worlds.ts";
import { root } from "./run.ts";

const [socket = "", file = "", containers = "0"] = process.argv.slice(2);
const count = Number(containers);
const log = createLog((line) => console.error(line), Date.now, "warn");
const hex = (number: number): string => number.toString(16).padStart(3, "0").repeat(22).slice(0, 64);
const network = hex(0xabc) as NetworkId;
const endpointId = (i: number): EndpointId => hex(0x100 + i) as EndpointId;

await using stack = new AsyncDisposableStack();
const store = openEmbedded({ file, log, clock: systemClock });
stack.defer(() => store.close());
const netlink = stack.use(await openNetlink());
const datapath = stack.use(await openDatapath({
  node: "bench", bpffs, objectDirectory: join(root, "build/bpf"), cgroup: cgroupRoot(), devices: "auto", addresses: [], routing: null, acceleration: "off", ipv6: false, betweenNetworks: false, published: true,
  untilIdentified: false, kernel: createKernel(), netlink, log, clock: systemClock, nodeMac: parseMac("02:48:57:00:00:01"),
}));
const services = new Map(Array.from({ length: count }, (_, i) => [endpointId(i), `s${i}`]));
const engine = createEngine({
  store, datapath, node: "bench", version: "0.0.0", mtu: null, masquerade: true, parts: () => [], clock: systemClock, random: Math.random, log,
  pool: { ipv4: parseCidr("10.44.0.0/16"), ipv4NodePrefix: 24, ipv6: null, ipv6NodePrefix: 64 },
  policy: { betweenNetworks: "deny", published: "allow", untilIdentified: "deny", unenforced: "allow", hostServices: [2375, 2376] },
  services: { mode: "auto" },
  whose: async ({ id }) => {
    const service = services.get(id);
    const labels = { "com.docker.compose.project": "bench", "com.docker.compose.service": service ?? "" };
    return service === undefined ? null : { id, name: `bench-${service}`, labels, own: labels };
  },
});
await engine.start();
const { commands } = engine;
await commands.createNetwork({ id: network, ipv4: [{ pool: "10.44.0.0/24", gateway: "10.44.0.1/24", aux: {} }], ipv6: [], internal: false, enableIpv4: true, enableIpv6: false, options: {} });
await commands.reconcile({ networks: [{ id: network, name: "bench", endpoints: [] }] });
for (let i = 0; i < count; i++) {
  await commands.createEndpoint({ id: endpointId(i), network, ipv4: `10.44.0.${i + 2}/24`, ipv6: null, mac: null, ports: [], options: {} });
  await commands.join({ id: endpointId(i), network, sandboxKey: "/run/none", ports: [] });
}
const refuse = (): Promise<never> => Promise.reject(new Error("not here"));
stack.use(await startApi({
  socket, group: null, log, queries: engine.queries,
  commands: {
    reconcile: refuse, sweep: refuse, applyPolicy: (command, signal) => commands.applyPolicy(command, signal), deletePolicy: (name, signal) => commands.deletePolicy(name, signal),
    applyService: refuse, deleteService: refuse,
  },
}));
process.send?.("ready");
await new Promise((resolve) => process.once("disconnect", resolve));
