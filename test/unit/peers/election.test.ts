// Who answers for which address: nodes that share a server, or see each other by probes alone, each with a kernel that is a map.
import test from "ava";
import type { NodeView } from "../../../src/engine/types.ts";
import { electAlone } from "../../../src/peers/election.ts";
import type { Election, Seat } from "../../../src/peers/election.ts";
import { electByLease } from "../../../src/peers/election-by-lease.ts";
import { electByName } from "../../../src/peers/election-by-name.ts";
import { systemClock } from "../../../src/std/clock.ts";
import type { Clock } from "../../../src/std/clock.ts";
import { parseIp } from "../../../src/std/ip.ts";
import type { Ip } from "../../../src/std/ip.ts";
import { createLog } from "../../../src/std/log.ts";
import { Server } from "./server.ts";
import type { Client } from "./server.ts";

const address = parseIp("192.0.2.10");
const began = Date.now();
const faster = (times: number): Clock => ({
  now: () => began + (Date.now() - began) * times, sleep: (ms, signal) => systemClock.sleep(ms / times, signal), deadline: (ms) => AbortSignal.timeout(ms / times),
});
const hasty = faster(20);

async function until(what: string, fact: () => boolean): Promise<void> {
  for (let i = 0; i < 400; i++) {
    if (fact()) return;
    await systemClock.sleep(5);
  }
  throw new Error(`waited in vain for ${what}`);
}

interface Node extends AsyncDisposable {
  readonly name: string;
  readonly election: Election;
  readonly lines: string[];
  /** As the kernel has it; another's announcement takes an address out. */
  readonly held: Map<Ip, number | null>;
  want(addresses: readonly Ip[] | null): void;
  readonly own: Set<Ip>;
  announced: number;
  linked: boolean;
  taken: ReadonlyMap<Ip, string>;
  rivals: ReadonlyMap<Ip, string>;
}

function node(name: string, elect: (seat: Seat, log: ReturnType<typeof createLog>) => Election, held: ReadonlyMap<Ip, number | null> = new Map()): Node {
  let wanted: ReadonlySet<Ip> | null = null;
  const life = new AbortController();
  const lines: string[] = [];
  const seat: Seat = {
    wanted: () => wanted,
    isOwn: (one) => self.own.has(one),
    answered: () => new Map(self.held),
    hold: (addresses) => {
      self.held.clear();
      for (const [one, end] of addresses) self.held.set(one, end);
    },
    announce: () => void self.announced++,
    taken: () => self.taken,
    rivals: () => self.rivals,
    get linked() {
      return self.linked;
    },
    linkedSince: 0,
  };
  const election = elect(seat, createLog((line) => lines.push(line), () => 0, "warn"));
  const running = election.run(life.signal);
  const self: Node = {
    name, election, lines, held: new Map(held), own: new Set(), announced: 0, linked: true, taken: new Map(), rivals: new Map(),
    want: (addresses) => {
      wanted = addresses && new Set(addresses);
      election.changed();
    },
    [Symbol.asyncDispose]: async () => {
      life.abort();
      await running;
    },
  };
  return self;
}

const all = ["a", "b"].map((name) => ({ name, state: "ready" as const }));
const sharing = (name: string, client: Client, held?: ReadonlyMap<Ip, number | null>, clock = hasty, nodes: () => readonly Pick<NodeView, "name" | "state">[] = () => all): Node =>
  node(name, (seat, log) => electByLease({ self: name, store: client, nodes, seat, clock, log }), held);
const holdersOf = (nodes: readonly Node[], one: Ip): readonly string[] => nodes.filter(({ held }) => held.has(one)).map(({ name }) => name);

test("a node without others answers for everything for good, but for what the host has itself", async (t) => {
  const other = parseIp("192.0.2.11");
  await using a = node("a", (seat) => electAlone("a", seat, hasty), new Map([[other, null]]));
  a.own.add(other);
  await systemClock.sleep(100);
  t.deepEqual([...a.held.keys()], [other], "until services are in force nothing is touched");
  a.want([address, other]);
  await until("the address to be held", () => a.held.has(address));
  t.deepEqual([...a.held], [[address, null]]);
  t.deepEqual(a.election.holders(), new Map([[address, "a"], [other, "a"]]));
  t.like(a.election.status(), { state: "ok", detail: "this node answers for 2 of 2 addresses of services" });
});

