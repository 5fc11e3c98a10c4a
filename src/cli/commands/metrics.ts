// `hawser metrics`: the text that the agent also serves to Prometheus.
import type { Command } from "commander";
import { withAgent } from "../agent-socket.ts";
import type { CliDependencies } from "../dependencies.ts";
import { examples } from "../help.ts";

export function addMetrics(program: Command, deps: CliDependencies): void {
  program
    .command("metrics")
    .summary("the metrics, as Prometheus reads them")
    .description("Prints the Prometheus text that the agent also serves on `metrics.listen`. docs/metrics.md says what each metric is good for.")
    .addHelpText("after", examples([
      ["hawser metrics", "everything"],
      ["hawser metrics | grep ^hawser_drops_total", "what was dropped, and why"],
    ]))
    .action(async (_options: unknown, command: Command) => {
      deps.stdout.write(await withAgent(command, deps, (agent) => agent.metrics()));
    });
}
