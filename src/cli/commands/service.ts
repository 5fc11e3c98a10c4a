// `hawser service`: addresses that are spread over containers and servers: what is in force, and how to change it.
import type { Command } from "commander";
import type { BackendView, ServiceView } from "../../api/client.ts";
import { withAgent } from "../agent-socket.ts";
import { CompletingArgument } from "../completing.ts";
import type { CliDependencies } from "../dependencies.ts";
import { examples } from "../help.ts";
import { formatOf, outputOption, printJson } from "../output.ts";
import { styleFor, type Paint, type Style } from "../style.ts";
import { details, table } from "../table.ts";
import { asTheyWrote, filesArgument, readWrittenFiles } from "../written-files.ts";

export function addService(program: Command, deps: CliDependencies): void {
  const service = program
    .command("service")
    .helpCommand(false)
    .summary("addresses that several containers serve")
    .description("A service is an address whose clients are spread over containers and servers. docs/services.md tells how to write one. Files in /etc/hawser/service.d (`services.directory`) are in force by themselves.")
    .addHelpText("after", [
      "",
      "A service:",
      "  service: web                                 # its name",
      '  frontends: ["203.0.113.10:80"]               # where clients reach it',
      "  backends:",
      "    - { select: { network: shop, label: app=web }, port: 8080 }",
    ].join("\n"));
  service
    .command("apply")
    .summary("put services in force")
    .description("Puts the services of all files in force, or of none: when one is wrong, what was in force stays. A service that is there already is replaced; flows of backends that stay do not move. Warns of selectors that match no container now, of containers on internal networks, of backends at a broadcast address or the host's own, and of frontends of a family from which `sources` let nobody in.")
    .addArgument(filesArgument("service"))
    .addOption(outputOption())
    .addHelpText("after", examples([
      ["hawser service apply web.yaml", "one file, which may hold several services"],
      ["hawser service apply services/", "every *.yaml and *.yml in a folder"],
      ["hawser service get web -o json | jq -r .text | hawser service apply -", "from standard input"],
    ]))
    .action(async (words: readonly string[], _options: unknown, command: Command) => {
      const { documents, asWritten } = await readWrittenFiles(words, "service", deps);
      const { warnings: said, ...report } = await asTheyWrote(asWritten, withAgent(command, deps, (agent) => agent.applyService({ documents })));
      const warnings = said.map(asWritten);
      for (const warning of warnings) deps.stderr.write(`hawser: warning: ${warning}\n`);
      if (formatOf(command) === "json") printJson(deps, { ...report, warnings });
      else deps.stdout.write(`applied ${report.applied.join(", ")}\n`);
    });
  service
    .command("delete")
    .alias("rm")
    .summary("take a service out of force")
    .description("Takes a service out of force: its address answers no more. One whose file stands in the watched folder is deleted by deleting the file; if that was the folder's last, by both. docs/services.md says what becomes of its connections.")
    .addArgument(nameArgument())
    .addHelpText("after", examples([["hawser service delete web", "its address is no service's any more"]]))
    .action(async (name: string, _options: unknown, command: Command) => {
      await withAgent(command, deps, (agent) => agent.deleteService(name));
      deps.stderr.write(`hawser: service "${name}" is deleted\n`);
    });
  service
    .command("list")
    .alias("ls")
    .summary("list services")
    .description("Lists every service with its addresses and how many of its backends are in which state.")
    .addOption(outputOption())
    .addHelpText("after", examples([
      ["hawser service list", "one line each"],
      ["hawser service list -o json | jq '.[].backends[] | select(.state == \"down\")'", "backends that are down"],
    ]))
    .action(async (_options: unknown, command: Command) => {
      const services = await withAgent(command, deps, (agent) => agent.services());
      if (formatOf(command) === "json") return printJson(deps, services.map(withoutNull));
      deps.stdout.write(serviceTable(services, styleFor(deps)));
      for (const { name, error } of services) if (error !== null) deps.stderr.write(`hawser: service "${name}": ${error}\n`);
    });
  service
    .command("get")
    .summary("show one service")
    .description("Shows a service's backends, its text and what became of it.")
    .addArgument(nameArgument())
    .addOption(outputOption())
    .addHelpText("after", examples([
      ["hawser service get web", "its backends, and its text below"],
      ["hawser service get web -o json | jq -r .text > web.yaml", "the text alone"],
    ]))
    .action(async (name: string, _options: unknown, command: Command) => {
      const found = await withAgent(command, deps, (agent) => agent.service(name));
      if (formatOf(command) === "json") return printJson(deps, withoutNull(found));
      const style = styleFor(deps);
      const { text, ...view } = found;
      deps.stdout.write(details([
        ["name", view.name],
        ["frontends", frontendsOf(view)],
        ["held by", holdersOf(view)],
        ["mode", view.mode],
        ["algorithm", view.algorithm],
        ["flows", view.flows ?? "not counted"],
        ["source", view.source],
        ["nodes", view.nodes.join(", ")],
        ["revision", view.revision],
        ["state", (statePaint(view, style) ?? ((word) => word))(view.state)],
        ...(view.error === null ? [] : [["error", view.error] as const]),
      ], style.dim));
      if (view.backends.length > 0) deps.stdout.write(`\n${backendTable(view.backends, style)}`);
      if (text !== "") deps.stdout.write(`\n${text}${text.endsWith("\n") ? "" : "\n"}`);
    });
}