test("an address that another machine has is said, with what to do, and is nobody's here", async (t) => {
  await using a = node("a", (seat) => electAlone("a", seat, hasty));
  a.taken = new Map([[address, "02:00:00:00:00:99 on device 2"]]);
  Object.assign(a.held, { set: () => a.held });
  a.want([address]);
  await until("it to be said", () => a.election.status().state === "degraded");
  t.is(a.election.status().detail, "192.0.2.10 is another machine's, 02:00:00:00:00:99 on device 2: take it off that machine or, where it is a server of mode dsr, set arp_ignore=1 there, or give the service another; this node answers for 0 of 1 address of services");
  t.deepEqual(a.election.status().findings, [{
    detail: "192.0.2.10 is another machine's, 02:00:00:00:00:99 on device 2", mend: "take it off that machine or, where it is a server of mode dsr, set arp_ignore=1 there, or give the service another",
  }]);
  t.is(a.election.holders().size, 0);
});

test("an address that this node answers for, and somebody else says he has, is said with what to do", async (t) => {
  await using a = node("a", (seat) => electAlone("a", seat, hasty));
  a.rivals = new Map([[address, "02:00:00:00:00:99 on device 2, 3 times"]]);
  a.want([address]);
  await until("the address to be held", () => a.election.holders().size === 1);
  t.is(a.election.status().state, "degraded");
  t.is(a.election.status().detail, "another machine says that it has 192.0.2.10, 02:00:00:00:00:99 on device 2, 3 times: take it off that machine or, where it is a server of mode dsr, set arp_ignore=1 and arp_announce=2 there, or give the service another; this node answers for 1 of 1 address of services");
  t.deepEqual(a.election.status().findings, [{
    detail: "another machine says that it has 192.0.2.10, 02:00:00:00:00:99 on device 2, 3 times",
    mend: "take it off that machine or, where it is a server of mode dsr, set arp_ignore=1 and arp_announce=2 there, or give the service another",
  }]);
  a.rivals = new Map();
  t.is(a.election.status().findings, undefined);
});

test("through a store: an address that the node whose it would be finds taken is nobody's on the others either, until it is free", async (t) => {
  const server = new Server();
  await using a = sharing("a", server.connect("a"));
  a.want([address]);
  await until("it to be a's", () => a.held.has(address));
  await using b = sharing("b", server.connect("b"));
  b.want([address]);
  await until("b to know", () => b.election.holders().get(address) === "a");
  const set = a.held.set.bind(a.held);
  Object.assign(a.held, { set: () => a.held });
  a.taken = new Map([[address, "02:00:00:00:00:99 on device 2"]]);
  await until("b to know that a does not answer", () => b.election.holders().size === 0);
  t.regex(b.election.status().detail ?? "", /^192\.0\.2\.10 would be a's, which found it another machine's: see `hawser status` there; /);
  t.deepEqual(b.election.status().findings, [{ detail: "192.0.2.10 would be a's, which found it another machine's", mend: "see `hawser status` there" }]);
  t.false(b.held.has(address));
  Object.assign(a.held, { set });
  a.taken = new Map();
  await until("b to know that a answers", () => b.election.holders().get(address) === "a");
  t.is(b.election.status().state, "ok");
});

test("through a store: several addresses, each one node's, over both nodes; each knows who", async (t) => {
  const server = new Server();
  // Turns that no busy machine confuses.
  const clock = faster(1);
  await using a = sharing("a", server.connect("a"), undefined, clock);
  await using b = sharing("b", server.connect("b"), undefined, clock);
  const addresses = Array.from({ length: 20 }, (_, i) => parseIp(`192.0.2.${i + 1}`));
  for (const one of [a, b]) one.want(addresses);
  await until("all to be held", () => addresses.every((one) => holdersOf([a, b], one).length === 1));
  t.true(a.held.size > 0 && b.held.size > 0, `a has ${a.held.size}, b ${b.held.size}`);
  await until("both to know", () => a.election.holders().size === 20 && b.election.holders().size === 20);
  t.deepEqual(new Map([...a.election.holders()].toSorted()), new Map([...b.election.holders()].toSorted()));
});

