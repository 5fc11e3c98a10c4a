// Services that this node cannot carry out, or has no room for: each is alone with that, and what it was before goes on.
import test from "ava";
import type { ShareServices } from "../../../src/engine/service-sharing.ts";
import { nothingShared } from "../../../src/lb/stored.ts";
import type { SharedService, SharedServices } from "../../../src/lb/stored.ts";
import { HawserError } from "../../../src/std/errors.ts";
import { desk, fakeHost, memoryStore } from "./fake.ts";
import type { FakeHost } from "./fake.ts";
import { handClock } from "./shop.ts";

const written = (name: string, frontend: string, server = "192.0.2.7"): string =>
  `service: ${name}\nfrontends: ["${frontend}"]\nbackends: [{ address: "${server}:80" }]\nhealth: { kind: none }\n`;
const document = (name: string, frontend: string) => ({ file: `${name}.yaml`, text: written(name, frontend) });
const sctp = "203.0.113.10:80/sctp";
const noSctp = "service web: no server answers SCTP by way of this node";

/** Node n1, which shares services with n2, and answers no SCTP. */
async function node(rows = new Map(), host: FakeHost = fakeHost(), before: SharedServices = nothingShared) {
  const { clock, pass } = handClock();
  host.refusal = ({ name, frontends, backends }) =>
    (frontends.some(({ protocol }) => protocol === "sctp") && backends.some(({ way }) => way === "snat") ? new HawserError("UNSUPPORTED", `service ${name}: no server answers SCTP by way of this node`) : undefined);
  let known = before;
  /** What of the next change is written before others are faster, and what they write. */
  let races: { readonly names: readonly string[]; readonly theirs: Readonly<Record<string, string>> }[] = [];
  const write = (rows: Iterable<readonly [string, SharedService]>): void => {
    known = { ...known, turn: known.turn + 1, services: new Map([...known.services, ...structuredClone([...rows])]) };
  };
  const theirs = (texts: Readonly<Record<string, string>>): readonly (readonly [string, SharedService])[] =>
    Object.entries(texts).map(([name, text]) => [name, { name, file: `${name}.yaml`, text, source: "apply", revision: known.turn + 1, changedAt: 0, node: "n2", turn: known.turn + 1 }] as const);
  const shareServices: ShareServices = async (decide) => {
    for (const race of races.splice(0)) {
      const wanted = await decide(known);
      write([...wanted.services].filter(([name]) => race.names.includes(name)));
      write(theirs(race.theirs));
    }
    const wanted = await decide(known);
    if (wanted === known) return;
    known = { ...wanted, turn: known.turn + 1 };
    await engine.commands.syncServices(known);
  };
  const engine = desk(host, memoryStore(rows), { clock, shareServices });
  await engine.start();
  const settled = async (): Promise<void> => {
    await engine.commands.syncServices(known);
    await engine.idle();
  };
  await settled();
  return {
    host, engine,
    get known() {
      return known;
    },
    /** What n2 applies. */
    others: async (texts: Readonly<Record<string, string>>): Promise<void> => {
      write(theirs(texts));
      await settled();
    },
    raced: (...those: typeof races): void => void (races = those),
    later: async (): Promise<void> => {
      pass(30_000);
      await engine.idle();
    },
    inForce: (): readonly string[] => (host.services ?? []).map(({ name, frontends, backends }) => `${name} ${frontends.map(({ address, port, protocol }) => `${address}:${port}/${protocol}`).join()} ${backends.filter(({ state }) => state === "active").map(({ address }) => address).join()}`),
    shown: (): readonly string[] => engine.queries.services().map(({ name, state, error }) => `${name} ${state}${error === null ? "" : `: ${error}`}`),
  };
}

const tcp = ["dns 203.0.113.11:80/tcp 192.0.2.7", "web 203.0.113.10:80/tcp 192.0.2.7"];

