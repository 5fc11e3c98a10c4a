// `hawser policy check`: reads policy files and runs their tests, with no agent.
import type { Command } from "commander";
import type { EndpointView, IdentityView } from "../../api/client.ts";
import type { Identity, IdentityLabels, Place, Policy, PolicyFacts } from "../../policy/types.ts";
import { HawserError } from "../../std/errors.ts";
import { parseCidr, type Cidr } from "../../std/ip.ts";
import { chosenSocket, defaultSocket } from "../agent-socket.ts";
import type { CliDependencies } from "../dependencies.ts";
import { Ended } from "../exit.ts";
import { examples } from "../help.ts";
import { formatOf, outputOption, printJson } from "../output.ts";
import { filesArgument, readWrittenFiles, strictOption } from "../written-files.ts";
import { styleFor } from "../style.ts";
import { many } from "../table.ts";

interface Remark {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly message: string;
}

interface Checked {
  readonly policies: readonly { readonly name: string; readonly file: string; readonly line: number; readonly rules: number; readonly tests: number }[];
  /** One line each, with its place. */
  readonly problems: readonly Remark[];
  readonly warnings: readonly Remark[];
  readonly passed: number;
}

export function addPolicyCheck(policy: Command, deps: CliDependencies): void {
  policy
    .command("check")
    .summary("read policy files and run their tests")
    .description(
      "Reads the files as `policy apply` does and runs their own tests, with no agent; nothing changes. Exits 1 when something is wrong, naming file, "
      + "line, column and reason. Tests are judged as a host with the default configuration would. Where an agent answers, it is asked which names "
      + "there are, so that only unknown ones are warned of.",
    )
    .addArgument(filesArgument("policy"))
    .addOption(strictOption())
    .addOption(outputOption())
    .addHelpText("after", examples([
      ["hawser policy check shop.yaml", "before it is applied, or in CI"],
      ["hawser policy check compose.yaml policies/", "several at once, as they would be applied together"],
      ["hawser policy check - < shop.yaml", "from standard input"],
    ]))
    .action(async (words: readonly string[], options: { strict?: boolean }, command: Command) => {
      const { documents, asWritten } = await readWrittenFiles(words, "policy", deps);
      const checked = await check(documents, options.strict === true, await knownTo(command, deps));
      const shown = (remark: Remark): Remark => ({ ...remark, file: asWritten(remark.file), message: asWritten(remark.message) });
      const [problems, warnings] = [checked.problems.map(shown), checked.warnings.map(shown)];
      if (formatOf(command) === "json") {
        printJson(deps, { ok: problems.length === 0, ...checked, policies: checked.policies.map((one) => ({ ...one, file: asWritten(one.file) })), problems, warnings });
        if (problems.length > 0) throw new Ended(1);
        return;
      }
      for (const warning of warnings) deps.stderr.write(`hawser: warning: ${lineOf(warning)}\n`);
      if (problems.length > 0) throw new HawserError("BAD_POLICY", problems.map(lineOf).join("\n"));
      const style = styleFor(deps);
      for (const { name, file, rules, tests } of checked.policies) {
        deps.stdout.write(`${style.green("✓")} ${name} (${asWritten(file)}): ${many(rules, "rule")}, ${tests === 0 ? "no tests" : `${many(tests, "test")} passed`}\n`);
      }
    });
}

/** Who is there, for warnings only: what a file's tests say must not depend on the machine. */
type Known = Pick<PolicyFacts, "identities" | "networks"> & { readonly names: readonly string[]; readonly subnets: ReadonlyMap<string, readonly Cidr[]> };

const nobody: Known = { identities: [], networks: new Map(), names: [], subnets: new Map() };