test("through a store: given up where the service is deleted, and taken by who still has it", async (t) => {
  const server = new Server();
  await using a = sharing("a", server.connect("a"));
  await using b = sharing("b", server.connect("b"));
  a.want([address]);
  await until("a to hold it", () => a.held.has(address));
  b.want([address]);
  await until("b to know", () => b.election.holders().get(address) === "a");
  a.want([]);
  await until("b to hold it", () => b.held.has(address));
  t.false(a.held.has(address));
  b.want([]);
  await until("nobody to be written down", () => server.keys("held/").length === 0);
  t.is(b.held.size, 0);
});

test("through a store: a new agent goes on with what its last one held; a lease that ended is made good without a gap", async (t) => {
  const server = new Server();
  server.put({ "held/192.0.2.10": '{"v":1,"node":"a"}' });
  const client = server.connect("a");
  await using a = sharing("a", client, new Map([[address, began]]));
  await using b = sharing("b", server.connect("b"));
  let gaps = 0;
  const { clear } = a.held;
  a.held.clear = () => {
    clear.call(a.held);
    queueMicrotask(() => void (a.held.has(address) || gaps++));
  };
  for (const one of [a, b]) one.want([address]);
  await until("its claim to be renewed", () => server.data.get("held/192.0.2.10")?.lease !== undefined);
  client.expire();
  await until("it to be claimed again", () => server.get("held/192.0.2.10") === '{"v":1,"node":"a"}');
  await systemClock.sleep(200);
  t.is(gaps, 0);
  t.false(b.held.has(address));
});

test("through a store: while it is away each goes on, and nobody begins", async (t) => {
  const server = new Server();
  const [mine, theirs] = [server.connect("a"), server.connect("b")];
  await using a = sharing("a", mine);
  await using b = sharing("b", theirs);
  a.want([address]);
  await until("a to hold it", () => a.held.has(address));
  for (const client of [mine, theirs]) client.cut();
  for (const one of [a, b]) one.want([address, parseIp("192.0.2.11")]);
  await systemClock.sleep(300);
  t.deepEqual([[...a.held.keys()], [...b.held.keys()]], [[address], []]);
  for (const client of [mine, theirs]) client.heal();
  await until("the new one to be held, too", () => holdersOf([a, b], parseIp("192.0.2.11")).length === 1);
  t.true(a.held.has(address));
});

test("through a store: who has an address on a device of its own takes it from whoever answers for it, and nobody else has it until it is gone there", async (t) => {
  const server = new Server();
  const client = server.connect("b");
  await using a = sharing("a", server.connect("a"));
  await using b = sharing("b", client);
  a.want([address]);
  await until("a to hold it", () => a.held.has(address));
  b.own.add(address);
  b.want([address]);
  await until("a to have given it up", () => !a.held.has(address));
  t.is(a.election.holders().get(address), "b");
  client.expire();
  await systemClock.sleep(200);
  t.deepEqual([a.held.size, b.held.size], [0, 0], "even when it is silent for longer than a lease: it is its own");
  b.own.delete(address);
  await until("b to answer as any other", () => b.held.has(address));
  t.not(server.data.get("held/192.0.2.10")?.lease, undefined);
  client.expire();
  await until("somebody to hold it again", () => holdersOf([a, b], address).length === 1);
});

test("through a store: who has no link gives its addresses up, and says why it answers for none", async (t) => {
  const server = new Server();
  await using a = sharing("a", server.connect("a"));
  await using b = sharing("b", server.connect("b"));
  a.want([address]);
  await until("a to hold it", () => a.held.has(address));
  b.want([address]);
  a.linked = false;
  a.election.changed();
  await until("b to hold it", () => b.held.has(address));
  t.is(a.held.size, 0);
  t.like(a.election.status(), { state: "degraded", detail: "no uplink has its cable in, so that this node can answer for no address; this node answers for 0 of 1 address of services" });
  a.linked = true;
  a.election.changed();
  await until("a to know", () => a.election.holders().get(address) === "b");
  t.deepEqual(holdersOf([a, b], address), ["b"]);
});

