// The only file that builds everything: the command line's entry, which loads the rest when a command needs it.
import type { PartFinding } from "./engine/types.ts";
import { version } from "./compose/installation.ts";
import type { CliDependencies } from "./cli/dependencies.ts";
import { leave, processIo } from "./cli/process.ts";
import { run } from "./cli/program.ts";

const dependencies: CliDependencies = {
  ...processIo(),
  version: version(),
  runAgent: async ({ configPath }) => {
    const [{ loadConfig }, { runAgent }, { agentLog, stopSignal }] = await Promise.all([
      import("./config/load.ts"), import("./compose/agent.ts"), import("./compose/process.ts"),
    ]);
    const log = agentLog(process.env);
    await runAgent({ config: loadConfig(configPath), log, env: process.env, signal: stopSignal(log) });
  },
  sweep: async ({ configPath, all, force }) => {
    const [{ loadConfig }, { sweepAlone }, { agentLog }] = await Promise.all([
      import("./config/load.ts"), import("./compose/sweep.ts"), import("./compose/process.ts"),
    ]);
    return sweepAlone(loadConfig(configPath), { all, force }, agentLog(process.env));
  },
  doctor: async ({ configPath }) => {
    const [{ loadConfig }, { examine }, { realHost }, { addon, objects }, { listIpsecPolicies }] = await Promise.all([
      import("./config/load.ts"), import("./doctor/examine.ts"), import("./doctor/host.ts"), import("./compose/installation.ts"), import("./kernel/index.ts"),
    ]);
    // The addon may not be built yet.
    const ipsec = () => listIpsecPolicies().catch(() => undefined);
    return examine(loadConfig(configPath), { addon, objects }, { ...realHost, ipsec, contested: (socket) => contested(socket).catch(() => undefined) });
  },
  connect: async (socket) => (await import("./api/client.ts")).connect(socket),
};

async function contested(socket: string): Promise<readonly PartFinding[]> {
  using agent = await dependencies.connect(socket);
  return (await agent.status()).parts.find(({ part }) => part === "addresses")?.findings ?? [];
}

await leave(await run(process.argv.slice(2), dependencies));
