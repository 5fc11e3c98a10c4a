// A program that keeps its sockets while the tables change: one command at a time, see sock-lb-session.py.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";

const script = join(import.meta.dirname, "sock-lb-session.py");

export interface Session extends AsyncDisposable {
  do(command: string): Promise<Readonly<Record<string, unknown>>>;
}

/** In the network namespace of that file, and in the cgroup. */
export function openSession(namespace: string, cgroup: string): Session {
  const child = spawn("sh", ["-c", `echo $$ > ${cgroup}/cgroup.procs && exec nsenter --net=${namespace} python3 ${script}`], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  return {
    do: async (command) => {
      child.stdin.write(`${command}\n`);
      const { value, done } = await lines.next();
      if (done === true) throw new Error(`the program ended at "${command}"`);
      return JSON.parse(value) as Readonly<Record<string, unknown>>;
    },
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.stdin.end();
      await ended;
    },
  };
}
