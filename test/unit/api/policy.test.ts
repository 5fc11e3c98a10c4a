// Policy over the API's socket: what is applied arrives whole, what is refused says why.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { connect, type ApiClient } from "../../../src/api/client.ts";
import { startApi, type ApiOptions } from "../../../src/api/server.ts";
import { HawserError } from "../../../src/std/errors.ts";
import { commands, identities, logTo, policies, policyText, queriesOf, recorded, trace } from "./world.ts";

async function agent(t: ExecutionContext, change: Partial<ApiOptions> = {}): Promise<ApiClient> {
  const folder = await mkdtemp(join(tmpdir(), "hawser-api-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const api = await startApi({ queries: queriesOf(), commands, socket: join(folder, "hawser.sock"), group: null, log: logTo([]), ...change });
  t.teardown(() => api.close());
  const client = await connect(api.socket);
  t.teardown(() => client[Symbol.dispose]());
  return client;
}

test("policies, identities and traces arrive unchanged", async (t) => {
  const client = await agent(t);
  t.deepEqual(await client.policies(), policies);
  t.deepEqual(await client.policy("shop"), { ...policies[0], text: policyText });
  t.deepEqual(await client.identities(), identities);
  t.deepEqual(await client.trace("web", "db:5432"), trace);
  await t.throwsAsync(client.policy("shup"), { code: "NOT_FOUND", message: /known are shop, old/ });
});

test("a trace without a port, decided by a default", async (t) => {
  const plain = { ...trace, decidedBy: "default:out", protocol: null, port: null, others: [] };
  const client = await agent(t, { queries: queriesOf({ trace: () => plain }) });
  t.deepEqual(await client.trace("web", "world"), plain);
});

test("documents are applied as they are, with the engine's report", async (t) => {
  const { commands: recording, applied, deleted } = recorded({
    applyPolicy: () => Promise.resolve({ applied: ["shop"], warnings: ["a.yaml:2:3: nothing is called \"wbe\""], revision: 41 }),
  });
  const client = await agent(t, { commands: recording });
  const command = { documents: [{ file: "/srv/a.yaml", text: "policy: größe\n" }, { file: "stdin", text: "" }], strict: true };
  t.deepEqual(await client.applyPolicy(command), { applied: ["shop"], warnings: ["a.yaml:2:3: nothing is called \"wbe\""], revision: 41 });
  t.deepEqual(applied, [command]);
  await client.deletePolicy("shop");
  t.deepEqual(deleted, ["shop"]);
});

test("a policy of 20 MiB fits, one of 30 is refused and the agent goes on", async (t) => {
  const { commands: recording, applied } = recorded();
  const client = await agent(t, { commands: recording });
  const text = (mib: number): string => "  - 203.0.113.0/24\n".repeat((mib * 1024 * 1024) / 19);
  await client.applyPolicy({ documents: [{ file: "large.yaml", text: text(20) }], strict: false });
  t.is(applied[0]?.documents[0]?.text.length, text(20).length);
  await t.throwsAsync(client.applyPolicy({ documents: [{ file: "huge.yaml", text: text(30) }], strict: false }), { instanceOf: HawserError });
  t.is(applied.length, 1);
  t.is((await client.policies()).length, 2);
});

test("a refused policy names every problem; more than a header carries are cut at a line", async (t) => {
  const problems = (count: number): string => Array.from({ length: count }, (_, i) => `größer.yaml:${i + 1}:5: 80800 is no port; ports are 1 to 65535`).join("\n");
  const refusing = (count: number): ApiOptions["commands"] => ({ ...commands, applyPolicy: () => Promise.reject(new HawserError("BAD_POLICY", problems(count))) });
  const few = await agent(t, { commands: refusing(50) });
  await t.throwsAsync(few.applyPolicy({ documents: [], strict: false }), { code: "BAD_POLICY", message: problems(50) });
  const many = await agent(t, { commands: refusing(5000) });
  const error = await t.throwsAsync(many.applyPolicy({ documents: [], strict: false }), { code: "BAD_POLICY" });
  t.regex(error?.message ?? "", /65535\n… and \d{4} more lines$/);
  const line = { ...commands, applyPolicy: () => Promise.reject(new HawserError("BAD_POLICY", "ß".repeat(100_000))) };
  await t.throwsAsync((await agent(t, { commands: line })).applyPolicy({ documents: [], strict: false }), { code: "BAD_POLICY", message: /^ß{8000,9000}…$/ });
});
