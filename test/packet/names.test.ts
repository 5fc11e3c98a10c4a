// Questions for names of containers on other nodes are answered where they leave the container; every other question goes on.
import anyTest from "ava";
import type { TestFn } from "ava";
import { a, c, d, e, hostMac, openBench } from "./bench.ts";
import type { Bench, Container } from "./bench.ts";
import { onWire, question, readAnswer, types } from "./dns.ts";
import type { QuestionOptions } from "./dns.ts";
import { describe, ip, ipv4, ipv6, slice, tcp, udp } from "./packets.ts";
import type { Packet } from "./packets.ts";

const test = anyTest as TestFn<{ bench: Bench }>;
const long = "n".repeat(63);
const eight = Array.from({ length: 8 }, (_, i) => `10.44.0.${100 + i}`);
const sixes = Array.from({ length: 8 }, (_, i) => `fd44::${100 + i}`);

test.serial.before(async (t) => {
  t.context.bench = await openBench();
  await t.context.bench.names({
    "1/db": ["10.44.0.77"], "1/db.shop": ["10.44.0.77"], "1/both": ["10.44.0.78", "fd44::78"], "1/six": ["fd44::79"],
    "1/many": [...eight, "10.44.0.200", ...sixes], "1/az@[`{09-_": ["10.44.0.80"], [`1/${long}.${"m".repeat(62)}`]: ["10.44.0.81"], "2/other": ["10.44.1.77"],
  });
});
test.serial.after.always(async (t) => { await t.context.bench?.[Symbol.asyncDispose](); });
test.serial.beforeEach(async (t) => { await t.context.bench.forget(); });

const server = "198.51.100.53";
const server6 = "2001:db8:7::53";
const toServer = (dns: Uint8Array, sport = 5000): Packet => ip("10.44.0.2", server, udp(sport, 53, dns));
const wentOn = `${a.mac} > ${hostMac} 192.0.2.1:5000 > ${server}:53 udp ttl 63`;

/** The answer in words when the frame is one, whole and turned round; else how the packet went on. */
async function ask(bench: Bench, packet: Packet, from: Container = a): Promise<string> {
  const row = await bench.fromContainer(from, packet);
  if (row.verdict !== "redirect") return row.verdict;
  const [ran] = await bench.each(from, [packet]);
  const line = ran === undefined ? "" : describe(ran.data);
  return ran !== undefined && / (198\.51\.100\.53|\[2001:db8:7::53\]):53 > \S+:5000 udp ttl 64$/.test(line) && line.startsWith(`${hostMac} > ${from.mac} `)
    ? readAnswer(ran.data) : "went on";
}

const of = (name: string | readonly number[], type?: number, options?: QuestionOptions): Packet => toServer(question(name, type, options));

test.serial("a known name's addresses are the answer, from the server that was asked, whole and with right sums", async (t) => {
  const { bench } = t.context;
  t.deepEqual(await bench.fromContainer(a, of("db")), { verdict: "redirect", packet: `${hostMac} > ${a.mac} ${server}:53 > 10.44.0.2:5000 udp ttl 64` });
  t.is(await ask(bench, of("db")), "1234 8180 db 1: 10.44.0.77/5");
  t.is(await ask(bench, of("db.shop")), "1234 8180 db.shop 1: 10.44.0.77/5");
  t.is(await ask(bench, of("both", types.aaaa)), "1234 8180 both 28: fd44::78/5");
});

test.serial("the question's id, letters and wish for recursion come back as they were", async (t) => {
  const { bench } = t.context;
  t.is(await ask(bench, of("dB.ShOP", types.a, { id: 0xfffe, flags: 0 })), "fffe 8080 dB.ShOP 1: 10.44.0.77/5");
  t.is(await ask(bench, of("DB", types.a, { flags: 0x0110 })), "1234 8190 DB 1: 10.44.0.77/5");
  t.is(await ask(bench, of("DB", types.a, { flags: 0x0120 })), "1234 8180 DB 1: 10.44.0.77/5");
});

