// `hawser doctor`: what on this host helps or hinders Hawser, and the mend for each finding.
import type { Command } from "commander";
import type { Finding } from "../../std/finding.ts";
import { configOption } from "../completing.ts";
import type { CliDependencies } from "../dependencies.ts";
import { Ended } from "../exit.ts";
import { examples } from "../help.ts";
import { formatOf, outputOption, printJson } from "../output.ts";
import { styleFor, type Style } from "../style.ts";
import { wrap } from "../table.ts";

export function addDoctor(program: Command, deps: CliDependencies): void {
  program
    .command("doctor")
    .summary("check this host, and say how to mend what is wrong")
    .description(
      "Checks kernel, BPF, cgroups, uplinks, Docker, and what else may be in the way (firewalls, network managers, other BPF users, machines with a service's address). "
      + "Works before installation and with no agent. Changes nothing. Exits 1 when something keeps Hawser from working.",
    )
    .addOption(configOption())
    .addOption(outputOption())
    .addHelpText("after", examples([
      ["hawser doctor", "every check, with the mend below what needs one"],
      ["hawser doctor -o json | jq '.[] | select(.state != \"ok\")'", "only what needs attention"],
    ]))
    .action(async (options: { config?: string }, command: Command) => {
      const findings = await deps.doctor({ configPath: options.config });
      if (formatOf(command) === "json") printJson(deps, findings);
      else deps.stdout.write(doctorText(findings, styleFor(deps), deps.columns ?? 120));
      if (findings.some((finding) => finding.state === "fail")) throw new Ended(1);
    });
}

export function doctorText(findings: readonly Finding[], style: Style, width: number): string {
  const nameWidth = Math.max(0, ...findings.map((finding) => finding.check.length));
  const marks = { ok: style.green("✓"), warn: style.yellow("!"), fail: style.red("✗") } as const;
  const room = Math.max(30, width - nameWidth - 7);
  const indent = " ".repeat(nameWidth + 7);
  const lines = findings.flatMap((finding) => [
    ...wrap(finding.detail, room).map((line, i) => (i === 0 ? `  ${marks[finding.state]} ${finding.check.padEnd(nameWidth)}   ${line}` : indent + line)),
    ...(finding.mend === "" ? [] : wrap(finding.mend, room - 2).map((line, i) => `${indent}${i === 0 ? style.bold("→ ") : "  "}${line}`)),
  ]);
  const count = (state: Finding["state"]): number => findings.filter((finding) => finding.state === state).length;
  const summary = count("fail") > 0
    ? style.red(`${count("fail")} of ${findings.length} checks failed`)
    : style.green(`nothing keeps Hawser from working (${findings.length} checks)`);
  const warnings = count("warn") > 0 ? `, ${style.yellow(`${count("warn")} to look at`)}` : "";
  return `${lines.map((line) => line.trimEnd()).join("\n")}\n\n${summary}${warnings}\n`;
}
