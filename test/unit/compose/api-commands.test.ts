// What a deletion by hand means for the watched directory, of which nothing changed on the disk.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { apiCommands } from "../../../src/compose/api-commands.ts";
import { openWatchedDirectory } from "../../../src/compose/watched-directory.ts";
import { createLog } from "../../../src/std/log.ts";
import { service, shop, text } from "../engine/shop.ts";

const quiet = createLog(() => {}, () => 0);
const policy = "policy: shop\nfor: all\ndefault: { in: deny }\n";

test("what is deleted after its directory lost all its files is not said to stay in force, and what made way for a file is its file's, both at once", async (t) => {
  const at = mkdtempSync(join(tmpdir(), "hawser-service-"));
  t.teardown(() => rmSync(at, { recursive: true, force: true }));
  const { engine } = await shop();
  const reads: Promise<void>[] = [];
  const track = (read: Promise<void>): Promise<void> => (reads.push(read), read);
  const settled = (): Promise<unknown> => Promise.all([...reads, engine.idle()]);
  const policies = openWatchedDirectory(at, "policy", (reading) => engine.commands.syncPolicyDirectory(reading), quiet);
  const services = openWatchedDirectory(at, "service", (reading) => engine.commands.syncServiceDirectory(reading), quiet);
  const commands = apiCommands(engine, undefined, {
    policies: { read: () => track(policies.read()) }, services: { read: () => track(services.read()) },
  });
  const problems = async (): Promise<readonly string[]> => (await engine.queries.status()).problems;
  for (const [directory, one, deleted] of [[services, text(), (): Promise<void> => commands.deleteService("web")], [policies, policy, (): Promise<void> => commands.deletePolicy("shop")]] as const) {
    writeFileSync(join(at, "one.yaml"), one);
    await directory.read();
    rmSync(join(at, "one.yaml"));
    await directory.read();
    t.regex((await problems()).join(), /holds no \w+ any more, and held some; they stay in force until `hawser \w+ delete`: (web|shop)/);
    await deleted();
    await settled();
    t.deepEqual(await problems(), []);
  }
  await commands.applyService(service());
  writeFileSync(join(at, "mine.yaml"), text("", "web", "203.0.113.11:80"));
  await services.read();
  t.is(engine.queries.services().find(({ name }) => name === "mine.yaml")?.state, "rejected");
  await commands.deleteService("web");
  await settled();
  t.deepEqual(engine.queries.services().map(({ name, state, source }) => [name, state, source]), [["web", "enforced", `directory ${join(at, "mine.yaml")}`]]);
});

test("what a sweep removed is told", async (t) => {
  const { engine } = await shop();
  const nothing = { read: () => Promise.resolve() };
  t.deepEqual(await apiCommands(engine, undefined, { policies: nothing, services: nothing }).sweep(), []);
});
