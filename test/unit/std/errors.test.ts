// Errors keep a stable code and one sentence however deep they were thrown.
import test from "ava";
import { asHawserError, errorCodes, HawserError, messageOf, unreachable } from "../../../src/std/errors.ts";

test("every code has a remedy that is a sentence", (t) => {
  for (const [code, remedy] of Object.entries(errorCodes)) {
    t.regex(code, /^[A-Z][A-Z_]*$/);
    t.regex(remedy, /^[A-Z].*\.$/, code);
  }
});

test("what is a HawserError stays itself; anything else becomes INTERNAL with its cause", (t) => {
  const own = new HawserError("NOT_FOUND", "no network \"shop\"");
  t.is(asHawserError(own), own);
  const foreign = new TypeError("x is not a function");
  const wrapped = asHawserError(foreign);
  t.is(wrapped.code, "INTERNAL");
  t.is(wrapped.message, "x is not a function");
  t.is(wrapped.cause, foreign);
  t.is(asHawserError("plain text").message, "plain text");
});

test("the message of several errors names each", (t) => {
  t.is(messageOf(new AggregateError([new Error("one"), new AggregateError([new Error("two")])], "undo failed")), "undo failed; one; two");
  t.is(messageOf(undefined), "undefined");
});

test("a value that should not be is shown", (t) => {
  t.throws(() => unreachable({ kind: "new" } as never), { instanceOf: HawserError, message: "unexpected value { kind: 'new' }" });
  t.throws(() => unreachable(1n as never), { instanceOf: HawserError, message: /unexpected value 1/ });
});
