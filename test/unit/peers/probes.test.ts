// Probes between nodes, over loopback: who is there and how far, who is answered, and that nobody is sent more than was asked.
import { createSocket } from "node:dgram";
import type { Socket } from "node:dgram";
import { once } from "node:events";
import { randomBytes } from "node:crypto";
import test from "ava";
import fc from "fast-check";
import { addressesAtOnce, decodePacket, encodeAnswer, encodeBlockedAnswer, encodeBlockedQuestion, encodeQuestion, questionLength } from "../../../src/peers/probe-packet.ts";
import { createProbes } from "../../../src/peers/probes.ts";
import type { Probes } from "../../../src/peers/probes.ts";
import { createTogether } from "../../../src/peers/together.ts";
import { systemClock } from "../../../src/std/clock.ts";
import { parseIp } from "../../../src/std/ip.ts";
import { createLog } from "../../../src/std/log.ts";
import { freshPort, until } from "./world.ts";

interface Running extends AsyncDisposable {
  readonly probes: Probes;
  readonly changes: string[];
}

function prober(self: string, port: number): Running {
  const [life, changes] = [new AbortController(), [] as string[]];
  const probes = createProbes({
    self, port, clock: systemClock, random: Math.random, monotonic: () => performance.now(), changed: (name) => changes.push(name),
    log: createLog(() => {}, () => 0),
  });
  const running = probes.run(life.signal);
  return {
    probes, changes,
    [Symbol.asyncDispose]: async () => {
      life.abort();
      await running;
      await probes[Symbol.asyncDispose]();
    },
  };
}

async function socketAt(address: string, port = 0): Promise<Socket & AsyncDisposable> {
  const socket = createSocket("udp4");
  socket.bind(port, address);
  await once(socket, "listening");
  return Object.assign(socket, { [Symbol.asyncDispose]: async () => void socket.close() });
}

test("nodes that know each other answer, and a round trip takes as long as it takes", async (t) => {
  const port = freshPort();
  await using a = prober("a", port);
  await using b = prober("b", port);
  a.probes.follow([{ name: "b", addresses: [parseIp("127.0.4.2")] }], [parseIp("127.0.4.1")]);
  b.probes.follow([{ name: "a", addresses: [parseIp("127.0.4.1")] }], [parseIp("127.0.4.2")]);
  await until(() => a.probes.seen("b").lastSeen > 0 && b.probes.seen("a").lastSeen > 0);
  const { state, rttMs } = a.probes.seen("b");
  t.is(state, "ready");
  t.true(rttMs !== null && rttMs > 0);
  t.deepEqual(a.changes, ["b"]);
});

test("IPv6 works as IPv4 does, and the first address of a family that both have is asked", async (t) => {
  const port = freshPort();
  await using a = prober("a", port);
  a.probes.follow([{ name: "a", addresses: [parseIp("192.0.2.9"), parseIp("::1")] }], [parseIp("::1")]);
  await until(() => a.probes.seen("a").lastSeen > 0);
  t.is(a.probes.seen("a").state, "ready");
});

test("a node that answers no more is unreachable after three questions, and ready with its next answer", async (t) => {
  const port = freshPort();
  await using a = prober("a", port);
  a.probes.follow([{ name: "b", addresses: [parseIp("127.0.5.2")] }], [parseIp("127.0.5.1")]);
  t.is(a.probes.seen("b").state, "ready", "until the contrary is known");
  await until(() => a.probes.seen("b").state === "unreachable");
  t.deepEqual(a.changes, ["b"]);
  await using b = prober("b", port);
  b.probes.follow([{ name: "a", addresses: [parseIp("127.0.5.1")] }], [parseIp("127.0.5.2")]);
  await until(() => a.probes.seen("b").state === "ready");
  t.deepEqual(a.changes, ["b", "b"]);
});

test("another node at a node's address, and an answer that nobody asked for, count for nothing", async (t) => {
  const port = freshPort();
  await using a = prober("a", port);
  await using impostor = await socketAt("127.0.6.2", port);
  let asked = 0;
  impostor.on("message", (bytes, from) => {
    asked++;
    const packet = decodePacket(bytes);
    if (packet === undefined) return;
    impostor.send(encodeAnswer(packet.nonce, "c"), from.port, from.address);
    impostor.send(encodeAnswer(randomBytes(16), "b"), from.port, from.address);
    impostor.send(randomBytes(40), from.port, from.address);
  });
  a.probes.follow([{ name: "b", addresses: [parseIp("127.0.6.2")] }], [parseIp("127.0.6.1")]);
  await until(() => a.probes.seen("b").state === "unreachable");
  t.true(asked >= 3);
  t.is(a.probes.seen("b").lastSeen, 0);
});

