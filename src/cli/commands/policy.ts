// `hawser policy`: who may talk to whom: what is in force, and how to change it.
import type { Command } from "commander";
import type { ApiClient, ApplyDocuments, PolicyReport, PolicyView } from "../../api/client.ts";
import { withAgent } from "../agent-socket.ts";
import { CompletingArgument } from "../completing.ts";
import type { CliDependencies } from "../dependencies.ts";
import { examples } from "../help.ts";
import { formatOf, outputOption, printJson } from "../output.ts";
import { asTheyWrote, filesArgument, readWrittenFiles, strictOption } from "../written-files.ts";
import { styleFor, type Paint, type Style } from "../style.ts";
import { details, many, table } from "../table.ts";
import { addPolicyCheck } from "./policy-check.ts";
import { addPolicyTrace } from "./policy-trace.ts";

export function addPolicy(program: Command, deps: CliDependencies): void {
  const policy = program
    .command("policy")
    .helpCommand(false)
    .summary("who may talk to whom")
    .description("Policies say who may talk to whom. docs/policy.md tells the language. Files in /etc/hawser/policy.d (`policy.directory`) are in force by themselves.")
    .addHelpText("after", [
      "",
      "A policy:",
      "  policy: shop               # its name",
      "  for: { network: shop }     # whom the defaults are for",
      "  default: { in: deny }      # what no rule speaks of",
      "  allow:",
      "    - world -> web:80        # FROM -> TO:PORTS; also deny: and audit:",
      "    - web -> db:5432",
    ].join("\n"));
  policy
    .command("apply")
    .summary("put policies in force")
    .description(
      "Puts the policies of all files in force, or of none: when one is wrong, or one of its tests fails, what was in force stays. "
      + "A policy that is there already is replaced.",
    )
    .addArgument(filesArgument("policy"))
    .addOption(strictOption())
    .addOption(outputOption())
    .addHelpText("after", examples([
      ["hawser policy apply shop.yaml", "one file, which may hold several policies"],
      ["hawser policy apply compose.yaml", "the x-hawser part of a Compose file"],
      ["hawser policy apply policies/", "every *.yaml and *.yml in a folder"],
    ]))
    .action(async (words: readonly string[], options: { strict?: boolean }, command: Command) => {
      const { documents, asWritten } = await readWrittenFiles(words, "policy", deps);
      const report = await asTheyWrote(asWritten, withAgent(command, deps, (agent) => applyTo(agent, { documents, strict: options.strict === true })));
      const warnings = report.warnings.map(asWritten);
      for (const warning of warnings) deps.stderr.write(`hawser: warning: ${warning}\n`);
      if (formatOf(command) === "json") printJson(deps, { ...report, warnings } satisfies PolicyReport);
      else deps.stdout.write(`applied ${report.applied.join(", ")} (revision ${report.revision})\n`);
    });
  policy
    .command("delete")
    .alias("rm")
    .summary("take a policy out of force")
    .description("Takes a policy out of force. One whose file stands in the watched folder is deleted by deleting the file; if that was the folder's last, by both.")
    .addArgument(nameArgument())
    .addHelpText("after", examples([["hawser policy delete shop", "its containers are then treated as if it had never been"]]))
    .action(async (name: string, _options: unknown, command: Command) => {
      await withAgent(command, deps, (agent) => agent.deletePolicy(name));
      deps.stderr.write(`hawser: policy "${name}" is deleted\n`);
    });
  policy
    .command("list")
    .alias("ls")
    .summary("list policies")
    .description("Lists every policy: those of files, applied ones, and those of containers' own labels. COVERS counts containers, REVISION the policy's own texts.")
    .addOption(outputOption())
    .addHelpText("after", examples([
      ["hawser policy list", "one line each"],
      ["hawser policy list -o json | jq '.[] | select(.state == \"rejected\")'", "what is not in force, with the error"],
    ]))
    .action(async (_options: unknown, command: Command) => {
      const policies = await withAgent(command, deps, (agent) => agent.policies());
      if (formatOf(command) === "json") return printJson(deps, policies.map(withoutNull));
      deps.stdout.write(policyTable(policies, styleFor(deps)));
      for (const { name, error } of policies) if (error !== null) deps.stderr.write(`hawser: policy "${name}": ${error}\n`);
    });
  policy
    .command("get")
    .summary("show one policy")
    .description("Shows a policy's text and what became of it.")
    .addArgument(nameArgument())
    .addOption(outputOption())
    .addHelpText("after", examples([
      ["hawser policy get shop", "its text, with what is known of it above"],
      ["hawser policy get shop -o json | jq -r .text > shop.yaml", "the text alone"],
    ]))
    .action(async (name: string, _options: unknown, command: Command) => {
      const found = await withAgent(command, deps, (agent) => agent.policy(name));
      if (formatOf(command) === "json") return printJson(deps, withoutNull(found));
      const style = styleFor(deps);
      const { text, ...view } = found;
      deps.stdout.write(details([
        ["name", view.name],
        ["source", view.source],
        ["revision", view.revision],
        ["rules", view.rules],
        ["covers", many(view.endpoints, "container")],
        ["state", (statePaint(view, style) ?? ((word) => word))(view.state)],
        ...(view.error === null ? [] : [["error", view.error] as const]),
      ], style.dim));
      deps.stdout.write(`\n${text}${text.endsWith("\n") ? "" : "\n"}`);
    });
  addPolicyCheck(policy, deps);
  addPolicyTrace(policy, deps);
}

/** Two files whose policies have one name would undo each other in silence: a Compose project is easily called like a network. */
async function applyTo(agent: ApiClient, request: ApplyDocuments): Promise<PolicyReport> {
  const before = await agent.policies();
  const report = await agent.applyPolicy(request);
  const now = await agent.policies();
  const sourceIn = (list: readonly PolicyView[], name: string): string | undefined => list.find((one) => one.name === name)?.source.replace(/^apply /, "");
  const warnings = report.applied.flatMap((name) => {
    const [was, is] = [sourceIn(before, name), sourceIn(now, name)];
    return was === undefined || is === undefined || was === is ? [] : [`policy "${name}" of ${was} is replaced by that of ${is}; to have both, give one another name`];
  });
  return { ...report, warnings: [...report.warnings, ...warnings] };
}

function nameArgument(): CompletingArgument {
  return new CompletingArgument("<NAME>", "the policy's name", "policies");
}

/** The contract's `error?`. */
function withoutNull<View extends PolicyView>({ error, ...view }: View): object {
  return error === null ? view : { ...view, error };
}

function policyTable(policies: readonly PolicyView[], style: Style): string {
  return table<PolicyView>([
    { title: "NAME", value: (row) => row.name },
    { title: "STATE", value: (row) => row.state, paint: (row) => statePaint(row, style) },
    { title: "RULES", value: (row) => row.rules, right: true },
    { title: "COVERS", value: (row) => row.endpoints, right: true },
    { title: "REVISION", value: (row) => row.revision, right: true },
    { title: "SOURCE", value: (row) => row.source },
  ], policies, style.dim);
}

function statePaint(policy: Pick<PolicyView, "state">, style: Style): Paint | undefined {
  return { enforced: style.green, pending: style.yellow, rejected: style.red }[policy.state];
}
