// `hawser policy trace`: what would become of a packet, and by which rule, without sending one.
import type { Command } from "commander";
import type { TraceEnd, TraceView } from "../../api/client.ts";
import { withAgent } from "../agent-socket.ts";
import { CompletingArgument } from "../completing.ts";
import type { CliDependencies } from "../dependencies.ts";
import { examples } from "../help.ts";
import { formatOf, outputOption, printJson } from "../output.ts";
import { styleFor, type Style } from "../style.ts";
import { details } from "../table.ts";
import { labelText } from "./identity.ts";

export function addPolicyTrace(policy: Command, deps: CliDependencies): void {
  policy
    .command("trace")
    .summary("what would become of a packet, and why")
    .description(
      "Judges a flow as the policy in force would, without sending a packet. Ends are a container's name or id, `network/name`, a service, `label(k=v)`, "
      + "`net(NAME)`, an address (IPv6 with a port in brackets), `host`, `lan`, `internet` or `world`; one of them is a container. A published port is asked for "
      + "as the container's own; a service's address, with its port, means its backends, and all their different answers are told. Without a port, only rules for every port count.",
    )
    .addArgument(new CompletingArgument("<FROM>", "who opens the flow", "peers"))
    .addArgument(new CompletingArgument("<TO>", "whom it is opened to: TO, TO:PORT, TO:PORT/PROTOCOL (default tcp) or \"TO icmp(echo)\"", "peers"))
    .addOption(outputOption())
    .addHelpText("after", examples([
      ["hawser policy trace web db:5432", "may web reach the database?"],
      ["hawser policy trace world shop/web:443/tcp", "may everyone reach web?"],
      ["hawser policy trace 198.51.100.7 203.0.113.10:80", "may that client reach the service's backends?"],
      ["hawser policy trace host \"web icmp(echo)\"", "may this host ping web?"],
      ["hawser policy trace api 10.20.0.9:873 -o json | jq .decidedBy", "the deciding rule, for programs"],
    ]))
    .action(async (from: string, to: string, _options: unknown, command: Command) => {
      const trace = await withAgent(command, deps, (agent) => agent.trace(from, to));
      if (formatOf(command) === "json") printJson(deps, trace);
      else deps.stdout.write([trace, ...trace.others].map((one) => traceText(one, styleFor(deps))).join("\n"));
    });
}

function traceText(trace: TraceView, style: Style): string {
  const paint = { allow: style.green, deny: style.red, audit: style.yellow }[trace.verdict];
  const by = trace.decidedBy;
  return details([
    ["verdict", paint(trace.verdict)],
    ["decided by", typeof by === "string" ? by : by.rule],
    ...(typeof by === "string" ? [] : [["policy", by.policy] as const, ["at", by.line === 0 ? by.file : `${by.file}:${by.line}`] as const]),
    ["at the end of", trace.end === "out" ? `the sender (${trace.from.name})` : `the receiver (${trace.to.name})`],
    ["from", endText(trace.from)],
    ["to", endText(trace.to)],
    ["for", trace.protocol === null ? "every protocol and port" : portText(trace.protocol, trace.port)],
  ], style.dim);
}

function endText({ name, address, identity, labels }: TraceEnd): string {
  const about = [address === name ? "" : address, identity === 0 ? "" : `identity ${identity}`, labelText(labels)].filter((part) => part !== "");
  return about.length === 0 ? name : `${name} (${about.join("; ")})`;
}

/** ICMP's "port" is type × 256 + code. */
export function portText(protocol: string, port: number | null): string {
  if (port === null) return protocol;
  return protocol.startsWith("icmp") ? `${protocol}(${Math.floor(port / 256)}/${port % 256})` : `${port}/${protocol}`;
}
