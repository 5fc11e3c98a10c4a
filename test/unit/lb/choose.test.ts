// What a packet does at a balancing node, and at the node of a container that has no such flow: packet in, choice out.
import test from "ava";
import { choose, datagramWindow, passOn } from "../../../src/lb/choose.ts";
import type { PacketKind } from "../../../src/lb/choose.ts";

const now = 1000;
const slot = (text: string) => {
  const [current = 0, previous = 0, changed = 0] = text.split(" ").map(Number);
  return { current, previous, changed };
};

/** The slot is `current previous changed`; recorded is a backend, negative when that was long ago, 0 when nothing is; the choice `to`, and `:who` under whom it is recorded, `:who|else` with who has it when there is no room. */
const rows: readonly (readonly [slot: string, kind: PacketKind, recorded: number, choice: string])[] = [
  // Settled: nothing is asked and nothing is kept.
  ["1 0 0", "begins", 0, "1"], ["1 0 0", "goesOn", 0, "1"], ["1 0 0", "datagram", 0, "1"], ["0 0 0", "begins", 0, "0"],
  // Changed from 1 to 2.
  ["2 1 990", "begins", 0, "2:2|1"], ["2 1 990", "goesOn", 2, "2"], ["2 1 990", "goesOn", 7, "7"], ["2 1 990", "goesOn", 0, "1"],
  // The same beginning once more, and a later flow on the same ports, whose record must not be taken for an earlier one's.
  ["3 1 990", "begins", 2, "2"], ["3 1 990", "begins", -2, "3:3|1"], ["1 1 990", "begins", -2, "1:1|1"], ["0 1 990", "begins", 2, "0"], ["2 1 990", "goesOn", -2, "2"],
  // Back at 1, or whose flows were not recorded is gone.
  ["1 1 990", "begins", 0, "1"], ["1 1 990", "goesOn", 2, "2"], ["1 1 990", "goesOn", 0, "1"], ["2 0 990", "goesOn", 0, "2"], ["2 0 990", "begins", 0, "2"],
  // Nobody takes what begins.
  ["0 1 990", "begins", 0, "0"], ["0 1 990", "goesOn", 0, "1"], ["0 1 900", "datagram", 0, "1:1|1"],
  // Settled, and known who was before: he is nobody's any more.
  ["2 1 0", "begins", 0, "2"], ["2 1 0", "goesOn", 0, "2"], ["2 1 0", "datagram", 0, "2"],
  // Datagrams: for a minute the unknown are taken for those that were there.
  ["2 1 990", "datagram", 0, "1:1|1"], ["2 1 990", "datagram", 2, "2"], [`2 1 ${now - datagramWindow + 1}`, "datagram", 0, "1:1|1"], [`2 1 ${now - datagramWindow}`, "datagram", 0, "2:2|1"], ["2 1 900", "datagram", 1, "1"],
];

for (const [at, kind, recorded, expected] of rows) {
  test(`slot ${at}, ${kind}, ${recorded === 0 ? "not recorded" : `recorded ${recorded}`} → ${expected}`, (t) => {
    const { to, record, unrecorded } = choose(slot(at), kind, recorded === 0 ? null : { backend: Math.abs(recorded), young: recorded > 0 }, now);
    t.is(`${to}${record === 0 ? "" : `:${record}|${unrecorded}`}`, expected);
  });
}

/** At container 2's node, which has no such flow. */
const passed: readonly (readonly [own: string, recorded: number, to: number, because: string])[] = [
  ["2 0 0", 0, 0, "nobody else ever had the slot: it is refused here"],
  ["2 1 990", 0, 1, "it began before the change, and its sender does not know of that"],
  ["1 2 990", 0, 1, "it began after the change, and its sender has no record of it"],
  ["2 2 990", 0, 0, "whose flows were not recorded is 2 itself"],
  ["3 1 990", 0, 1, "the sender is behind by several changes"],
  ["3 0 0", 0, 3, "the sender's table is an old one"],
  ["2 1 0", 0, 1, "the slot is settled here, and not by way of the sender"],
  ["1 2 0", 0, 1, "the sender has not settled it"],
  ["2 0 990", 0, 0, "who was before is gone"],
  ["2 1 990", 3, 3, "this node has a record of it"],
  ["2 1 990", 2, 0, "it is 2's by this node's record, and conntrack has lost it"],
];

for (const [own, recorded, to, because] of passed) {
  test(`passed on from 2 with ${own}${recorded === 0 ? "" : `, recorded ${recorded},`} to ${to}: ${because}`, (t) => t.is(passOn(2, slot(own), recorded), to));
}