test("strangers are not answered, known nodes are, with no more than they sent", async (t) => {
  const port = freshPort();
  const name = "n".repeat(63);
  await using a = prober(name, port);
  a.probes.follow([{ name: "b", addresses: [parseIp("127.0.7.2")] }], [parseIp("127.0.7.1")]);
  await using stranger = await socketAt("127.0.7.3");
  await using known = await socketAt("127.0.7.2");
  const heard: [string, Buffer][] = [];
  stranger.on("message", (bytes) => heard.push(["stranger", bytes]));
  known.on("message", (bytes) => heard.push(["known", bytes]));
  const nonce = randomBytes(16);
  stranger.send(encodeQuestion(nonce), port, "127.0.7.1");
  for (const short of [Buffer.alloc(0), encodeQuestion(nonce).subarray(0, 40), Buffer.concat([encodeQuestion(nonce), Buffer.alloc(1)])]) known.send(short, port, "127.0.7.1");
  known.send(encodeQuestion(nonce), port, "127.0.7.1");
  await until(() => heard.length > 0);
  t.is(heard.length, 1);
  const [who, bytes] = heard[0] ?? ["", Buffer.alloc(0)];
  t.is(who, "known");
  t.true(bytes.length <= questionLength);
  t.deepEqual(decodePacket(bytes), { kind: "answer", nonce, name });
});

test("a port that somebody else has is said, and taken when it is free", async (t) => {
  const port = freshPort();
  const holder = await socketAt("127.0.8.1", port);
  await using a = prober("a", port);
  a.probes.follow([], [parseIp("127.0.8.1")]);
  await until(() => a.probes.trouble() !== undefined);
  t.regex(a.probes.trouble() ?? "", new RegExp(`UDP port ${port} of 127\\.0\\.8\\.1: .*EADDRINUSE`));
  await holder[Symbol.asyncDispose]();
  await until(() => a.probes.trouble() === undefined);
});

test("a node tells those that ask which addresses others keep from it, however many they are; it is believed until it falls silent", async (t) => {
  const port = freshPort();
  await using a = prober("a", port);
  const addresses = Array.from({ length: 4 * addressesAtOnce }, (_, i) => parseIp(i % 2 === 0 ? `192.0.2.${i}` : `2001:db8::${i}`));
  await using b = prober("b", port);
  b.probes.blocked.tell(addresses);
  a.probes.follow([{ name: "b", addresses: [parseIp("127.0.11.2")] }, { name: "old", addresses: [parseIp("127.0.11.3")] }], [parseIp("127.0.11.1")]);
  b.probes.follow([{ name: "a", addresses: [parseIp("127.0.11.1")] }], [parseIp("127.0.11.2")]);
  await until(() => a.probes.seen("b").lastSeen > 0);
  const hears = (count: number) => until(() => {
    for (const name of ["b", "old"]) a.probes.blocked.ask(name);
    return a.probes.blocked.at("b").size === count;
  });
  await hears(addresses.length);
  t.deepEqual([...a.probes.blocked.at("b")].toSorted(), addresses.toSorted());
  t.is(a.probes.blocked.at("old").size, 0, "who does not answer is not believed to be kept from anything");
  b.probes.blocked.tell([]);
  await hears(0);
  b.probes.blocked.tell(addresses.slice(0, 3));
  await hears(3);
  await b.probes[Symbol.asyncDispose]();
  t.is(a.probes.blocked.at("b").size, 3);
  await until(() => a.probes.seen("b").state === "unreachable");
  t.is(a.probes.blocked.at("b").size, 0);
});

test("a stranger is not told which addresses are kept from a node, nobody is sent more than he sent, and a node that goes round in circles is asked no more", async (t) => {
  const port = freshPort();
  await using a = prober("a", port);
  a.probes.blocked.tell(Array.from({ length: 9 }, (_, i) => parseIp(`192.0.2.${i}`)));
  a.probes.follow([{ name: "b", addresses: [parseIp("127.0.12.2")] }], [parseIp("127.0.12.1")]);
  await using stranger = await socketAt("127.0.12.3");
  await using b = await socketAt("127.0.12.2", port);
  const heard: Buffer[] = [];
  let questions = 0;
  stranger.on("message", () => t.fail());
  b.on("message", (bytes, from) => {
    const packet = decodePacket(bytes);
    if (packet?.kind === "question") b.send(encodeAnswer(packet.nonce, "b"), from.port, from.address);
    else if (packet?.kind !== "blocked question") heard.push(bytes);
    else {
      questions++;
      for (const nonce of [randomBytes(16), packet.nonce]) b.send(encodeBlockedAnswer(nonce, Array.from({ length: addressesAtOnce }, (_, i) => parseIp(`198.51.100.${i}`))), from.port, from.address);
    }
  });
  const question = encodeBlockedQuestion(randomBytes(16), parseIp("192.0.2.4"));
  for (const socket of [stranger, b]) socket.send(question, port, "127.0.12.1");
  await until(() => heard.length > 0);
  t.true((heard[0]?.length ?? questionLength) < questionLength);
  t.deepEqual(decodePacket(heard[0] ?? Buffer.alloc(0)), { kind: "blocked answer", nonce: question.subarray(5, 21), addresses: [5, 6, 7, 8].map((i) => parseIp(`192.0.2.${i}`)) });
  a.probes.blocked.ask("b");
  await until(() => a.probes.blocked.at("b").size === addressesAtOnce);
  t.is(questions, 2);
});

