// Completion: what is offered at each place, and bash with the real script and the real program.
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import test from "ava";
import { hawser, program, serve, socketFor } from "./harness.ts";

async function offered(socket: string, ...words: readonly string[]): Promise<readonly string[]> {
  const ran = await hawser(socket, ["__complete", ...words]);
  return ran.out.split("\n").filter(Boolean).map((line) => line.split("\t")[0] ?? "");
}

test("commands, subcommands and options come from the command tree, with no agent", async (t) => {
  const socket = await socketFor(t);
  t.deepEqual(await offered(socket, ""), ["status", "endpoint", "port", "network", "node", "identity", "observe", "map", "metrics", "policy", "service", "agent", "doctor", "sweep", "completion", "help"]);
  t.deepEqual(await offered(socket, "s"), ["status", "service", "sweep"]);
  t.deepEqual(await offered(socket, "map", ""), ["list", "dump"]);
  t.deepEqual(await offered(socket, "help", "map", "d"), ["dump"]);
  t.deepEqual(await offered(socket, "map", "dump", "--"), ["--limit", "--output", "--socket", "--help"]);
  t.deepEqual(await offered(socket, "completion", ""), ["bash", "zsh", "fish"]);
  t.deepEqual(await offered(socket, "status", "nothing", ""), []);
});

test("an option's values: its choices, files, or nothing that we could know", async (t) => {
  const socket = await socketFor(t);
  t.deepEqual(await offered(socket, "status", "-o", ""), ["table", "json"]);
  t.deepEqual(await offered(socket, "map", "dump", "x", "--output", "json"), ["json", "jsonl"]);
  t.deepEqual(await offered(socket, "status", "--output=j"), ["--output=json"]);
  t.deepEqual(await offered(socket, "status", "--output", "=", "j"), ["json"]);
  t.deepEqual(await offered(socket, "agent", "--config", "/etc/"), [":files"]);
  t.deepEqual(await offered(socket, "--socket", ""), [":files"]);
  t.deepEqual(await offered(socket, "map", "dump", "x", "-n", ""), []);
});

test("names come from the agent that the line names, and none without one", async (t) => {
  const socket = await serve(t);
  t.deepEqual(await offered(socket, "endpoint", "get", ""), ["web", "773333333333", "db"]);
  t.deepEqual(await offered(socket, "port", "d"), ["db"]);
  t.deepEqual(await offered(socket, "network", "get", ""), ["shop", "back"]);
  t.deepEqual(await offered(socket, "node", "get", "edge-"), ["edge-1", "edge-2", "edge-3"]);
  t.deepEqual(await offered(socket, "map", "dump", "hw_c"), ["hw_ct4"]);
  t.deepEqual(await offered(socket, "policy", "get", ""), ["shop", "old"]);
  t.deepEqual(await offered(socket, "policy", "delete", "o"), ["old"]);
  t.deepEqual(await offered(socket, "policy", "trace", ""), ["web", "db", "cache", "host", "world"]);
  t.deepEqual(await offered(socket, "policy", "trace", "web", "w"), ["web", "world"]);
  t.deepEqual(await offered(socket, "observe", "--to", "d"), ["db"]);
  t.deepEqual(await offered(socket, "policy", "apply", "a.yaml", ""), [":files"]);
  t.deepEqual(await offered("/none", "--socket", socket, "map", "dump", "-o", "json", ""), ["hw_endpoints", "hw_metrics", "hw_ct4"]);
  t.deepEqual(await hawser(await socketFor(t), ["__complete", "map", "dump", ""]), { code: 0, out: "", err: "" });
});

test("an agent that is slow to answer does not hold the prompt", async (t) => {
  const socket = await serve(t, { maps: () => new Promise(() => undefined) });
  const before = Date.now();
  t.deepEqual(await offered(socket, "map", "dump", ""), []);
  t.true(Date.now() - before < 4000);
});

test("bash: the script registers itself and offers what the program says", async (t) => {
  const socket = await serve(t);
  const script = `
    source <("$0" completion bash)
    complete -p hawser
    try() { COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); _hawser; echo "\${COMPREPLY[*]}"; }
    try "$0" st
    try "$0" endpoint get d
    try "$0" map dump hw_ct4 --output = jsonl
    try "$0" nothing ''
  `;
  const { stdout, stderr } = await promisify(execFile)("bash", ["-c", script, program], { env: { ...process.env, HAWSER_SOCKET: socket } });
  t.is(stderr, "");
  t.deepEqual(stdout.split("\n").slice(0, -1), ["complete -F _hawser hawser", "status", "db", "jsonl", ""]);
});

test("the scripts name no path: they call the program as it was typed", async (t) => {
  for (const shell of ["bash", "zsh", "fish"]) {
    const { out } = await hawser("/none", ["completion", shell]);
    t.regex(out, /__complete/);
    t.false(out.includes(import.meta.dirname.split("/test/")[0] ?? ""));
  }
});