test("one that this node cannot carry out goes on as it was, says why, and holds back no other; it is in force when it can be", async (t) => {
  const n1 = await node();
  await n1.others({ web: written("web", "203.0.113.10:80"), dns: written("dns", "203.0.113.11:80") });
  t.deepEqual(n1.inForce(), tcp);
  await n1.others({ web: written("web", sctp, "192.0.2.8"), dns: written("dns", "203.0.113.11:80", "192.0.2.9"), new: written("new", "203.0.113.12:80") });
  t.deepEqual(n1.inForce(), ["dns 203.0.113.11:80/tcp 192.0.2.9", "new 203.0.113.12:80/tcp 192.0.2.7", "web 203.0.113.10:80/tcp 192.0.2.7"]);
  t.deepEqual(n1.shown(), ["dns enforced", "new enforced", `web pending: ${noSctp}`]);
  t.true((await n1.engine.queries.status()).problems.includes(`services: ${noSctp}`));
  n1.host.refusal = () => undefined;
  await n1.later();
  t.deepEqual(n1.inForce()[2], "web 203.0.113.10:80/sctp 192.0.2.8");
  t.deepEqual(n1.shown(), ["dns enforced", "new enforced", "web enforced"]);
  t.deepEqual((await n1.engine.queries.status()).problems, []);
});

test("one that is mended is in force at once, and one that never was possible is not there until then", async (t) => {
  const n1 = await node();
  await n1.others({ web: written("web", sctp), dns: written("dns", "203.0.113.11:80") });
  t.deepEqual(n1.inForce(), tcp.slice(0, 1));
  t.deepEqual(n1.shown(), ["dns enforced", `web pending: ${noSctp}`]);
  await n1.others({ web: written("web", "203.0.113.10:80") });
  t.deepEqual([n1.inForce(), n1.shown()], [tcp, ["dns enforced", "web enforced"]]);
});

test("what goes on is remembered over a start, and forgotten when it is in force again", async (t) => {
  const rows = new Map<string, Map<string, never>>();
  const n1 = await node(rows);
  await n1.others({ web: written("web", "203.0.113.10:80"), dns: written("dns", "203.0.113.11:80") });
  await n1.others({ web: written("web", sctp) });
  const again = await node(rows, fakeHost(), n1.known);
  t.deepEqual(again.inForce(), tcp);
  t.deepEqual(again.shown(), ["dns enforced", `web pending: ${noSctp}`]);
  await again.others({ web: written("web", "203.0.113.10:80", "192.0.2.8") });
  t.deepEqual(again.inForce()[1], "web 203.0.113.10:80/tcp 192.0.2.8");
  t.is(rows.get("former services")?.size, 0);
});

test("what goes on gives way where another service has its frontend by now, or when it is deleted", async (t) => {
  const n1 = await node();
  await n1.others({ web: written("web", "203.0.113.10:80"), api: written("api", "203.0.113.13:80") });
  await n1.others({ web: written("web", sctp), api: written("api", "203.0.113.13:80/sctp"), new: written("new", "203.0.113.10:80") });
  t.deepEqual(n1.inForce(), ["api 203.0.113.13:80/tcp 192.0.2.7", "new 203.0.113.10:80/tcp 192.0.2.7"]);
  await n1.engine.commands.deleteService("api");
  t.deepEqual([n1.inForce(), n1.shown()], [["new 203.0.113.10:80/tcp 192.0.2.7"], ["new enforced", `web pending: ${noSctp}`]]);
});

test("who applies one here that this node cannot carry out is told so, with its place, and nobody else hears of it", async (t) => {
  const n1 = await node();
  await n1.engine.commands.applyService({ documents: [{ file: "web.yaml", text: written("web", "203.0.113.10:80") }] });
  const before = n1.known;
  await t.throwsAsync(n1.engine.commands.applyService({ documents: [{ file: "web.yaml", text: written("web", sctp) }] }), { code: "BAD_SERVICE", message: `web.yaml:1:10: ${noSctp}` });
  t.is(n1.known, before);
  t.deepEqual(n1.shown(), ["web enforced"]);
});

