// The same rules for everybody: policy text for Hawser, and what people write for nftables, iptables and ipset. The rule that
// lets `client` reach `server` stands in the middle, where a list that is walked is walked half on the average.
import { compile } from "../src/policy/compile.ts";
import { readPolicies } from "../src/policy/read.ts";
import type { Identity, PolicyTables } from "../src/policy/types.ts";
import { ip4FromNumber, parseIp } from "../src/std/ip.ts";
import type { Ip } from "../src/std/ip.ts";

/** `services`: so many rules, each for a service of its own. `prefixes`: one rule for the client, to so many prefixes. 0 of them: all is allowed. */
export interface Rules {
  readonly of: "services" | "prefixes";
  readonly count: number;
}

/** Addresses of the two ends, for tools that know no identities. */
export interface Ends {
  readonly client: string;
  readonly server: string;
}

/** A prefix of the list and an address in it, which is no container's. */
export const partner = { prefix: "45.67.88.0/24", address: "45.67.88.1" } as const;
export const port = 9000;

/** None next to another, so that no tool makes two into one; spread over 32.0.0.0/3. */
export function prefixes(count: number): readonly string[] {
  const spread = Array.from({ length: count }, (_, i) => `${ip4FromNumber(0x2000_0000 + (Math.imul(i, 0x9e375) & 0xf_ffff) * 512)}/24`);
  const others = spread.filter((prefix) => prefix !== partner.prefix).slice(0, Math.max(0, count - 1));
  return others.toSpliced(others.length >> 1, 0, partner.prefix);
}

/** Services but the client: the rule's number decides its port, and its address where addresses count. */
function others(count: number): readonly { readonly service: string; readonly address: string; readonly port: number }[] {
  return Array.from({ length: Math.max(0, count - 1) }, (_, i) => ({ service: `s${i}`, address: ip4FromNumber(0x0a64_0000 + i), port: 1000 + (i % 1000) }));
}

export function policyText({ of, count }: Rules): string {
  const head = "policy: bench\nfor: { network: bench }\ndefault: { in: deny, out: deny }\n";
  if (of === "prefixes") return `${head}sets:\n  partners:\n${prefixes(count).map((prefix) => `    - ${prefix}\n`).join("")}allow:\n  - "client -> @partners:${port}/udp"\n`;
  const sentences = others(count).map(({ service, port: its }) => `  - ${service} -> server:${its}/udp\n`);
  return `${head}allow:\n${sentences.toSpliced(sentences.length >> 1, 0, `  - client -> server:${port}/udp\n`).join("")}`;
}

/** `identities`: numbers of the two containers. The other services are containers too. */
export function tablesOf(rules: Rules, identities: { readonly client: number; readonly server: number }, host: readonly Ip[]): PolicyTables {
  const services = rules.of === "services" ? others(rules.count).map(({ service }) => service) : [];
  const identity = (id: number, service: string): Identity => ({ id, labels: { network: "bench", project: null, service, name: null, own: {} } });
  const policies = rules.count === 0 ? [] : readPolicies([{ file: "bench.yaml", text: policyText(rules) }]);
  return compile(policies, {
    identities: [identity(identities.client, "client"), identity(identities.server, "server"), ...services.map((service, i) => identity(1000 + i, service))],
    host: [...host, parseIp("10.44.0.1")], nodes: [], lan: [], pool: [], poolByAddress: true, networks: new Map([["bench", { internal: false, icc: true }]]), hostServices: [2375, 2376],
    betweenNetworks: "deny", published: "allow", untilIdentified: "deny",
  });
}

/** For iptables-restore: what is established first, as everybody has it, then the rules one after the other. */
export function iptablesText(rules: Rules, ends: Ends, { withSet = false }: { readonly withSet?: boolean } = {}): string {
  const accept = (from: string, to: string, toPort: number): string => `-A FORWARD -s ${from} -d ${to} -p udp -m udp --dport ${toPort} -j ACCEPT`;
  const list = withSet
    ? [`-A FORWARD -s ${ends.client}/32 -p udp -m udp --dport ${port} -m set --match-set partners dst -j ACCEPT`]
    : listed(rules, ends).map(({ from, to, port: its }) => accept(from, to, its));
  return [
    "*filter", ":INPUT ACCEPT [0:0]", `:FORWARD ${rules.count === 0 ? "ACCEPT" : "DROP"} [0:0]`, ":OUTPUT ACCEPT [0:0]",
    "-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT", ...list, "COMMIT", "",
  ].join("\n");
}

export function ipsetText({ count }: Rules): string {
  return [`create partners hash:net maxelem ${count}`, ...prefixes(count).map((prefix) => `add partners ${prefix}`), ""].join("\n");
}

/** For `nft -f`: a rule for each, or one rule and a set. */
export function nftText(rules: Rules, ends: Ends, { withSet = false }: { readonly withSet?: boolean } = {}): string {
  const { set, rule } = withSet && rules.count > 0 ? nftSet(rules, ends) : { set: "", rule: nftChain(rules, ends) };
  return `table ip bench {
${set}  chain forward {
    type filter hook forward priority 0; policy ${rules.count === 0 ? "accept" : "drop"};
    ct state established,related accept
${rule}  }
}
`;
}

function nftChain(rules: Rules, ends: Ends): string {
  return listed(rules, ends).map(({ from, to, port: its }) => `    ip saddr ${from} ip daddr ${to} udp dport ${its} accept\n`).join("");
}

function nftSet(rules: Rules, ends: Ends): { readonly set: string; readonly rule: string } {
  if (rules.of === "prefixes") {
    return {
      set: `  set partners {\n    type ipv4_addr; flags interval;\n    elements = { ${prefixes(rules.count).join(", ")} }\n  }\n`,
      rule: `    ip saddr ${ends.client} ip daddr @partners udp dport ${port} accept\n`,
    };
  }
  const elements = listed(rules, ends).map(({ from, to, port: its }) => `${from} . ${to} . ${its}`);
  return { set: `  set allowed {\n    type ipv4_addr . ipv4_addr . inet_service;\n    elements = { ${elements.join(", ")} }\n  }\n`, rule: "    ip saddr . ip daddr . udp dport @allowed accept\n" };
}

function listed(rules: Rules, { client, server }: Ends): readonly { readonly from: string; readonly to: string; readonly port: number }[] {
  if (rules.count === 0) return [];
  if (rules.of === "prefixes") return prefixes(rules.count).map((to) => ({ from: client, to, port }));
  const list = others(rules.count).map(({ address, port: its }) => ({ from: address, to: server, port: its }));
  return list.toSpliced(list.length >> 1, 0, { from: client, to: server, port });
}
