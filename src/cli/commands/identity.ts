// `hawser identity`: the sets of labels that containers carry, each with its number.
import type { Command } from "commander";
import type { IdentityView } from "../../api/client.ts";
import { withAgent } from "../agent-socket.ts";
import type { CliDependencies } from "../dependencies.ts";
import { examples } from "../help.ts";
import { formatOf, outputOption, printJson } from "../output.ts";
import { styleFor, type Style } from "../style.ts";
import { table } from "../table.ts";

export function addIdentity(program: Command, deps: CliDependencies): void {
  const identity = program
    .command("identity")
    .helpCommand(false)
    .summary("sets of labels that containers carry")
    .description("An identity is a set of relevant labels. Containers with the same set share one, and policy treats them alike.");
  identity
    .command("list")
    .alias("ls")
    .summary("list identities")
    .description("Lists every identity with its labels and how many endpoints carry it.")
    .addOption(outputOption())
    .addHelpText("after", examples([["hawser identity list", "one line each"], ["hawser identity list -o json", "labels as an object"]]))
    .action(async (_options: unknown, command: Command) => {
      const identities = await withAgent(command, deps, (agent) => agent.identities());
      if (formatOf(command) === "json") printJson(deps, identities);
      else deps.stdout.write(identityTable(identities, styleFor(deps)));
    });
}

function identityTable(identities: readonly IdentityView[], style: Style): string {
  return table<IdentityView>([
    { title: "ID", value: (row) => row.id, right: true },
    { title: "ENDPOINTS", value: (row) => row.endpoints, right: true },
    { title: "LABELS", value: (row) => labelText(row.labels) },
  ], identities, style.dim);
}

export function labelText(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels).map(([key, value]) => `${key}=${value}`).join(", ");
}
