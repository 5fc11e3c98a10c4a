// The desk when its ground gives way: a lost state, a kernel that hangs, Docker that knows more than it does.
import test from "ava";
import { StepFailure, perform } from "../../../src/engine/commit.ts";
import type { EndpointTruth } from "../../../src/engine/types.ts";
import type { Step } from "../../../src/network/types.ts";
import { desk, endpointCommand, endpointId, fakeHost, memoryStore, network, networkCommand, shop } from "./fake.ts";

const running = (n: number): EndpointTruth => ({
  id: endpointId(n), container: { id: "c".repeat(64), name: `c${n}`, labels: {}, own: {} },
  running: { ipv4: `10.50.0.${n + 1}/24`, ipv6: null, mac: `02:42:0a:32:00:0${n + 1}` },
});
const truth = (...endpoints: readonly EndpointTruth[]) => ({
  askedAt: 2_000_000, networks: [{ id: network, name: "shop", made: networkCommand(), endpoints }], pools: [],
});

test("with its state lost it keeps what stands until Docker has spoken, takes back what lives and sweeps the rest (R24)", async (t) => {
  const { host } = await shop(1, 2);
  const standing = host.things();
  const engine = desk(host, memoryStore());
  t.deepEqual((await engine.start("keep")).removed.links, []);
  await engine.heal();
  t.deepEqual(host.things(), standing);
  t.like((await engine.queries.status()).parts.find((part) => part.part === "sweep"), { state: "off" });
  const report = await engine.commands.reconcile(truth(running(1)));
  t.deepEqual(report.restored, [network, endpointId(1)]);
  t.deepEqual(engine.queries.endpoints().map(({ name, state, ipv4 }) => `${name} ${state} ${ipv4}`), ["c1 ready 10.50.0.2"]);
  t.deepEqual(host.things(), standing.filter((thing) => !thing.includes("hw00000000002")));
  t.is((await engine.queries.status()).parts.find((part) => part.part === "sweep"), undefined);
});

test("what it removed itself is not taken back by an older reading of Docker's (R93)", async (t) => {
  const host = fakeHost();
  let now = 1_000_000;
  const engine = desk(host, memoryStore(), { now: () => now });
  await engine.start();
  await engine.commands.createNetwork(networkCommand());
  const old = { ...truth(), askedAt: now };
  now += 10;
  await engine.commands.deleteNetwork(network);
  now += 10;
  t.deepEqual((await engine.commands.reconcile(old)).restored, []);
  t.deepEqual([engine.queries.networks(), host.things()], [[], []]);
  t.deepEqual((await engine.commands.reconcile({ ...old, askedAt: now })).restored, [network], "a newer one is believed");
});

test("a step that hangs is given up, what came before it is undone, and the error names it", async (t) => {
  const host = fakeHost();
  host.before = (call) => (call.startsWith("do attach") ? new Promise(() => {}) : undefined);
  const cable = { hostInterface: "hw00000000001", containerInterface: "hw00000000001c", mac: "02:42:0a:32:00:02", mtu: 1500 };
  const steps = [{ kind: "cable", cable }, { kind: "attach", cable }, { kind: "detach", cable }] as unknown as readonly Step[];
  const error = await t.throwsAsync(perform(steps, host.datapath.doers, undefined, 20), { instanceOf: StepFailure }) as StepFailure;
  t.deepEqual([error.code, error.message, error.unclean], ["DEADLINE", "attach hw00000000001 took longer than 20 ms and is waited for no more", true]);
  t.deepEqual(host.calls, ["do cable hw00000000001", "do attach hw00000000001", "undo attach hw00000000001", "undo cable hw00000000001"]);
  t.deepEqual(host.things(), []);
});

test("a kernel that hangs holds the queue for seconds, not for ever, and asks for healing", async (t) => {
  t.timeout(30_000);
  const { host, engine } = await shop();
  host.before = (call) => (call === "do attach hw00000000001" ? new Promise(() => {}) : undefined);
  const hung = engine.commands.createEndpoint(endpointCommand(1));
  const next = engine.commands.createEndpoint(endpointCommand(2));
  await t.throwsAsync(hung, { code: "DEADLINE" });
  t.truthy((await next).mac);
  t.deepEqual(engine.queries.endpoints().map(({ id }) => id), [endpointId(2)]);
  t.true(engine.needsHealing);
  await engine.heal();
  t.false(engine.needsHealing);
});

test("a removal whose caller has stopped waiting is done all the same when its turn comes (R94)", async (t) => {
  const { host, engine } = await shop(1);
  const gone = AbortSignal.abort(new Error("the deadline passed"));
  await engine.commands.leave({ id: endpointId(1), network }, gone);
  await engine.commands.deleteEndpoint({ id: endpointId(1), network }, gone);
  t.deepEqual(engine.queries.endpoints(), []);
  t.false(host.things().some((thing) => thing.includes("hw00000000001")));
});
