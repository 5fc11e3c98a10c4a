// Which known word a mistyped one meant, and when none is near enough.
import test from "ava";
import { nearest, slip } from "../../../src/std/nearest.ts";

test("the nearest word is offered for a slip, and none for a word of another kind", (t) => {
  t.is(nearest("adress", ["name", "address"], slip), "address");
  t.is(nearest("Socket", ["socket", "enabled"], slip), "socket");
  t.is(nearest("statsu", ["status", "sweep"], slip), "status");
  t.is(nearest("xyzzy", ["name", "address"], slip), undefined);
  t.is(nearest("web", [], slip), undefined);
});

test("one letter may always be wrong, and an empty name is nobody's", (t) => {
  t.is(nearest("a", ["", "b"], slip), "b");
});

test("two letters that changed places are one slip, in the shortest name too", (t) => {
  t.is(nearest("wbe", ["db", "web"], slip), "web");
  t.is(nearest("dbwe", ["webdb", "ab"], slip), undefined);
});

test("without a limit the nearest is named, however far", (t) => {
  t.is(nearest("xyzzy", ["name", "address"]), "name");
});