test.serial("letters are made small, and nothing that lies beside them in the table", async (t) => {
  const { bench } = t.context;
  t.is(await ask(bench, of("AZ@[`{09-_")), "1234 8180 AZ@[`{09-_ 1: 10.44.0.80/5");
  for (const name of ["az`[`{09-_", "az@{`{09-_", "az@[@{09-_", "az@[`[09-_"]) t.is(await ask(bench, of(name)), "went on", name);
});

test.serial("a known name without addresses of that family, or asked for something else, has none, and that is no error", async (t) => {
  const { bench } = t.context;
  t.is(await ask(bench, of("db", types.aaaa)), "1234 8180 db 28: none");
  t.is(await ask(bench, of("six", types.a)), "1234 8180 six 1: none");
  for (const type of [types.mx, types.https, types.any, types.ptr]) t.is(await ask(bench, of("db", type)), `1234 8180 db ${type}: none`);
  t.is(await ask(bench, of("db", types.a, { class: 3 })), "1234 8180 db 1: none");
});

test.serial("several addresses are all told, eight of a family, and the id says which comes first", async (t) => {
  const { bench } = t.context;
  for (const [type, addresses] of [[types.a, eight], [types.aaaa, sixes]] as const) {
    for (const id of [0, 1, 7, 8, 0xffff]) {
      const turned = [...addresses.slice(id % 8), ...addresses.slice(0, id % 8)].map((address) => ` ${address}/5`).join("");
      t.is(await ask(bench, of("many", type, { id })), `${id.toString(16)} 8180 many ${type}:${turned}`);
    }
  }
});

test.serial("over IPv6 and past IPv4 options or extension headers it is the same", async (t) => {
  const { bench } = t.context;
  t.is(await ask(bench, ip("fd44::2", server6, udp(5000, 53, question("both", types.aaaa)))), "1234 8180 both 28: fd44::78/5");
  t.is(await ask(bench, ip("fd44::2", server6, udp(5000, 53, question("many", types.aaaa)))), `1234 8180 many 28:${[...sixes.slice(4), ...sixes.slice(0, 4)].map((one) => ` ${one}/5`).join("")}`);
  t.is(await ask(bench, ipv6("fd44::2", server6, udp(5000, 53, question("db")), { fragment: { id: 9, offset: 0, more: false } })), "1234 8180 db 1: 10.44.0.77/5");
  t.is(await ask(bench, ipv4("10.44.0.2", server, udp(5000, 53, question("db")), { options: [1, 1, 148, 4, 0, 0, 0, 0] })), "1234 8180 db 1: 10.44.0.77/5");
  t.is(await ask(bench, ip("10.44.0.2", server, udp(5000, 53, question("db"), { checksum: "none" }))), "1234 8180 db 1: 10.44.0.77/5");
});

test.serial("what EDNS adds to the question is read over", async (t) => {
  const { bench } = t.context;
  t.is(await ask(bench, of("db", types.a, { edns: 1232 })), "1234 8180 db 1: 10.44.0.77/5");
  t.is(await ask(bench, of("db", types.aaaa, { edns: 1232 })), "1234 8180 db 28: none", "an answer shorter than its question");
});

test.serial("an address has the name that its network knows it by", async (t) => {
  const { bench } = t.context;
  t.is(await ask(bench, of("77.0.44.10.in-addr.arpa", types.ptr)), "1234 8180 77.0.44.10.in-addr.arpa 12: db.shop/5");
  const reverse = `${[..."fd440000000000000000000000000078"].toReversed().join(".")}.ip6.arpa`;
  t.is(await ask(bench, of(reverse.toUpperCase(), types.ptr)), `1234 8180 ${reverse.toUpperCase()} 12: both/5`);
  t.is(await ask(bench, of("77.0.44.10.in-addr.arpa", types.a)), "1234 8180 77.0.44.10.in-addr.arpa 1: none");
  t.is(await ask(bench, of("99.0.44.10.in-addr.arpa", types.ptr)), "went on");
});

test.serial("the longest name that can be is known, and one byte more is not ours", async (t) => {
  const { bench } = t.context;
  t.is(await ask(bench, of(`${long}.${"m".repeat(62)}`)), `1234 8180 ${long}.${"m".repeat(62)} 1: 10.44.0.81/5`);
  t.is(await ask(bench, of(`${long}.${"m".repeat(63)}`)), "went on");
  t.is(await ask(bench, of(`${long}.${"m".repeat(62)}.x`)), "went on");
});