test("many nodes that fall silent, or come back, at once are told of together, and one alone by its name", async (t) => {
  const lines: string[] = [];
  const log = createLog((line) => lines.push(line), () => 0);
  const [warnings, news] = [createTogether(log.warn, "it is silent", "they are silent"), createTogether(log.info, "it is back", "they are back")];
  warnings.add("a", { lastSeen: 1 }, 0);
  warnings.tell(999);
  t.deepEqual(lines, []);
  warnings.tell(1000);
  for (const name of ["a", "b", "c", "d", "e", "f", "g"]) news.add(name, {}, 5000);
  t.true(news.withdraw("a"));
  t.false(news.withdraw("h"));
  news.tell();
  news.tell();
  for (let now = 10_000; lines.length === 2; now += 900) {
    warnings.add("a", { now }, now);
    warnings.tell(now);
  }
  t.deepEqual(lines.map((line) => line.replace(/.*"level":/, "")), ['"warn","message":"it is silent","name":"a","lastSeen":1}', '"info","message":"they are back","nodes":6,"first":["b","c","d","e","f"]}', '"warn","message":"it is silent","name":"a","now":15400}']);

  const port = freshPort();
  let now = 0;
  const life = new AbortController();
  const told: Readonly<Record<string, unknown>>[] = [];
  const changes: string[] = [];
  const probes = createProbes({
    self: "a", port, random: Math.random, monotonic: () => now, changed: (name) => changes.push(name), log: createLog((line) => told.push(JSON.parse(line)), () => 0),
    clock: { ...systemClock, sleep: async (ms) => {
      now += ms;
      if (now > 10_000) life.abort();
    } },
  });
  probes.follow(Array.from({ length: 255 }, (_, i) => ({ name: `n${i}`, addresses: [parseIp("127.0.10.2")] })), []);
  await probes.run(life.signal);
  t.is(changes.length, 255);
  t.deepEqual(told.map(({ level, message, nodes }) => [level, message, nodes]), [["warn", "nodes do not answer", 255]]);
  await probes[Symbol.asyncDispose]();
});

test("256 nodes are asked in turn, never many at once", async (t) => {
  const port = freshPort();
  let [now, sent] = [0, 0];
  const times: number[] = [];
  const life = new AbortController();
  await using sink = await socketAt("127.0.9.2", port);
  // Time is this test's: ten seconds of it pass in a moment.
  const probes = createProbes({
    self: "a", port, random: Math.random, monotonic: () => now, changed: () => {}, log: createLog(() => {}, () => 0),
    clock: {
      ...systemClock,
      sleep: async (ms) => {
        now += ms;
        await new Promise(setImmediate);
        times.push(ms);
        if (now > 10_000) life.abort();
      },
    },
  });
  sink.on("message", () => sent++);
  probes.follow(Array.from({ length: 256 }, (_, i) => ({ name: `n${i}`, addresses: [parseIp("127.0.9.2")] })), [parseIp("127.0.9.1")]);
  await probes.run(life.signal);
  await until(() => sent > 2000);
  t.true(sent <= 256 * 12, `${sent} questions in 10 s`);
  t.true(times.every((ms) => ms >= 20), "and there is a pause after each handful");
  await probes[Symbol.asyncDispose]();
});

test("whatever comes is a packet or none", (t) => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), fc.constantFrom(undefined, 1, 2, 3, 4, 5), (bytes, type) => {
    const packet = Buffer.from(bytes);
    if (type !== undefined && packet.length > 5) {
      packet.write("HWP1", "latin1");
      packet[4] = type;
    }
    const decoded = decodePacket(packet);
    t.true(decoded === undefined || decoded.nonce.length === 16);
  }));
});
