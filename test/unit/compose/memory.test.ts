// What keeps an agent small: libraries that it must not load, and a cache that knows all of its sources.
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import test from "ava";
import { stayLean } from "../../../src/compose/resident.ts";

const root = join(import.meta.dirname, "../../..");

/** What a process has loaded after these lines: Node's own modules, and files of CommonJS packages. */
function loadedBy(lines: string): readonly string[] {
  const program = `${lines}\nimport { createRequire } from "node:module";\n` +
    'console.log(JSON.stringify([...process.moduleLoadList, ...Object.values(createRequire(import.meta.url).cache).flatMap(({ id, children }) => [id, ...children.map((child) => child.id)])]));';
  return JSON.parse(execFileSync(process.execPath, ["--input-type=module", "--disable-warning=ExperimentalWarning", "-e", program], { cwd: root, encoding: "utf8" })) as string[];
}

test("an agent does not load Node's web client, which its servers do not need (R109)", (t) => {
  const loaded = loadedBy('await import("./src/compose/agent.ts"); await import("./src/api/flows/serve.ts");');
  t.true(loaded.includes("NativeModule http"), "the HTTP servers were loaded");
  t.deepEqual(loaded.filter((name) => name.includes("undici")), []);
});

test("asking Docker loads dockerode without SSH, protobuf's compiler and tar (R109)", (t) => {
  const loaded = loadedBy('const { openDocker } = await import("./src/docker/client.ts"); await openDocker("/dev/null").version().catch(() => undefined);');
  t.true(loaded.some((name) => name.endsWith("/docker-modem/lib/modem.js")), "dockerode was loaded");
  t.deepEqual(loaded.filter((name) => /node_modules\/(ssh2|protobufjs|tar-stream|bcrypt-pbkdf)\//.test(name)), []);
});

test("a process that is trimmed holds less of its code, and goes on (R109)", (t) => {
  const program = 'import { createKernel } from "./src/kernel/index.ts"; import { createHash } from "node:crypto";' +
    "const kernel = createKernel(); const work = () => createHash('sha256').update(JSON.stringify(Array.from({ length: 1e4 }, (_, at) => /1+/.exec(String(at))))).digest('hex');" +
    "const seen = work(); const before = process.memoryUsage.rss(); kernel.trim(); const after = process.memoryUsage.rss(); console.log(JSON.stringify([before, after, work() === seen]));";
  const [before = 0, after = 0, same] = JSON.parse(execFileSync(process.execPath, ["--input-type=module", "--disable-warning=ExperimentalWarning", "-e", program], { cwd: root, encoding: "utf8" })) as [number, number, boolean];
  t.true(after < before - 10 * 2 ** 20, `${before} to ${after} bytes`);
  t.true(same);
});

test("an agent is trimmed when it has grown by 16 MiB, not in every round", async (t) => {
  const mebibyte = 2 ** 20;
  let resident = 90 * mebibyte;
  let trims = 0;
  const { run } = stayLean({ trim: () => { trims++; resident = 60 * mebibyte; } }, () => resident);
  await run();
  t.is(trims, 1);
  resident = 75 * mebibyte;
  await run();
  t.is(trims, 1);
  resident = 77 * mebibyte;
  await run();
  t.is(trims, 2);
});
