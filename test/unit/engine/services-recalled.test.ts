// The desk and services after a start that does not go well: nothing that is in force goes because the agent does not know what is to be.
import test from "ava";
import type { ServiceSettings } from "../../../src/engine/service-planner.ts";
import type { Json } from "../../../src/store/types.ts";
import { desk, fakeHost, memoryStore, openShop } from "./fake.ts";
import { backendsIn, printed, service, web } from "./shop.ts";

type Rows = Map<string, Map<string, Json>>;
const whose = async ({ id }: { readonly id: string }) => web(Number(id.slice(0, 11)));
const kept = async (rows: Rows) => {
  const host = fakeHost();
  const engine = desk(host, memoryStore(rows), { whose });
  await engine.start();
  const join = await openShop(engine);
  await join(1);
  await engine.commands.applyService(service());
  await engine.commands.applyService(service("", "dns", "203.0.113.11:53/udp"));
  await join(2);
  await engine.idle();
  await engine.close();
  return host;
};
const rowsOf = (rows: Rows): Map<string, Json> => rows.get("balancing") as Map<string, Json>;
const partOf = async ({ queries }: ReturnType<typeof desk>) => (await queries.status()).parts.find(({ part }) => part === "services");

test("an agent whose balancer does not start leaves services as they are, and says so", async (t) => {
  const rows: Rows = new Map();
  const host = await kept(rows);
  const before = printed(host.services);
  const calls = host.calls.length;
  const settings: ServiceSettings = { mode: "auto", thread: new URL("data:text/javascript,throw new Error('no such file')") };
  const engine = desk(host, memoryStore(rows), { whose, services: settings });
  await engine.start();
  await engine.heal();
  await engine.idle();
  t.is(printed(host.services), before);
  t.deepEqual(host.calls.slice(calls).filter((call) => call.includes("services")), []);
  t.like(await partOf(engine), { state: "degraded", detail: "the thread that plans services has ended: no such file" });
});

for (const [what, row] of [
  ["no JSON", "{"], ["of another shape", JSON.stringify({ backends: [], tables: [] })], ["with a number that is none", (was: string) => was.replace(/"number":\d+/, '"number":null')],
  ["with a table that is none", (was: string) => was.replace(/"made":"[^]*?","size"/, '"made":"[7, 1]","size"')], ["with backends that are none", (was: string) => was.replace('"who":[', '"who":[null,')],
] as const) {
  test(`a row of the balancer's that is ${what} costs its own service what was remembered, and no other`, async (t) => {
    const rows: Rows = new Map();
    const host = await kept(rows);
    const before = host.services ?? [];
    const was = rowsOf(rows).get("balanced web") as string;
    const bad = typeof row === "string" ? row : row(was);
    t.not(bad, was);
    rowsOf(rows).set("balanced web", bad);
    const engine = desk(host, memoryStore(rows), { whose });
    await engine.start();
    t.deepEqual(backendsIn(host.services), ["dns", "web"].flatMap((name) => [1, 2].map((n) => `${name} n1/shop/web${n}:8080 active`)));
    t.is(printed(host.services?.slice(0, 1) ?? null), printed(before.slice(0, 1)));
    t.is(host.services?.[1]?.number, 1);
    t.is((await partOf(engine))?.state, "ok");
    t.not(rowsOf(rows).get("balanced web"), bad);
  });
}

test("numbers at rest of another shape rest no more, and hold nothing up", async (t) => {
  const rows: Rows = new Map();
  const host = await kept(rows);
  const before = printed(host.services);
  rowsOf(rows).set("numbers at rest", { services: 7, backends: [["x", 1], [3]] });
  const engine = desk(host, memoryStore(rows), { whose });
  await engine.start();
  t.is(printed(host.services), before);
  t.is((await partOf(engine))?.state, "ok");
});
