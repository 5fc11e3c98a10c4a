// Small helpers of the benchmarks: commands in namespaces, and a private host to do it all in.
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("..", import.meta.url));
const insideVariable = "HAWSER_BENCH_INSIDE";

/**
 * Runs `main` in fresh network and mount namespaces: this very file is started again inside them.
 * Nothing outside is touched, and all that is made goes with the process. `as`: Node's options and what is in its environment beside what is there.
 */
export async function inPrivateHost(file: string, main: () => Promise<void>, as: { readonly options: readonly string[]; readonly env: Readonly<Record<string, string>> } = { options: [], env: {} }): Promise<void> {
  if (process.env[insideVariable] !== undefined) return main();
  const args = ["--net", "--mount", "--propagation", "private", process.execPath, ...as.options, fileURLToPath(file), ...process.argv.slice(2)];
  const { status } = spawnSync("unshare", args, { stdio: "inherit", env: { ...process.env, ...as.env, [insideVariable]: "1" } });
  process.exitCode = status ?? 1;
}

/** @throws with what the command wrote to stderr */
export function run(command: string): string {
  const [program = "", ...args] = command.split(" ");
  return execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

/** `nsenter` rather than `ip netns exec`, which mounts a new /sys. */
export function runIn(namespace: string, command: string): string {
  return run(`nsenter --net=/run/netns/${namespace} ${command}`);
}

/** Ends with us (the program asks for it) or when disposed. */
export function start(namespace: string, command: string): Disposable {
  const [program = "", ...args] = command.split(" ");
  const child = spawn("nsenter", [`--net=/run/netns/${namespace}`, program, ...args], { stdio: "ignore" });
  return { [Symbol.dispose]: () => void child.kill("SIGKILL") };
}

/** Compiles a helper that stands beside this file. Returns its path. */
export function compile(name: string): string {
  const folder = join(root, "build/bench");
  mkdirSync(folder, { recursive: true });
  const program = join(folder, name);
  run(`gcc -O2 -Wall -Wextra -o ${program} ${join(root, "bench", `${name}.c`)}`);
  return program;
}

/** The load of the benchmarks of throughput. Returns its path. */
export function compileTraffic(): string {
  return compile("traffic");
}

/** @throws Error that says which Debian packages have the programs that are missing. `packages`: by program. */
export function needs(packages: Readonly<Record<string, string>>): void {
  const missing = Object.entries(packages).filter(([program]) => spawnSync("sh", ["-c", `command -v ${program}`]).status !== 0);
  if (missing.length === 0) return;
  throw new Error(`missing: ${missing.map(([program]) => program).join(", ")}; get them with \`apt-get install ${[...new Set(missing.map(([, name]) => name))].join(" ")}\``);
}
