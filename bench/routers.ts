// What Hawser's policy is compared with: the same two ends, joined by plain forwarding and a packet filter.
//
//   ns PREa: eth0 10.44.1.2 ── ns PREr: forwards ── ns PREb: eth0 10.44.2.2, and an address of the prefixes behind it
import { rmSync, writeFileSync } from "node:fs";
import { iptablesText, ipsetText, nftText, partner } from "./policy-rules.ts";
import type { Ends, Rules } from "./policy-rules.ts";
import { run, runIn } from "./run.ts";

/** `wire`: nothing between the two ends. `forwarding`: no filter at all, not even flows are tracked. */
export type Filter = "wire" | "forwarding" | "nftables, a chain" | "nftables, a set" | "iptables, a chain" | "iptables, an ipset";

export interface Router {
  readonly a: string;
  readonly b: string;
  readonly router: string;
  readonly server: string;
  /** Milliseconds that the tool took to load the rules. */
  readonly loaded: number;
}

/** By its path: an npm package of that name may come first. */
const nft = "/usr/sbin/nft";
const ends: Ends = { client: "10.44.1.2", server: "10.44.2.2" };

export function makeRouter(prefix: string, filter: Filter, rules: Rules): Router {
  const [a, b, router] = [`${prefix}a`, `${prefix}b`, `${prefix}r`];
  for (const namespace of [a, b, router]) {
    run(`ip netns add ${namespace}`);
    runIn(namespace, "ip link set lo up");
  }
  if (filter === "wire") return joinDirectly(a, b, router);
  for (const [namespace, device, subnet] of [[a, "to-a", "10.44.1"], [b, "to-b", "10.44.2"]] as const) {
    run(`ip link add eth0 netns ${namespace} type veth peer name ${device} netns ${router}`);
    runIn(router, `ip address add ${subnet}.1/24 dev ${device}`);
    runIn(router, `ip link set ${device} up`);
    runIn(namespace, `ip address add ${subnet}.2/24 dev eth0`);
    runIn(namespace, "ip link set eth0 up");
    runIn(namespace, `ip route add default via ${subnet}.1`);
  }
  runIn(b, `ip address add ${partner.address}/32 dev lo`);
  runIn(router, `ip route add ${partner.prefix} via ${ends.server}`);
  runIn(router, "sysctl -qw net.ipv4.ip_forward=1");
  const start = performance.now();
  load(router, filter, rules);
  return { a, b, router, server: rules.of === "prefixes" ? partner.address : ends.server, loaded: performance.now() - start };
}

/** What sending and receiving costs by itself. */
function joinDirectly(a: string, b: string, router: string): Router {
  run(`ip link add eth0 netns ${a} type veth peer name eth0 netns ${b}`);
  for (const [namespace, address] of [[a, ends.client], [b, ends.server]] as const) {
    runIn(namespace, `ip address add ${address}/8 dev eth0`);
    runIn(namespace, "ip link set eth0 up");
  }
  return { a, b, router, server: ends.server, loaded: 0 };
}

function load(router: string, filter: Filter, rules: Rules): void {
  switch (filter) {
    case "wire":
    case "forwarding": return;
    case "nftables, a chain": return feed(router, `${nft} -f`, nftText(rules, ends));
    case "nftables, a set": return feed(router, `${nft} -f`, nftText(rules, ends, { withSet: true }));
    case "iptables, a chain": return feed(router, "iptables-legacy-restore", iptablesText(rules, ends));
    case "iptables, an ipset":
      feed(router, "ipset restore -file", ipsetText(rules));
      return feed(router, "iptables-legacy-restore", iptablesText(rules, ends, { withSet: true }));
  }
}

/** Tools read so much better from a file than from their arguments. */
function feed(namespace: string, command: string, text: string): void {
  const file = `/run/bench-rules-${namespace}`;
  writeFileSync(file, text);
  runIn(namespace, `${command} ${file}`);
  rmSync(file);
}
