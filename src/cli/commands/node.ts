// `hawser node`: this node and the others that share its networks.
import type { Command } from "commander";
import type { NodeView } from "../../api/client.ts";
import { withAgent } from "../agent-socket.ts";
import { CompletingArgument } from "../completing.ts";
import type { CliDependencies } from "../dependencies.ts";
import { examples } from "../help.ts";
import { formatOf, outputOption, printJson } from "../output.ts";
import { styleFor, type Paint, type Style } from "../style.ts";
import { details, duration, table } from "../table.ts";

export function addNode(program: Command, deps: CliDependencies): void {
  const node = program
    .command("node")
    .helpCommand(false)
    .summary("this node and the others")
    .description("Nodes are those that the store or the configuration's `peers` name. A network of one name on several of them is one network.");
  node
    .command("list")
    .alias("ls")
    .summary("list nodes")
    .description("Lists this node and every other one, with its slices of the pool and whether it answers probes.")
    .addOption(outputOption())
    .addHelpText("after", examples([
      ["hawser node list", "one line each"],
      ["hawser node list -o json | jq -r '.[] | select(.state == \"unreachable\") | .name'", "those that do not answer"],
    ]))
    .action(async (_options: unknown, command: Command) => {
      const nodes = await withAgent(command, deps, (agent) => agent.nodes());
      if (formatOf(command) === "json") printJson(deps, nodes);
      else deps.stdout.write(nodeTable(nodes, styleFor(deps), deps.now()));
    });
  node
    .command("get")
    .summary("show one node")
    .description("Shows everything about one node.")
    .addArgument(new CompletingArgument("<NAME>", "the node's name", "nodes"))
    .addOption(outputOption())
    .addHelpText("after", examples([["hawser node get edge-2", "address, slices, round-trip time"]]))
    .action(async (name: string, _options: unknown, command: Command) => {
      const found = await withAgent(command, deps, (agent) => agent.node(name));
      if (formatOf(command) === "json") printJson(deps, found);
      else deps.stdout.write(nodeDetails(found, styleFor(deps), deps.now()));
    });
}

export function nodeTable(nodes: readonly NodeView[], style: Style, now: number): string {
  return table<NodeView>([
    { title: "NAME", value: (row) => row.name },
    { title: "ADDRESS", value: (row) => row.address },
    { title: "STATE", value: (row) => row.state, paint: (row) => nodePaint(row, style) },
    { title: "RTT", value: rttText, right: true },
    { title: "LAST SEEN", value: (row) => seenText(row, now) },
    { title: "IPV4", value: (row) => fewOf(row.ipv4) },
    { title: "IPV6", value: (row) => fewOf(row.ipv6) },
    { title: "ENDPOINTS", value: (row) => row.endpoints, right: true },
  ], nodes, style.dim);
}

/** A node may have many slices; `node get` shows them all. */
function fewOf(slices: string): string {
  const [first = "", ...more] = slices.split(", ");
  return more.length < 2 ? slices : `${first} and ${more.length} more`;
}

function nodeDetails(node: NodeView, style: Style, now: number): string {
  return details([
    ["name", node.name],
    ["address", node.address],
    ["state", nodePaint(node, style)(node.state)],
    ["round trip", rttText(node)],
    ["last seen", seenText(node, now)],
    ["ipv4", node.ipv4],
    ["ipv6", node.ipv6],
    ["mtu", node.mtu],
    ["endpoints", node.endpoints],
  ], style.dim);
}

/** Empty: no answer yet. */
export function rttText({ rttMs }: NodeView): string {
  return rttMs === null ? "" : `${rttMs < 10 ? rttMs.toFixed(2) : rttMs.toFixed(0)} ms`;
}

/** Empty: this node itself. */
export function seenText({ state, lastSeen }: NodeView, now: number): string {
  if (state === "self") return "";
  return lastSeen === 0 ? "never" : `${duration(now - lastSeen)} ago`;
}

export function nodePaint({ state }: NodeView, style: Style): Paint {
  return { ready: style.green, unreachable: style.red, self: style.dim }[state];
}