function nameArgument(): CompletingArgument {
  return new CompletingArgument("<NAME>", "the service's name", "services");
}

/** `error?` as in the lists of policies. */
function withoutNull<View extends ServiceView>({ error, ...view }: View): object {
  return error === null ? view : { ...view, error };
}

function serviceTable(services: readonly ServiceView[], style: Style): string {
  return table<ServiceView>([
    { title: "NAME", value: (row) => row.name },
    { title: "STATE", value: (row) => row.state, paint: (row) => statePaint(row, style) },
    { title: "FRONTENDS", value: frontendsOf },
    { title: "BACKENDS", value: backendCounts, paint: (row) => (row.state !== "rejected" && !row.backends.some(({ state }) => state === "active") ? style.yellow : undefined) },
    { title: "MODE", value: (row) => row.mode },
    { title: "FLOWS", value: (row) => row.flows ?? "", right: true },
    { title: "SOURCE", value: (row) => row.source },
    { title: "NODES", value: (row) => row.nodes.join(", ") },
  ], services, style.dim);
}

function backendTable(backends: readonly BackendView[], style: Style): string {
  return table<BackendView>([
    { title: "BACKEND", value: (row) => row.identity },
    { title: "ADDRESS", value: (row) => endText(row) },
    { title: "NODE", value: (row) => row.node },
    { title: "WEIGHT", value: (row) => row.weight, right: true },
    { title: "STATE", value: (row) => row.state, paint: (row) => ({ active: style.green, draining: style.yellow, down: style.red })[row.state] },
  ], backends, style.dim);
}

function frontendsOf({ frontends }: ServiceView): string {
  return frontends.map((one) => `${endText(one)}/${one.protocol}`).join(", ");
}

/** Once where one node answers for all of them. */
function holdersOf({ frontends }: ServiceView): string {
  const holders = new Map(frontends.map(({ address, holder }) => [address, holder === "" ? "nobody" : holder]));
  const [first = "", ...more] = new Set(holders.values());
  return more.length === 0 ? first : [...holders].map(([address, holder]) => `${address}: ${holder}`).join(", ");
}

function endText({ address, port }: { readonly address: string; readonly port: number }): string {
  return `${address.includes(":") ? `[${address}]` : address}:${port}`;
}

/** `2 active, 1 down`, each backend once though it has addresses of both families. */
function backendCounts({ backends }: ServiceView): string {
  const states = [...new Map(backends.map(({ identity, state }) => [identity, state])).values()];
  const counts = (["active", "draining", "down"] as const).map((state) => [states.filter((one) => one === state).length, state] as const);
  return counts.filter(([count]) => count > 0).map(([count, state]) => `${count} ${state}`).join(", ") || "none";
}

function statePaint({ state }: Pick<ServiceView, "state">, style: Style): Paint | undefined {
  return { enforced: style.green, pending: style.yellow, rejected: style.red }[state];
}
