// `hawser network`: the networks that Docker made with `-d hawser`.
import type { Command } from "commander";
import type { NetworkView } from "../../api/client.ts";
import { withAgent } from "../agent-socket.ts";
import { CompletingArgument } from "../completing.ts";
import type { CliDependencies } from "../dependencies.ts";
import { examples } from "../help.ts";
import { formatOf, outputOption, printJson } from "../output.ts";
import { styleFor, type Style } from "../style.ts";
import { details, table } from "../table.ts";

export function addNetwork(program: Command, deps: CliDependencies): void {
  const network = program
    .command("network")
    .helpCommand(false)
    .summary("networks that Docker made with `-d hawser`")
    .description("Networks are made and removed with `docker network`; here they can be looked at.");
  network
    .command("list")
    .alias("ls")
    .summary("list networks")
    .description("Lists every Hawser network of this node.")
    .option("--no-trunc", "whole ids")
    .addOption(outputOption())
    .addHelpText("after", examples([["hawser network list", "one line each"], ["hawser network list -o json", "with gateways and options"]]))
    .action(async (options: { trunc: boolean }, command: Command) => {
      const networks = await withAgent(command, deps, (agent) => agent.networks());
      if (formatOf(command) === "json") printJson(deps, networks);
      else deps.stdout.write(networkTable(networks, styleFor(deps), options.trunc));
    });
  network
    .command("get")
    .summary("show one network")
    .description("Shows everything about one network.")
    .addArgument(new CompletingArgument("<NETWORK>", "name, or the beginning of the id", "networks"))
    .addOption(outputOption())
    .addHelpText("after", examples([["hawser network get shop", "subnets, gateways, options"]]))
    .action(async (ref: string, _options: unknown, command: Command) => {
      const found = await withAgent(command, deps, (agent) => agent.network(ref));
      if (formatOf(command) === "json") printJson(deps, found);
      else deps.stdout.write(networkDetails(found, styleFor(deps)));
    });
}

export function networkTable(networks: readonly NetworkView[], style: Style, truncate: boolean): string {
  return table<NetworkView>([
    { title: "ID", value: (row) => (truncate ? row.id.slice(0, 12) : row.id) },
    { title: "NAME", value: (row) => row.name },
    { title: "IPV4", value: (row) => row.ipv4 },
    { title: "IPV6", value: (row) => row.ipv6 },
    { title: "INTERNAL", value: (row) => (row.internal ? "yes" : "no") },
    { title: "ENDPOINTS", value: (row) => row.endpoints, right: true },
  ], networks, style.dim);
}

function networkDetails(network: NetworkView, style: Style): string {
  return details([
    ["id", network.id],
    ["name", network.name],
    ["ipv4", network.ipv4],
    ["gateway", network.gateway4],
    ["ipv6", network.ipv6],
    ["gateway", network.gateway6],
    ["internal", network.internal ? "yes" : "no"],
    ["mtu", network.mtu ?? "as the uplink"],
    ["endpoints", network.endpoints],
    ["options", Object.entries(network.options).map(([key, value]) => `${key}=${value}`).join(", ")],
  ], style.dim);
}
