// Netlink bytes, without a kernel.
import test from "ava";
import fc from "fast-check";
import {
  attribute, decodeAttributes, decodeMessages, decodeOutcome, encodeMessage, nested, nlmFlags, nlmsg, textAttribute, textOf, u32Attribute, u32Of,
} from "../../../src/kernel/netlink/codec.ts";

test("a message is its header and its parts, in the host's order", (t) => {
  const bytes = encodeMessage(16, 0x605, 7, [Buffer.from([1, 2, 3, 4])]);
  t.is(bytes.toString("hex"), "14000000" + "1000" + "0506" + "07000000" + "00000000" + "01020304");
});

test("an attribute is padded to four bytes, and its length does not count the padding", (t) => {
  t.is(textAttribute(3, "eth0").toString("hex"), "0900" + "0300" + "6574683000" + "000000");
  t.is(u32Attribute(4, 1500).toString("hex"), "0800" + "0400" + "dc050000");
  t.is(nested(18, [u32Attribute(1, 2)]).toString("hex"), "0c00" + "1280" + "0800" + "0100" + "02000000");
});

test("any attributes behind any header come back as they went in", (t) => {
  const payloads = fc.uniqueArray(fc.tuple(fc.integer({ min: 1, max: 0x3fff }), fc.uint8Array({ maxLength: 40 })), { selector: ([type]) => type });
  fc.assert(fc.property(payloads, fc.constantFrom(0, 8, 12, 16), (list, headerLength) => {
    const bytes = Buffer.concat([Buffer.alloc(headerLength), ...list.map(([type, payload]) => attribute(type, payload))]);
    const decoded = decodeAttributes(bytes, headerLength);
    t.is(decoded.size, list.length);
    for (const [type, payload] of list) t.deepEqual([...(decoded.get(type) ?? [-1])], [...payload]);
  }));
});

test("several messages in one datagram are taken apart, and bytes that are no message end it", (t) => {
  const two = Buffer.concat([encodeMessage(16, 0, 1, [Buffer.from("abcd")]), encodeMessage(3, 2, 1, [Buffer.alloc(4)])]);
  t.deepEqual(decodeMessages(two).map(({ type, flags, seq, payload }) => [type, flags, seq, payload.length]), [[16, 0, 1, 4], [3, 2, 1, 4]]);
  t.is(decodeMessages(Buffer.concat([two, Buffer.from([3, 0, 0])])).length, 2);
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => {
    for (const message of decodeMessages(noise)) {
      decodeAttributes(message.payload, 16);
      decodeOutcome(message);
    }
    return true;
  }));
});

test("an error tells its number and the kernel's sentence, whether our message comes back whole or capped", (t) => {
  const sentence = textAttribute(1, "mtu less than device minimum");
  const number = Buffer.alloc(4);
  number.writeInt32LE(-22);
  const request = encodeMessage(16, 5, 9, [Buffer.alloc(16), u32Attribute(4, 10)]);
  const outcome = (flags: number, parts: readonly Buffer[]): unknown =>
    decodeOutcome({ type: nlmsg.error, flags, seq: 9, payload: Buffer.concat([number, ...parts]) });
  const wanted = { error: 22, detail: "mtu less than device minimum" };
  t.deepEqual(outcome(nlmFlags.ackAttributes, [request, sentence]), wanted);
  t.deepEqual(outcome(nlmFlags.ackAttributes | nlmFlags.capped, [request.subarray(0, 16), sentence]), wanted);
  t.deepEqual(outcome(0, [request]), { error: 22, detail: "" });
});

test("text ends at its NUL, and what is missing has a value", (t) => {
  t.is(textOf(Buffer.from("lo\0\0")), "lo");
  t.is(textOf(Buffer.from("lo")), "lo");
  t.is(textOf(undefined), "");
  t.is(u32Of(undefined, 7), 7);
  t.is(u32Of(Buffer.from([1])), 0);
});
