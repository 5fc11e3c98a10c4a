// What becomes of files that are right, beside some that are wrong.
import test from "ava";
import { shop, text } from "./shop.ts";

type Sync = (files: Readonly<Record<string, string>>) => Promise<void>;

async function directory(): Promise<Awaited<ReturnType<typeof shop>> & { readonly sync: Sync }> {
  const all = await shop();
  const sync: Sync = (files) => all.engine.commands.syncServiceDirectory({
    directory: "/d", unreadable: {}, documents: Object.entries(files).map(([name, one]) => ({ file: `/d/${name}`, text: one })),
  });
  return { ...all, sync };
}

test("what a changed file leaves as it was stays in force beside a file that is wrong", async (t) => {
  const { host, sync } = await directory();
  const [a, b, moved, c] = [text("", "a", "203.0.113.11:80"), text("", "b", "203.0.113.12:80"), text("", "b", "203.0.113.13:80"), text("", "c", "203.0.113.14:80")];
  const inForce = (): readonly string[] | undefined => host.services?.map(({ name }) => name);
  await sync({ "one.yaml": `${a}---\n${b}`, "two.yaml": c });
  await sync({ "one.yaml": `${a}---\n${moved}`, "two.yaml": "service: new\n" });
  t.deepEqual(inForce(), ["a", "b", "c"]);
  await sync({ "one.yaml": `${a}---\n${moved}`, "two.yaml": c });
  t.deepEqual(inForce(), ["a", "b", "c"]);
});

test("a change of a file is in force though a new file wants what it has", async (t) => {
  const { engine, sync } = await directory();
  await sync({ "z.yaml": text("", "z", "203.0.113.11:80") });
  await sync({ "a.yaml": text("", "a", "203.0.113.11:80"), "z.yaml": text("drain: 5m\n", "z", "203.0.113.11:80") });
  t.regex(engine.queries.service("z").text, /drain: 5m/);
  t.is(engine.queries.services().filter(({ state }) => state === "rejected").length, 1);
});
