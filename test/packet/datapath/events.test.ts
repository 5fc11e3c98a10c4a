// A record of the ring in words: what the programs know of a packet, field by field.
import test from "ava";
import { DropReason, eventCodec, EventVerdict } from "../../../src/abi/generated.ts";
import type { Event } from "../../../src/abi/generated.ts";
import { createEventSource, decodeEvent } from "../../../src/datapath/events.ts";
import type { Kernel, KernelMap } from "../../../src/kernel/types.ts";
import { parseIp } from "../../../src/std/ip.ts";

const blank: Event = {
  time: 7n, ifindex: 3, network: 1, saddr: parseIp("10.44.0.2"), daddr: parseIp("192.0.2.10"), backend: null, sport: 40000, dport: 8080, backendPort: 0,
  proto: 6, reason: 0, direction: 0, verdict: EventVerdict.FORWARDED, end: 0, tcpFlags: 2, length: 60, rule: 0, revision: 5, sourceIdentity: 100,
  destinationIdentity: 0, icmpType: 0, icmpCode: 0, family: 4,
};

test.serial("a forwarded packet keeps every field, with its published port's backend", (t) => {
  t.deepEqual(decodeEvent(eventCodec.encode({ ...blank, backend: parseIp("10.44.0.3"), backendPort: 80, end: 2, rule: 4, destinationIdentity: 200 })), {
    time: 7n, ifindex: 3, network: 1, source: "10.44.0.2", destination: "192.0.2.10", sourcePort: 40000, destinationPort: 8080, backend: "10.44.0.3",
    backendPort: 80, protocol: 6, family: 4, verdict: "forwarded", reason: "forwarded", direction: "from-container", end: "in", tcpFlags: 2, icmpType: 0,
    icmpCode: 0, length: 60, rule: 4, revision: 5, sourceIdentity: 100, destinationIdentity: 200,
  });
});

test.serial("a drop has its reason, an audited packet passes, and no end decides what no policy judged", (t) => {
  const drop = decodeEvent(eventCodec.encode({ ...blank, verdict: EventVerdict.DROPPED, reason: DropReason.POLICY_DENIED, end: 1 }));
  t.deepEqual([drop.verdict, drop.reason, drop.end], ["dropped", "policy-denied", "out"]);
  const audit = decodeEvent(eventCodec.encode({ ...blank, verdict: EventVerdict.AUDIT }));
  t.deepEqual([audit.verdict, audit.reason, audit.end, audit.backend], ["audit", "forwarded", null, ""]);
});

test.serial("what is no IP packet has no addresses, and one of IPv6 that has none yet says so", (t) => {
  const nobody = { ...blank, saddr: null, daddr: null };
  t.deepEqual([decodeEvent(eventCodec.encode({ ...nobody, family: 0 })).source, decodeEvent(eventCodec.encode({ ...nobody, family: 6 })).source], ["", "::"]);
  t.throws(() => decodeEvent(new Uint8Array(64)), { message: "struct hw_event: 64 bytes instead of 104" });
});

test.serial("the ring is open while someone listens, and a tap gets each record as it is", (t) => {
  const rings: ((record: Uint8Array) => void)[] = [];
  const openRing: Kernel["openRing"] = (_, onRecord) => {
    rings.push(onRecord);
    return { [Symbol.dispose]: () => void rings.splice(rings.indexOf(onRecord), 1) };
  };
  const source = createEventSource({ openRing } as Kernel, {} as KernelMap);
  const [one, two]: [Uint8Array[], Uint8Array[]] = [[], []];
  const first = source.tap((record) => void one.push(record));
  const second = source.tap((record) => void two.push(record));
  t.is(rings.length, 1);
  const record = eventCodec.encode(blank);
  rings[0]?.(record);
  first[Symbol.dispose]();
  rings[0]?.(record);
  t.deepEqual([one, two], [[record], [record, record]]);
  second[Symbol.dispose]();
  t.is(rings.length, 0);
});
