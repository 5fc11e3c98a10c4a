// Asks an agent in this process, in the command line's own words: a process for each look would cost half a second of a core that the agent needs.
import { connect } from "../../src/api/client.ts";
import { run } from "../../src/cli/program.ts";
import { patience, type Output } from "./run.ts";

const never = (): never => {
  throw new Error("a lab asks an agent that runs");
};

/** `hawser …` on the agent's socket; for what only looks. */
export async function ask(socket: string, words: readonly string[]): Promise<Output> {
  let [stdout, stderr] = ["", ""];
  const code = await run(words, {
    version: "",
    runAgent: never,
    sweep: never,
    doctor: never,
    // A busy agent may take its time; one that is not there is told of at once.
    connect: () => connect(socket, { deadline: 20_000 * patience }),
    stdout: { write: (text) => (stdout += text) },
    stderr: { write: (text) => (stderr += text) },
    readInput: () => Promise.resolve(""),
    now: () => Date.now(),
    env: {},
    isTTY: false,
    columns: undefined,
  });
  return { code, stdout, stderr };
}
