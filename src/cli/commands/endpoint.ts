// `hawser endpoint`: containers on Hawser networks.
import type { Command } from "commander";
import type { EndpointView } from "../../api/client.ts";
import { withAgent } from "../agent-socket.ts";
import { CompletingArgument } from "../completing.ts";
import type { CliDependencies } from "../dependencies.ts";
import { examples } from "../help.ts";
import { formatOf, outputOption, printJson } from "../output.ts";
import { styleFor, type Paint, type Style } from "../style.ts";
import { details, many, table } from "../table.ts";
import { portLines } from "./port.ts";

export function addEndpoint(program: Command, deps: CliDependencies): void {
  const endpoint = program
    .command("endpoint")
    .helpCommand(false)
    .summary("containers on Hawser networks")
    .description("An endpoint is one container's place on one network: a container on two networks has two.");
  endpoint
    .command("list")
    .alias("ls")
    .summary("list endpoints")
    .description("Lists every endpoint of this node. What happens by default to one of another node is what this node's policies say.")
    .option("-a, --all", "those of other nodes as well")
    .option("--no-trunc", "whole ids")
    .addOption(outputOption())
    .addHelpText("after", examples([
      ["hawser endpoint list", "one line each"],
      ["hawser endpoint list --all", "of all nodes, with the node's name"],
      ["hawser endpoint list -o json | jq -r '.[] | select(.network == \"shop\") | .ipv4'", "addresses on one network"],
    ]))
    .action(async ({ trunc, all = false }: { trunc: boolean; all?: boolean }, command: Command) => {
      const endpoints = await withAgent(command, deps, (agent) => agent.endpoints(all));
      if (formatOf(command) === "json") printJson(deps, endpoints);
      else deps.stdout.write(endpointTable(endpoints, styleFor(deps), trunc, all));
    });
  endpoint
    .command("get")
    .summary("show one endpoint")
    .description("Shows everything about one endpoint.")
    .addArgument(new CompletingArgument("<ID>", "endpoint id, container id, the beginning of either, container name, or network/name", "endpoints"))
    .addOption(outputOption())
    .addHelpText("after", examples([
      ["hawser endpoint get web", "by the container's name"],
      ["hawser endpoint get shop/web", "on one network, when it is on several"],
      ["hawser endpoint get 4f0c", "by the beginning of an id"],
    ]))
    .action(async (ref: string, _options: unknown, command: Command) => {
      const found = await withAgent(command, deps, (agent) => agent.endpoint(ref));
      if (formatOf(command) === "json") printJson(deps, found);
      else deps.stdout.write(endpointDetails(found, styleFor(deps)));
    });
}

export function endpointTable(endpoints: readonly EndpointView[], style: Style, truncate: boolean, withNode = false): string {
  const id = (text: string): string => (truncate ? text.slice(0, 12) : text);
  return table<EndpointView>([
    { title: "ID", value: (row) => id(row.id) },
    { title: "NAME", value: (row) => row.name },
    { title: "CONTAINER", value: (row) => id(row.containerId) },
    ...(withNode ? [{ title: "NODE", value: (row: EndpointView) => row.node }] : []),
    { title: "NETWORK", value: (row) => row.network },
    { title: "IPV4", value: (row) => row.ipv4 },
    { title: "IPV6", value: (row) => row.ipv6 },
    { title: "IDENTITY", value: (row) => row.identity || "", right: true },
    { title: "DEFAULT", value: (row) => `in ${row.default.in}, out ${row.default.out}` },
    { title: "INTERFACE", value: (row) => row.hostInterface },
    { title: "STATE", value: (row) => row.state, paint: (row) => statePaint(row, style) },
    { title: "NOTES", value: (row) => (row.notes.length === 0 ? "" : many(row.notes.length, "note")), paint: () => style.yellow },
  ], endpoints, style.dim);
}

function endpointDetails(endpoint: EndpointView, style: Style): string {
  return details([
    ["id", endpoint.id],
    ["name", endpoint.name],
    ["container", endpoint.containerId],
    ["network", `${endpoint.network} (${endpoint.networkId.slice(0, 12)})`],
    ["node", endpoint.node],
    ["state", (statePaint(endpoint, style) ?? ((text) => text))(endpoint.state)],
    ["ipv4", endpoint.ipv4],
    ["ipv6", endpoint.ipv6],
    ["mac", endpoint.mac],
    ["mtu", endpoint.mtu],
    ["interface", endpoint.hostInterface],
    ["identity", endpoint.identity || "not known yet"],
    ["default", `in ${endpoint.default.in}, out ${endpoint.default.out}`],
    ["labels", Object.entries(endpoint.labels).map(([key, value]) => `${key}=${value}`).join(", ")],
    ["ports", portLines(endpoint.ports).join(", ")],
    ...(endpoint.notes.length === 0 ? [["notes", ""] as const] : endpoint.notes.map((note, i) => [i === 0 ? "notes" : "", style.yellow(note)] as const)),
  ], style.dim);
}

function statePaint(endpoint: EndpointView, style: Style): Paint | undefined {
  return { ready: style.green, init: style.yellow, leaving: style.dim, quarantined: style.red }[endpoint.state];
}
