// A log line is one JSON object on one line, whatever it is given.
import test from "ava";
import fc from "fast-check";
import { createLog } from "../../../src/std/log.ts";
import type { LogLevel } from "../../../src/std/log.ts";

function collect(least?: LogLevel) {
  const lines: string[] = [];
  return { lines, log: createLog((line) => lines.push(line), () => 0, least) };
}

test("a line carries time, level, message and fields", (t) => {
  const { lines, log } = collect();
  log.with({ network: "shop" }).warn("slow", { milliseconds: 12n, error: new Error("why") });
  t.deepEqual(JSON.parse(lines[0] ?? ""), {
    time: "1970-01-01T00:00:00.000Z", level: "warn", message: "slow", network: "shop", milliseconds: "12", error: "why",
  });
});

test("what is below the least level is not written", (t) => {
  const { lines, log } = collect("warn");
  log.debug("a");
  log.info("b");
  log.warn("c");
  log.with({ x: 1 }).error("d");
  log.with({ x: 1 }).info("e");
  t.deepEqual(lines.map((line) => (JSON.parse(line) as { message: string }).message), ["c", "d"]);
});

test("nothing logged can break the line, or forge its time, level or message", (t) => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), fc.dictionary(fc.string(), fc.anything()), (message, fields) => {
      const { lines, log } = collect();
      log.info(message, { ...fields, time: "forged", level: "error", message: "forged" });
      t.is(lines.length, 1);
      t.false((lines[0] ?? "").includes("\n"));
      const record = JSON.parse(lines[0] ?? "") as Record<string, unknown>;
      t.is(record["level"], "info");
      t.is(record["time"], "1970-01-01T00:00:00.000Z");
      t.is(record["message"], message.toWellFormed());
    }),
  );
});

test("a field that refers to itself is still written", (t) => {
  const { lines, log } = collect();
  const loop: { self?: unknown } = {};
  loop.self = loop;
  log.error("loop", { loop });
  t.is((JSON.parse(lines[0] ?? "") as { message: string }).message, "loop");
});
