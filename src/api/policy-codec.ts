// Between the engine's views of policy and the messages on the wire.
import type { DecidedBy, IdentityView, PolicyText, PolicyView, TraceEnd, TraceView } from "../engine/types.ts";
import { HawserError } from "../std/errors.ts";
import { oneOf } from "./codec.ts";
import type * as wire from "./generated/hawser/v1/hawser.ts";

export function policyToWire(policy: PolicyView): wire.Policy {
  const { name, source, revision, rules, endpoints, state, error } = policy;
  return { name, source, revision, rules, endpoints, state, error: error ?? undefined };
}

export function policyFromWire(message: wire.Policy): PolicyView {
  return { ...message, state: oneOf(message.state, policyStates, "Policy.state"), error: message.error ?? null };
}

export function policyTextToWire(policy: PolicyText): wire.PolicyText {
  return { policy: policyToWire(policy), text: policy.text };
}

export function policyTextFromWire({ policy, text }: wire.PolicyText): PolicyText {
  return { ...policyFromWire(needed(policy, "PolicyText.policy")), text };
}

export function traceToWire(trace: TraceView): wire.Trace {
  const by = trace.decidedBy;
  return {
    verdict: trace.verdict,
    decidedBy: typeof by === "string" ? { name: by } : { rule: { ...by } },
    end: trace.end,
    from: endToWire(trace.from),
    to: endToWire(trace.to),
    protocol: trace.protocol ?? undefined,
    port: trace.port ?? undefined,
    others: trace.others.map(traceToWire),
  };
}

export function traceFromWire(message: wire.Trace): TraceView {
  return {
    verdict: oneOf(message.verdict, verdicts, "Trace.verdict"),
    decidedBy: deciderFromWire(needed(message.decidedBy, "Trace.decided_by")),
    end: oneOf(message.end, ends, "Trace.end"),
    from: needed(message.from, "Trace.from"),
    to: needed(message.to, "Trace.to"),
    protocol: message.protocol === undefined ? null : oneOf(message.protocol, protocols, "Trace.protocol"),
    port: message.port ?? null,
    others: message.others.map(traceFromWire),
  };
}

export function identityToWire(identity: IdentityView): wire.Identity {
  return { ...identity, labels: { ...identity.labels } };
}

export function identityFromWire(message: wire.Identity): IdentityView {
  return message;
}

function endToWire(end: TraceEnd): wire.TraceEnd {
  return { ...end, labels: { ...end.labels } };
}

function deciderFromWire({ rule, name }: wire.Decider): DecidedBy | string {
  return rule ?? name ?? "";
}

const policyStates: readonly PolicyView["state"][] = ["enforced", "pending", "rejected"];
const verdicts: readonly TraceView["verdict"][] = ["allow", "deny", "audit"];
const ends: readonly TraceView["end"][] = ["in", "out"];
const protocols: readonly NonNullable<TraceView["protocol"]>[] = ["tcp", "udp", "sctp", "icmp", "icmpv6"];

/** @throws HawserError INTERNAL */
export function needed<T>(part: T | undefined, where: string): T {
  if (part === undefined) throw new HawserError("INTERNAL", `${where}: the agent left it out; are agent and command line of one version?`);
  return part;
}