test("who applies one here for which there is no room is told so, and it is taken back; others' wait for room", async (t) => {
  const n1 = await node();
  n1.host.full = ({ name }) => (name === "late" ? new HawserError("TABLE_FULL", "service late: no room is left for its addresses") : undefined);
  const late = written("late", "203.0.113.20:80");
  await t.throwsAsync(n1.engine.commands.applyService({ documents: [{ file: "late.yaml", text: late }] }), { code: "TABLE_FULL" });
  t.deepEqual([[...n1.known.services.keys()], n1.shown()], [[], []]);
  await n1.others({ late, dns: written("dns", "203.0.113.11:80") });
  t.deepEqual([n1.inForce(), n1.shown()], [tcp.slice(0, 1), ["dns enforced", "late pending: service late: no room is left for its addresses"]]);
  t.deepEqual([...n1.engine.queries.serviceAddresses() ?? []], ["203.0.113.11"]);
  n1.host.full = () => undefined;
  await n1.later();
  t.deepEqual([n1.inForce()[1], n1.shown()], ["late 203.0.113.20:80/tcp 192.0.2.7", ["dns enforced", "late enforced"]]);
});

test("what was written of one's services when others were faster is taken back with the rest", async (t) => {
  const n1 = await node();
  await n1.engine.commands.applyService({ documents: [{ file: "web.yaml", text: written("web", "203.0.113.10:80") }] });
  n1.host.full = ({ name }) => (name === "late" ? new HawserError("TABLE_FULL", "service late: no room is left for its addresses") : undefined);
  n1.raced({ names: ["web", "new"], theirs: { dns: written("dns", "203.0.113.11:80") } }, { names: [], theirs: { api: written("api", "203.0.113.14:80") } });
  const documents = [["web", "203.0.113.12:80"], ["new", "203.0.113.13:80"], ["late", "203.0.113.20:80"]].map(([name = "", frontend = ""]) => document(name, frontend));
  await t.throwsAsync(n1.engine.commands.applyService({ documents }), { code: "TABLE_FULL" });
  await n1.engine.idle();
  t.deepEqual(n1.inForce(), ["api 203.0.113.14:80/tcp 192.0.2.7", ...tcp]);
  t.deepEqual([...n1.known.services.keys()].toSorted(), ["api", "dns", "web"]);
});

test("so is what was written before others took a frontend of the rest", async (t) => {
  const n1 = await node();
  await n1.engine.commands.applyService({ documents: [{ file: "web.yaml", text: written("web", "203.0.113.10:80") }] });
  n1.raced({ names: ["web", "new"], theirs: { dns: written("dns", "203.0.113.11:80") } });
  const documents = [["web", "203.0.113.12:80"], ["new", "203.0.113.13:80"], ["late", "203.0.113.11:80"]].map(([name = "", frontend = ""]) => document(name, frontend));
  await t.throwsAsync(n1.engine.commands.applyService({ documents }), { code: "BAD_SERVICE", message: /203\.0\.113\.11:80\/tcp is taken/ });
  t.deepEqual([...n1.known.services.keys()].toSorted(), ["dns", "web"]);
  await n1.engine.idle();
  t.deepEqual(n1.inForce(), tcp);
});