test("through a store: nonsense under an address's key is told, and keeps nobody from the others", async (t) => {
  const server = new Server();
  server.put({ "held/192.0.2.10": "mine!" });
  await using a = sharing("a", server.connect("a"));
  a.want([address, parseIp("192.0.2.11")]);
  await until("the other to be held", () => a.held.has(parseIp("192.0.2.11")));
  await until("it to be told", () => a.election.status().state === "degraded");
  t.regex(a.election.status().detail, /192\.0\.2\.10 could not be claimed/);
  t.true(a.lines.some((line) => line.includes("held/192.0.2.10")));
  t.false(a.held.has(address));
});

test("through a store: who may have missed a takeover is told once more when it answers again", async (t) => {
  const server = new Server();
  let state: NodeView["state"] = "ready";
  await using a = sharing("a", server.connect("a"), undefined, hasty, () => [{ name: "b", state }]);
  a.election.answersChanged?.("b");
  t.is(a.announced, 0, "its first answer");
  for (state of ["unreachable", "ready"] as const) a.election.answersChanged?.("b");
  t.is(a.announced, 1);
});

const silent = { tell: () => undefined, at: () => new Set<Ip>(), ask: () => undefined };

test("by name: an address that the lowest finds taken is nobody's on the others either, and they say who knows more, until it is free", async (t) => {
  const seen = () => ({ state: "ready" as const, lastSeen: 0, rttMs: null });
  const other = parseIp("192.0.2.11");
  const [said, asked] = [new Map<string, ReadonlySet<Ip>>(), new Set<string>()];
  const sitting = (self: string): Node => node(self, (seat) => electByName({
    self, others: ["a", "b", "c"].filter((one) => one !== self), seat, clock: hasty,
    probes: { seen, blocked: { tell: (addresses) => void said.set(self, new Set(addresses)), at: (name) => said.get(name) ?? new Set(), ask: (name) => void asked.add(name) } },
  }));
  await using a = sitting("a");
  await using b = sitting("b");
  const set = a.held.set.bind(a.held);
  Object.assign(a.held, { set: (one: Ip, end: number | null) => (one === address ? a.held : set(one, end)) });
  a.taken = new Map([[address, "02:00:00:00:00:99 on device 2"]]);
  for (const one of [a, b]) one.want([address, other]);
  await until("b to know", () => !b.election.holders().has(address) && b.election.holders().get(other) === "a");
  t.deepEqual([...asked], ["a"], "nobody else is asked");
  t.like(b.election.status(), { state: "degraded", findings: [{ detail: "192.0.2.10 would be a's, which found it another machine's", mend: "see `hawser status` there" }] });
  t.false(b.held.has(address));
  b.own.add(address);
  t.is(b.election.status().findings, undefined, "nor is it told where it is the host's own");
  b.own.delete(address);
  a.want([other]);
  await until("b to know that a does not want it", () => said.get("a")?.size === 0);
  a.want([address, other]);
  await until("b to know that it is taken still", () => said.get("a")?.size === 1);
  Object.assign(a.held, { set });
  a.taken = new Map();
  await until("b to know that a answers", () => b.election.holders().get(address) === "a");
  t.is(b.election.status().state, "ok");
});

test("by name: the lowest that answers, which puts off for how long it is certain", async (t) => {
  const answers = new Map<string, "ready" | "unreachable">([["a", "ready"], ["c", "ready"]]);
  const seen = (name: string) => ({ state: answers.get(name) ?? ("unreachable" as const), lastSeen: 0, rttMs: null });
  await using b = node("b", (seat) => electByName({ self: "b", others: ["a", "c"], probes: { seen, blocked: silent }, seat, clock: hasty }));
  b.want([address]);
  await until("a to be known", () => b.election.holders().get(address) === "a");
  t.is(b.held.size, 0);
  answers.set("a", "unreachable");
  b.election.answersChanged?.("a");
  await until("b to hold it", () => b.held.has(address));
  const first = b.held.get(address) ?? 0;
  await until("its time to be put off", () => (b.held.get(address) ?? 0) > first);
  answers.set("a", "ready");
  b.election.answersChanged?.("a");
  await until("b to have given it up", () => !b.held.has(address));
});
