// A small world for tests of verdicts: two networks, a host with an uplink, policies as their users write them.
import { evaluate } from "../../../src/policy/evaluate.ts";
import { readPolicies } from "../../../src/policy/read.ts";
import type { End, IdentityLabels, Judgement, PacketQuestion, Policy, PolicyFacts, Protocol } from "../../../src/policy/types.ts";
import { parseCidr, parseIp } from "../../../src/std/ip.ts";

export function container(network: string, service: string, own: Readonly<Record<string, string>> = {}, project: string | null = null): IdentityLabels {
  return { network, project, service, name: null, own };
}

export const web = container("shop", "web", { tier: "front" });
export const api = container("shop", "api", { tier: "middle" });
export const db = container("shop", "db", { tier: "db" });
export const job = container("back", "job");

export const facts: PolicyFacts = {
  identities: [web, api, db, job].map((labels, i) => ({ id: i + 1, labels })),
  host: ["192.0.2.1", "10.44.0.1", "2001:db8::1"].map((address) => parseIp(address)),
  nodes: [parseCidr("192.0.2.7/32")],
  lan: [parseCidr("192.0.2.0/24"), parseCidr("2001:db8::/64")],
  pool: [parseCidr("10.44.0.0/16"), parseCidr("fd44::/48")],
  poolByAddress: true,
  networks: new Map([["shop", { internal: false, icc: true }], ["back", { internal: false, icc: true }]]),
  hostServices: [2375, 2376],
  betweenNetworks: "deny",
  published: "allow",
  untilIdentified: "deny",
};

export function policies(...texts: readonly string[]): readonly Policy[] {
  return readPolicies(texts.map((text, i) => ({ file: `${i === 0 ? "shop" : `more${i}`}.yaml`, text })));
}

/** The shop's policy with these lists of sentences. */
export function shop(parts: { readonly allow?: readonly string[]; readonly deny?: readonly string[]; readonly audit?: readonly string[]; readonly default?: string }): Policy {
  const lists = (["allow", "deny", "audit"] as const).flatMap((action) => {
    const sentences = parts[action] ?? [];
    return sentences.length === 0 ? [] : [`${action}:`, ...sentences.map((sentence) => `  - ${JSON.stringify(sentence)}`)];
  });
  const text = ["policy: shop", "for: { network: shop }", `default: ${parts.default ?? "{}"}`, ...lists].join("\n");
  const [policy] = policies(text);
  if (policy === undefined) throw new Error("no policy was read");
  return policy;
}

export type Who = IdentityLabels | string | End;

export function end(who: Who): End {
  if (typeof who === "string") return { identity: null, address: parseIp(who) };
  return "identity" in who ? who : { identity: who, address: null };
}

/** `5432/tcp`, `icmp 8/0`; empty: any. */
export function question(from: Who, to: Who, port = "", published = false): PacketQuestion {
  const icmp = /^(icmp|icmpv6) (\d+)\/(\d+)$/.exec(port);
  if (icmp) return { from: end(from), to: end(to), protocol: icmp[1] as Protocol, port: Number(icmp[2]) * 256 + Number(icmp[3]), published };
  const [number = "", protocol = "tcp"] = port.split("/");
  return { from: end(from), to: end(to), protocol: port === "" ? null : (protocol as Protocol), port: port === "" ? null : Number(number), published };
}

/** `allow out web -> api:8080` or `deny in default:in`. */
export function told({ verdict, decidedBy, end }: Judgement): string {
  return `${verdict} ${end} ${decidedBy.kind === "rule" ? decidedBy.rule.text : decidedBy.name}`;
}

export function judge(written: readonly Policy[] | Policy, from: Who, to: Who, port = "", options: { readonly facts?: Partial<PolicyFacts>; readonly published?: boolean } = {}): string {
  const all = "rules" in written ? [written] : written;
  return told(evaluate(all, { ...facts, ...options.facts }, question(from, to, port, options.published)));
}
