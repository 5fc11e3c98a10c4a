// The generated pages are those that are written down, and drawings show every byte once.
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { be16, field, ip, struct, u32, u8 } from "../../../src/abi/codec.ts";
import type { Ip } from "../../../src/std/ip.ts";
import { stalePages, writePages } from "../../../tools/docs.ts";
import { draw, segmentsOf } from "../../../tools/docs/draw.ts";
import { scratchFolder } from "../../scratch.ts";

test("docs/ holds what would be generated now", (t) => {
  t.deepEqual(stalePages(join(import.meta.dirname, "../../../docs")), []);
});

test("a page that was changed by hand, or is missing, is found", (t) => {
  const folder = scratchFolder("docs");
  try {
    t.deepEqual(stalePages(folder), ["drops.md", "errors.md", "maps.md"]);
    writePages(folder);
    t.deepEqual(stalePages(folder), []);
    writeFileSync(join(folder, "drops.md"), readFileSync(join(folder, "drops.md"), "utf8").replace("| 15 |", "| 16 |"));
    t.deepEqual(stalePages(folder), ["drops.md"]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

const inner = struct<{ port: number; proto: number }>("hw_inner", 4, { port: field("port", 0, be16), proto: field("proto", 2, u8) });
const outer = struct<{ to: { port: number; proto: number }; addr: Ip | null; id: number }>("hw_outer", 24, {
  to: field("to", 0, inner),
  addr: field("addr", 4, ip),
  id: field("id", 20, u32),
});

test("a drawing shows every byte, inner fields by their path and padding as 0", (t) => {
  t.deepEqual(draw(outer, "key"), [
    "      0           1           2           3",
    "    +-----------+-----------+-----------+-----------+",
    "  0 | to.port               | to.proto  | 0         |",
    "    +-----------+-----------+-----------+-----------+",
    "  4 | addr                                          |",
    "    +                                               +",
    "  8 |                                               |",
    "    +                                               +",
    " 12 |                                               |",
    "    +                                               +",
    " 16 |                                               |",
    "    +-----------+-----------+-----------+-----------+",
    " 20 | id                                            |",
    "    +-----------+-----------+-----------+-----------+",
  ]);
  t.is(segmentsOf(outer, "key").reduce((sum, one) => sum + one.size, 0), outer.size);
});

test("a key that is one number is drawn by the name it is given", (t) => {
  t.deepEqual(segmentsOf(u32, "ifindex"), [{ name: "ifindex", offset: 0, size: 4, type: "__u32" }]);
});
