// Wrong usage, help, and the exit codes of the real program.
import { spawn } from "node:child_process";
import { createServer, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import test from "ava";
import { HawserError } from "../../../src/std/errors.ts";
import { hawser, program, serve, socketFor, type Ran } from "./harness.ts";

async function real(words: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ran> {
  const child = spawn(program, words, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, NO_COLOR: "1", ...env } });
  const ended = new Promise<number>((resolve) => {
    child.once("close", (code) => resolve(code ?? -1));
  });
  const [out, err, code] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  return { code, out, err };
}

const wrong: readonly { readonly words: readonly string[]; readonly says: RegExp }[] = [
  { words: ["statsu"], says: /unknown command 'statsu'\n\(Did you mean status\?\)/ },
  { words: ["endpoint", "lst"], says: /Did you mean one of list, ls\?/ },
  { words: ["--scket", "x"], says: /Did you mean --socket\?/ },
  { words: ["status", "--otput", "json"], says: /Did you mean --output\?/ },
  { words: ["frobnicate"], says: /unknown command 'frobnicate'\n`hawser --help` shows how/ },
  { words: ["-x"], says: /unknown option '-x'\n`hawser --help` shows how/ },
  { words: ["status", "-o", "yaml"], says: /Allowed choices are table, json/ },
  { words: ["status", "more"], says: /too many arguments/ },
  { words: ["endpoint", "get"], says: /missing required argument 'ID'\n`hawser endpoint get --help` shows how/ },
  { words: ["endpoint"], says: /Usage: hawser endpoint/ },
  { words: ["map", "dump", "hw_ct4", "-n", "-1"], says: /Expected a whole number/ },
  { words: ["port", "web", "http"], says: /argument 'http' is invalid for argument 'PORT'. Expected a port such as 80/ },
  { words: ["port", "web", "70000"], says: /Expected a port such as 80/ },
  { words: ["completion", "tcsh"], says: /Allowed choices are bash, zsh, fish/ },
  { words: ["policy", "apply"], says: /missing required argument 'FILE'/ },
  { words: ["policy", "trace", "web"], says: /missing required argument 'TO'/ },
  { words: ["observe", "--verdict", "lost"], says: /Expected forwarded, dropped or audit/ },
  { words: ["observe", "--since", "yesterday"], says: /Expected 30s, 5m, 2h, 1d/ },
  { words: ["observe", "--last", "-3"], says: /Expected a whole number/ },
  { words: ["help", "statsu"], says: /Did you mean status\?/ },
  { words: ["help", "port", "web"], says: /`port` has no command "web"/ },
  { words: ["agent", "--config"], says: /argument missing/ },
];

for (const { words, says } of wrong) {
  test(`wrong usage: hawser ${words.join(" ")} exits 2, with nothing on stdout and no agent asked`, async (t) => {
    const ran = await hawser("/none", words, { connect: () => t.fail("asked the agent") as never });
    t.is(ran.code, 2);
    t.is(ran.out, "");
    t.regex(ran.err, says);
  });
}

test("help and version go to stdout and exit 0", async (t) => {
  for (const words of [[], ["--help"], ["help"], ["help", "map", "dump"], ["endpoint", "get", "-h"], ["--version"], ["-V"]]) {
    const ran = await hawser("/none", words);
    t.is(ran.code, 0, words.join(" "));
    t.not(ran.out, "");
    t.is(ran.err, "");
  }
  t.is((await hawser("/none", ["--version"])).out, "hawser 1.2.3\n");
  t.is((await hawser("/none", ["help", "endpoint", "get"])).out, (await hawser("/none", ["endpoint", "get", "--help"])).out);
});

test("a verifier's log is cut to its ends, unless HAWSER_DEBUG is set", async (t) => {
  const log = Array.from({ length: 5000 }, (_, i) => `${i}: (b7) r${i % 10} = 0`).join("\n");
  const change = { runAgent: () => Promise.reject(new HawserError("KERNEL", `bpf_object__load: E2BIG\n${log}\nprocessed 1000001 insns`)) };
  const short = await hawser("/none", ["agent"], change);
  t.is(short.code, 1);
  t.true(short.err.startsWith("hawser: bpf_object__load: E2BIG\n"));
  t.regex(short.err, /4988 lines left out/);
  t.true(short.err.endsWith("processed 1000001 insns [KERNEL]\n"));
  t.true((await hawser("/none", ["agent"], { ...change, env: { HAWSER_DEBUG: "1" } })).err.includes("\n2500: (b7)"));
});

test("the socket: --socket before HAWSER_SOCKET, anywhere on the line", async (t) => {
  const socket = await serve(t);
  t.is((await hawser("/none", ["--socket", socket, "network", "list"])).code, 0);
  t.is((await hawser("/none", ["network", "list", "--socket", socket])).code, 0);
  t.is((await hawser(socket, ["network", "list"])).code, 0);
  t.is((await hawser(socket, ["network", "list", "--socket", "/none"])).code, 3);
});

test("the real program: 0 done, 2 wrong usage, 3 no agent", async (t) => {
  t.like(await real(["--help"]), { code: 0, err: "" });
  t.like(await real(["statsu"]), { code: 2, out: "" });
  const unreachable = await real(["endpoint", "list", "-o", "json", "--socket", await socketFor(t)]);
  t.is(unreachable.code, 3);
  t.is(unreachable.out, "");
  t.regex(unreachable.err, /^hawser: the agent does not answer on .*no such socket.*\[AGENT_UNREACHABLE\]\n$/);
});

test("the real program asks a real API and prints all of a long answer through a pipe", async (t) => {
  const many = Array.from({ length: 5000 }, (_, i) => ({ key: i, value: "x".repeat(200) }));
  const socket = await serve(t, { dumpMap: (_name, limit) => Promise.resolve(many.slice(0, limit)) });
  const ran = await real(["map", "dump", "hw_ct4", "-o", "jsonl"], { HAWSER_SOCKET: socket });
  t.is(ran.code, 0);
  t.is(ran.out.trimEnd().split("\n").length, 5000);
});

test("an agent that hangs: the command gives up with 3 and its process ends", async (t) => {
  const socket = await socketFor(t);
  const connections: Socket[] = [];
  const silent = createServer((connection) => void connections.push(connection.resume())).listen(socket);
  t.teardown(() => {
    silent.close();
    for (const connection of connections) connection.destroy();
  });
  t.like(await real(["status"], { HAWSER_SOCKET: socket }), { code: 3, out: "" });
});