/** A node that shares services with nobody. */
async function alone() {
  const host = fakeHost();
  const engine = desk(host, memoryStore(), { clock: handClock().clock });
  await engine.start();
  const n1 = {
    host, engine,
    apply: (name: string, frontend: string): Promise<unknown> =>
      engine.commands.applyService({ documents: [{ file: `${name}.yaml`, text: written(name, frontend) }] }).then(() => "applied", ({ message }: Error) => message),
    shown: (): readonly string[] => engine.queries.services().map(({ name, frontends, state }) => `${name} ${frontends.map(({ address, port }) => `${address}:${port}`).join()} ${state}`),
    /** Both at once: the second is in the state before the first is carried out. */
    applyBoth: async (first: readonly [string, string], second: readonly [string, string]): Promise<readonly unknown[]> => {
      const [begun, gate] = [Promise.withResolvers<undefined>(), Promise.withResolvers<undefined>()];
      host.before = (call) => {
        if (!call.startsWith("do services")) return;
        begun.resolve(undefined);
        return gate.promise;
      };
      const one = n1.apply(...first);
      await begun.promise;
      const other = n1.apply(...second);
      while (!n1.shown().some((line) => line.startsWith(second.join(" ")))) await new Promise(setImmediate);
      gate.resolve(undefined);
      return Promise.all([one, other]);
    },
    noRoomFor: (...names: readonly string[]): void => void (host.full = ({ name }) => (names.includes(name) ? new HawserError("TABLE_FULL", `no room for ${name}`) : undefined)),
  };
  return n1;
}

test("without etcd, too, a service for which there is no room is taken back, also when others were applied meanwhile", async (t) => {
  const n1 = await alone();
  n1.noRoomFor("big");
  t.deepEqual(await n1.applyBoth(["big", "203.0.113.20:80"], ["small", "203.0.113.21:80"]), ["no room for big", "applied"]);
  t.deepEqual(n1.shown(), ["small 203.0.113.21:80 enforced"]);
  n1.noRoomFor("small");
  t.deepEqual(await n1.applyBoth(["small", "203.0.113.22:80"], ["web", "203.0.113.23:80"]), ["no room for small", "applied"]);
  await n1.engine.idle();
  t.deepEqual(n1.shown(), ["small 203.0.113.21:80 pending", "web 203.0.113.23:80 enforced"]);
});

test("what was before is not there again where another has its frontend by now", async (t) => {
  const n1 = await alone();
  await n1.apply("web", "203.0.113.20:80");
  n1.noRoomFor("web");
  t.deepEqual(await n1.applyBoth(["web", "203.0.113.21:80"], ["dns", "203.0.113.20:80"]), ["no room for web", "applied"]);
  await n1.engine.idle();
  t.deepEqual(n1.shown(), ["dns 203.0.113.20:80 enforced", "web 203.0.113.21:80 pending"]);
});

test("who applies again what waits for room is told that it does, and it stays", async (t) => {
  const n1 = await alone();
  await n1.apply("web", "203.0.113.20:80");
  n1.noRoomFor("web");
  n1.host.writeAnew();
  await n1.engine.idle();
  t.is(await n1.apply("web", "203.0.113.20:80"), "no room for web");
  t.deepEqual(n1.shown(), ["web 203.0.113.20:80 pending"]);
  n1.noRoomFor();
  t.is(await n1.apply("web", "203.0.113.20:80"), "applied");
});

test("a look at what stands in the way that fails is not the last one", async (t) => {
  const n1 = await node();
  n1.host.full = () => new HawserError("TABLE_FULL", "service web: no room is left for its addresses");
  await n1.others({ web: written("web", "203.0.113.10:80") });
  let failures = 0;
  n1.host.before = (call) => {
    if (!call.startsWith("do services")) return;
    failures++;
    throw new HawserError("KERNEL", "not now");
  };
  await n1.later();
  t.is(failures, 1);
  n1.host.before = () => {};
  n1.host.full = () => undefined;
  await n1.later();
  t.deepEqual(n1.shown(), ["web enforced"]);
});

test("one for which there is no room any more when nodes move is tried again though nothing happens", async (t) => {
  const n1 = await node();
  await n1.others({ web: written("web", "203.0.113.10:80") });
  n1.host.full = () => new HawserError("TABLE_FULL", "service web: no room is left for its addresses");
  n1.host.writeAnew();
  await n1.engine.idle();
  t.deepEqual([n1.inForce(), n1.shown()], [tcp.slice(1), ["web pending: service web: no room is left for its addresses"]]);
  n1.host.full = () => undefined;
  await n1.later();
  t.deepEqual(n1.shown(), ["web enforced"]);
});
