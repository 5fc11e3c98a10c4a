// `hawser agent`: runs the agent in the foreground.
import type { Command } from "commander";
import { configOption } from "../completing.ts";
import type { CliDependencies } from "../dependencies.ts";
import { examples } from "../help.ts";

export function addAgent(program: Command, deps: CliDependencies): void {
  program
    .command("agent")
    .summary("run the agent in the foreground")
    .description(
      "Runs the agent in the foreground until SIGTERM or SIGINT. It logs JSON lines to stderr and tells systemd when it is ready. "
      + "Packets keep flowing while no agent runs; a starting one adopts everything it finds.",
    )
    .addOption(configOption())
    .addHelpText("after", examples([
      ["hawser agent", "with /etc/hawser/hawser.yaml, or the defaults"],
      ["hawser agent --config lab.yaml", "a second agent, on another host of the lab"],
    ]))
    .action(async (options: { config?: string }) => {
      await deps.runAgent({ configPath: options.config });
    });
}