async function check(documents: readonly { readonly file: string; readonly text: string }[], strict: boolean, known: Known): Promise<Checked> {
  const [{ readPolicies }, { runTests }, { warningsOf }, { PolicyProblems }] = await Promise.all([
    import("../../policy/read.ts"), import("../../policy/tests.ts"), import("../../policy/warnings.ts"), import("../../policy/problems.ts"),
  ]);
  let policies: readonly Policy[];
  try {
    policies = readPolicies(documents);
  } catch (error) {
    if (!(error instanceof PolicyProblems)) throw error;
    return { policies: [], problems: error.problems.map(({ place, message }) => remark(place, message)), warnings: [], passed: 0 };
  }
  const results = runTests(policies, unknownHost);
  const findings = warningsOf(policies, { ...unknownHost, ...known }, { strict, names: known.names, subnets: known.subnets });
  return {
    policies: policies.map(({ name, place, rules, tests }) => ({ name, file: place.file, line: place.line, rules: rules.length, tests: tests.length })),
    problems: [
      ...findings.filter(({ severity }) => severity === "error").map(({ place, message }) => remark(place, message)),
      ...results.filter(({ ok }) => !ok).map(({ test, message }) => remark(test.place, message)),
    ],
    warnings: findings.filter(({ severity }) => severity === "warning").map(({ place, message }) => remark(place, message)),
    passed: results.filter(({ ok }) => ok).length,
  };
}

/** The place stands in front of some messages already; it is told once. */
function remark({ file, line, column }: Place, message: string): Remark {
  const place = `${file}:${line}:${column}: `;
  return { file, line, column, message: message.startsWith(place) ? message.slice(place.length) : message };
}

function lineOf({ file, line, column, message }: Remark): string {
  return `${file}:${line}:${column}: ${message}`;
}

/** A host with the default configuration on which nothing runs. */
const unknownHost: PolicyFacts = {
  identities: [], host: [], nodes: [], lan: [], pool: [], poolByAddress: true, networks: new Map(), hostServices: [2375, 2376], betweenNetworks: "deny", published: "allow", untilIdentified: "deny",
};

/** Without an agent, or with one that does not know the calls, nobody is known. */
async function knownTo(command: Command, deps: CliDependencies): Promise<Known> {
  try {
    using agent = await deps.connect(chosenSocket(command, deps) ?? defaultSocket);
    const [identities, networks, endpoints] = await Promise.all([agent.identities(), agent.networks(), agent.endpoints(true)]);
    return {
      identities: endpoints.map((endpoint) => carriedBy(endpoint, identities)),
      networks: new Map(networks.map(({ name, internal }) => [name, { internal, icc: true }])),
      subnets: new Map(networks.map(({ name, ipv4, ipv6 }) => [name, [ipv4, ipv6].filter((subnet) => subnet !== "").map((subnet) => parseCidr(subnet))])),
      names: [...new Set(endpoints.map(({ name }) => name).filter((name) => name !== ""))],
    };
  } catch (error) {
    if (error instanceof HawserError) return nobody;
    throw error;
  }
}

/** With its name, which the agent leaves out as long as no rule in force refers to it; the file that is checked may. */
function carriedBy({ identity: id, name, network }: EndpointView, identities: readonly IdentityView[]): Identity {
  const found = identities.find((identity) => identity.id === id);
  const { labels } = identityOf(found ?? { id, labels: { network }, endpoints: 0 });
  return { id, labels: { ...labels, name, ...(labels.doubtful && { doubtful: { ...labels.doubtful, name } }) } };
}

const [ownLabel, doubtfulLabel] = ["label:", "doubtful:"];

/** From the labels as they are shown. */
function identityOf({ id, labels }: IdentityView): Identity {
  const { doubtful = [], sure = [] } = Object.groupBy(Object.entries(labels), ([key]) => (key.startsWith(doubtfulLabel) ? "doubtful" : "sure"));
  const supposed = [...sure, ...doubtful.map(([key, value]) => [key.slice(doubtfulLabel.length), value] as const)];
  return { id, labels: { ...labelsFrom(sure), ...(doubtful.length > 0 && { doubtful: labelsFrom(supposed) }) } };
}

function labelsFrom(shown: readonly (readonly [key: string, value: string])[]): IdentityLabels {
  const labels: Readonly<Record<string, string>> = Object.fromEntries(shown);
  const { network = "", project = null, service = null, name = null, ...rest } = labels;
  const own = Object.fromEntries(Object.entries(rest).map(([key, value]) => [key.startsWith(ownLabel) ? key.slice(ownLabel.length) : key, value]));
  return { network, project, service, name, own };
}
