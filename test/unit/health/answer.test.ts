// What a probe makes of an HTTP answer, however it comes in pieces.
import test from "ava";
import fc from "fast-check";
import { createAnswerReader } from "../../../src/health/answer.ts";

/** "ok WHY" or "not ok WHY" after all of `text`; "?": more is wanted. Read in pieces of `piece` bytes. */
function read(text: string, piece = text.length): string {
  const reader = createAnswerReader();
  const bytes = Buffer.from(text, "latin1");
  for (let at = 0; at < bytes.length; at += piece) if (!reader.read(bytes.subarray(at, at + piece))) break;
  const verdict = reader.verdict();
  return verdict === undefined ? "?" : `${verdict.ok === true ? "ok" : "not ok"}: ${verdict.why}`;
}

const rows: readonly (readonly [answer: string, verdict: string])[] = [
  ["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok: HTTP 200"],
  ["HTTP/1.0 204 \r\n\r\n", "ok: HTTP 204"],
  ["HTTP/1.1 301 Moved Permanently\r\nLocation: http://192.0.2.1/\r\n\r\n", "ok: HTTP 301"],
  ["HTTP/1.1 399\r\n\r\n", "ok: HTTP 399"],
  ["HTTP/1.1 200\n\n", "ok: HTTP 200"],
  ["HTTP/1.1 404 Not Found\r\n\r\n", "not ok: HTTP 404"],
  ["HTTP/1.1 503 Service Unavailable\r\n\r\n", "not ok: HTTP 503"],
  ["HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "ok: HTTP 200"],
  ["HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 500 No\r\n\r\n", "not ok: HTTP 500"],
  ["HTTP/1.1 101 Switching Protocols\r\n\r\n", "not ok: HTTP 101"],
  ["HTTP/1.1 2000 OK\r\n\r\n", "not ok: answers, but not in HTTP"],
  ["HTTP/1.1 020 OK\r\n\r\n", "not ok: answers, but not in HTTP"],
  ["HTTP/2 200\r\n\r\nand more", "not ok: answers, but not in HTTP"],
  ["SSH-2.0-OpenSSH_9.2\r\n", "not ok: answers, but not in HTTP"],
  ["\u0000\u0000\u0012\u0004", "not ok: answers, but not in HTTP"],
  ["HTTP/1.1 200", "?"],
  ["HTTP/1.1 100 Continue\r\n\r\n", "?"],
  ["", "?"],
];

for (const [answer, verdict] of rows) {
  test(`${JSON.stringify(answer)} is ${verdict}, in one piece and byte by byte`, (t) => {
    t.is(read(answer), verdict);
    t.is(read(answer, 1), verdict);
  });
}

test("a first byte that is none of HTTP's is enough", (t) => {
  const reader = createAnswerReader();
  t.false(reader.read(Buffer.from("S")));
  t.is(reader.verdict()?.ok, false);
});

test("whatever comes, reading ends within 64 KiB and never throws", (t) => {
  const piece = fc.oneof(fc.uint8Array({ maxLength: 3000 }), fc.constantFrom("HTTP/1.1 ", "100 Continue\r\n\r\n", "200 OK\r\n", "\r\n\r\n").map((text) => Buffer.from(text)));
  fc.assert(fc.property(fc.array(piece, { maxLength: 20 }), (pieces) => {
    const reader = createAnswerReader();
    const all = [...pieces, ...Array.from({ length: 64 }, () => Buffer.alloc(1024, "x"))];
    let wanted = true;
    for (const one of all) wanted &&= reader.read(Buffer.from(one));
    return !wanted;
  }));
  t.pass();
});

test("interim answers without end are given up", (t) => {
  t.is(read("HTTP/1.1 100 Continue\r\n\r\n".repeat(2000), 1000), "not ok: no status within 16384 bytes");
  t.is(read(`HTTP/1.1 103 Early Hints\r\nLink: ${"a".repeat(20_000)}`, 1000), "not ok: no status within 16384 bytes");
});
