// IPsec policies of a namespace's own are read from the kernel, and those for the tunnel to another node are told.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { watchIpsec } from "../../src/compose/ipsec.ts";
import type { NodeView } from "../../src/engine/types.ts";
import { listIpsecPolicies } from "../../src/kernel/index.ts";
import { createLog } from "../../src/std/log.ts";
import { routing } from "./datapath/other-node.ts";
import { isolatedTests } from "./kernel/isolated.ts";

const test = isolatedTests(import.meta.url);
const policy = (words: string): Buffer => execFileSync("ip", ["xfrm", "policy", ...words.split(" ")]);
const esp = "tmpl proto esp mode transport";

test("policies that encrypt or block what leaves by any device are read, and no others", async () => {
  assert.deepEqual(await listIpsecPolicies(), []);
  for (const words of [
    `add src 192.0.2.10/32 dst 192.0.2.0/24 dir out ${esp}`, `add src 2001:db8::a/128 dst 2001:db8::/64 proto udp dport 8472 dir out ${esp}`,
    "add src 0.0.0.0/0 dst 198.51.100.0/24 dir out action block",
    `add src 192.0.2.0/24 dst 192.0.2.10/32 dir in ${esp}`, "add src 192.0.2.10/32 dst 192.0.2.7/32 dir out", `add src 192.0.2.10/32 dst 192.0.2.8/32 proto udp sport 500 dir out ${esp}`,
    `add src 192.0.2.10/32 dst 192.0.2.9/32 dir out mark 7 mask 0xff ${esp}`, `add src 192.0.2.10/32 dst 192.0.2.11/32 dir out ${esp} if_id 5`,
  ]) policy(words);
  const found = (await listIpsecPolicies()).map(({ source, destination, protocol, port, portMask }) => `${source} ${destination} ${protocol} ${port}/${portMask}`);
  assert.deepEqual(found.toSorted(), ["0.0.0.0/0 198.51.100.0/24 0 0/0", "192.0.2.10/32 192.0.2.0/24 0 0/0", "2001:db8::a/128 2001:db8::/64 17 8472/65535"]);
});

test("nodes that the overlay speaks to in clear text are named in the log, once, and in the status until it ends", async () => {
  const lines: string[] = [];
  const view = (name: string, address: string, state: NodeView["state"] = "ready"): NodeView => ({ name, address, ipv4: "", ipv6: "", state, lastSeen: 0, rttMs: null, mtu: 1500, endpoints: 0 });
  const nodes = [view("self", "192.0.2.10", "self"), view("b", "192.0.2.1"), view("c", "198.51.100.1"), view("d", "")];
  const log = createLog((line) => lines.push(line), () => 0);
  const [watch, byDevice, alone] = [routing, { ...routing, direct: false }, null].map((one) => watchIpsec(one, () => nodes, log));
  policy(`add src 192.0.2.10/32 dst 192.0.2.0/24 dir out ${esp}`);
  for (const one of [watch, byDevice, alone, watch]) await one?.run();
  assert.deepEqual([byDevice?.parts(), alone?.parts()], [[], []]);
  const [part] = watch?.parts() ?? [];
  assert.equal(part?.state, "degraded");
  assert.match(part?.detail ?? "", /for packets to b, but the overlay's pass them by and leave unencrypted; set routing\.direct: false/);
  assert.equal(lines.length, 1);
  policy("delete src 192.0.2.10/32 dst 192.0.2.0/24 dir out");
  await watch?.run();
  assert.deepEqual(watch?.parts(), []);
});