test.serial("an unknown name's question goes on as it is, to the server that it is for", async (t) => {
  const { bench } = t.context;
  const row = await bench.fromContainer(a, of("www.example.com"));
  t.is(row.packet.replace(/192\.0\.2\.1:\d+/, "192.0.2.1:5000"), wentOn);
  for (const name of ["d", "dbx", "db.shop.x", "x.db", "shop", "many.shop"]) t.is(await ask(bench, of(name)), "went on", name);
});

test.serial("another network's names are not known, but to a container that is on it, too", async (t) => {
  const { bench } = t.context;
  t.is(await ask(bench, of("other")), "went on");
  t.is(await ask(bench, ip("10.44.1.2", server, udp(5000, 53, question("other"))), c), "1234 8180 other 1: 10.44.1.77/5");
  t.is(await ask(bench, ip("10.44.1.2", server, udp(5000, 53, question("db"))), c), "went on");
  t.is(await ask(bench, ip("10.44.3.2", server, udp(5000, 53, question("db"))), e), "went on");
  await bench.alsoOn(e, [3, 2]);
  t.is(await ask(bench, ip("10.44.3.2", server, udp(5000, 53, question("other"))), e), "1234 8180 other 1: 10.44.1.77/5");
  t.is(await ask(bench, ip("10.44.3.2", server, udp(5000, 53, question("77.1.44.10.in-addr.arpa", types.ptr))), e), "1234 8180 77.1.44.10.in-addr.arpa 12: other/5");
  t.is(await ask(bench, ip("10.44.3.2", server, udp(5000, 53, question("db"))), e), "went on");
});

test.serial("what is no plain question goes on: an answer, another operation, none or two questions, records where none belong", async (t) => {
  const { bench } = t.context;
  for (const flags of [0x8180, 0x2900, 0x0300]) t.is(await ask(bench, of("db", types.a, { flags })), "went on", flags.toString(16));
  for (const questions of [0, 2]) t.is(await ask(bench, of("db", types.a, { questions })), "went on", `${questions} questions`);
  for (const counts of [[1, 0, 0], [0, 1, 0], [0, 0, 2]] as const) t.is(await ask(bench, of("db", types.a, { counts })), "went on", counts.join(" "));
});

test.serial("malformed names go on: compressed, of odd lengths, without an end, the root", async (t) => {
  const { bench } = t.context;
  for (const [what, name] of Object.entries({
    compressed: [0xc0, 0x0c], "compressed behind a part": [2, 100, 98, 0xc0, 0x0c], "a part of 64": [64, ...Array.from({ length: 64 }, () => 100), 0],
    "longer than the packet": [60, 100, 98, 0], "no end": onWire("db").slice(0, -1), root: [0], "an extended label": [0x42, 100, 98, 0],
  })) t.is(await ask(bench, toServer(question(name))), "went on", what);
});

test.serial("a question cut short anywhere goes on or is dropped as malformed, and is never answered", async (t) => {
  const { bench } = t.context;
  const whole = question("db");
  for (let length = 0; length < whole.length; length++) t.is(await ask(bench, toServer(whole.slice(0, length))), "went on", `${length} bytes`);
  // UDP's own length is less than, or beyond, what is there.
  for (const wrong of [8, 20, 27, whole.length + 7, whole.length + 9, 0xffff]) {
    const packet = toServer(whole);
    packet.bytes.set([wrong >>> 8, wrong & 255], 24);
    t.not((await ask(bench, packet)).slice(0, 4), "1234", `UDP length ${wrong}`);
  }
});

test.serial("TCP, fragments and other ports are nobody's question", async (t) => {
  const { bench } = t.context;
  t.is(await ask(bench, ip("10.44.0.2", server, tcp(5000, 53, "S"))), "went on");
  for (const port of [54, 5353, 853]) t.is(await ask(bench, ip("10.44.0.2", server, udp(5000, port, question("db")))), "went on");
  t.is(await ask(bench, ip("10.44.0.2", server, udp(53, 5000, question("db")))), "went on");
  t.is(await ask(bench, ipv4("10.44.0.2", server, slice(udp(5000, 53, question("many")), 0, 24), { more: true, id: 7 })), "went on");
});

test.serial("who asks in another's name is dropped before its question is read", async (t) => {
  t.is(await ask(t.context.bench, ip("10.44.0.3", server, udp(5000, 53, question("db")))), "drop INVALID_SOURCE_IP");
});

test.serial("on an internal network there is an answer from the gateway's address, and from anywhere else", async (t) => {
  const { bench } = t.context;
  await bench.names({ "3/inner": ["10.44.2.77"] });
  t.deepEqual(await bench.fromContainer(d, ip("10.44.2.2", "10.44.2.1", udp(5000, 53, question("inner")))), { verdict: "redirect", packet: `${hostMac} > ${d.mac} 10.44.2.1:53 > 10.44.2.2:5000 udp ttl 64` });
  t.is(await ask(bench, ip("10.44.2.2", server, udp(5000, 53, question("inner"))), d), "1234 8180 inner 1: 10.44.2.77/5");
  t.is(await ask(bench, ip("10.44.2.2", server, udp(5000, 53, question("outer"))), d), "drop INTERNAL_NETWORK");
});

test.serial("what the plan no longer says is not known any more, and what cannot be asked for is told", async (t) => {
  const { bench } = t.context;
  const tooLong = [`1/${"x".repeat(64)}`, `1/${long}.${"m".repeat(63)}`, "1/a..b", "1/"];
  t.deepEqual(await bench.names({ "1/Web": ["10.44.0.90"], "1/none": [], ...Object.fromEntries(tooLong.map((key) => [key, ["10.44.0.91"]])) }), tooLong);
  t.is(await ask(bench, of("web")), "1234 8180 web 1: 10.44.0.90/5");
  for (const name of ["db", "none", "77.0.44.10.in-addr.arpa", "91.0.44.10.in-addr.arpa"]) t.is(await ask(bench, of(name)), "went on", name);
  await bench.names({ "1/web": ["10.44.0.92"] });
  t.is(await ask(bench, of("web")), "1234 8180 web 1: 10.44.0.92/5");
});

test.serial("ten thousand damaged questions: none is answered but for names that are known", async (t) => {
  const { bench } = t.context;
  await bench.names({ "1/db": ["10.44.0.77"], "1/both": ["10.44.0.78", "fd44::78"] });
  const random = generator(20_241);
  const packets = Array.from({ length: 10_000 }, (_, i) => toServer(damaged(i, random)));
  const answers = new Map<string, number>();
  for (const { verdict, data } of await bench.each(a, packets)) {
    t.true(verdict === 7 || verdict === 2, `verdict ${verdict}`);
    const line = describe(data);
    if (!line.startsWith(`${hostMac} > ${a.mac} ${server}:53 > `)) continue;
    t.false(line.includes("!"), line);
    const answer = readAnswer(data);
    t.false(answer.includes("!"), answer);
    const name = answer.split(" ")[2]?.toLowerCase() ?? "";
    answers.set(name, (answers.get(name) ?? 0) + 1);
  }
  t.deepEqual([...answers.keys()].toSorted(), ["both", "db"]);
  t.true((answers.get("db") ?? 0) > 100, "the damage leaves some questions whole");
});

/** Random bytes, or a good question with up to four bytes of it changed or its end missing. */
function damaged(i: number, random: () => number): Uint8Array {
  if (i % 3 === 0) return Uint8Array.from({ length: random() % 200 }, () => random() & 255);
  const bytes = question(["db", "both", "db.shop", "www.example.com"][random() % 4] ?? "db", [types.a, types.aaaa, types.ptr, random() & 255][random() % 4], { edns: 1232 });
  for (let n = random() % 5; n > 0; n--) bytes[random() % bytes.length] = random() & 255;
  return random() % 4 === 0 ? bytes.slice(0, random() % bytes.length) : bytes;
}

/** Numerical Recipes' linear congruence, its upper bits. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state >>> 12;
  };
}
