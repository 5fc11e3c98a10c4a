// The desk with a fake kernel: everything or nothing, in order, saved, and healed after a kill.
import test from "ava";
import { StepFailure } from "../../../src/engine/commit.ts";
import type { Json } from "../../../src/store/types.ts";
import { HawserError } from "../../../src/std/errors.ts";
import { desk, endpointCommand, endpointId, fakeHost, joinCommand, memoryStore, network, networkCommand, shop } from "./fake.ts";

const port = { protocol: "tcp" as const, containerPort: 80, hostIp: null };

test("a container's whole life leaves the host and the store as they were", async (t) => {
  const host = fakeHost();
  const rows = new Map<string, Map<string, Json>>();
  const engine = desk(host, memoryStore(rows));
  await engine.start();
  await engine.commands.createNetwork(networkCommand());
  const before = host.things();
  await engine.commands.createEndpoint(endpointCommand(1));
  const reply = await engine.commands.join(joinCommand(1));
  t.is(reply.gateway4, "10.50.0.1" as never);
  await engine.commands.publishPorts({ id: endpointId(1), network, ports: [{ ...port, hostPort: 8080, hostPortEnd: 8080 }] });
  t.true(host.things().some((thing) => thing === "port tcp 0.0.0.0 8080"), host.things().join("\n"));
  t.is(engine.queries.ports().length, engine.queries.endpoints()[0]?.ports.length ?? -1);
  await engine.commands.revokePorts({ id: endpointId(1), network });
  await engine.commands.leave({ id: endpointId(1), network });
  await engine.commands.deleteEndpoint({ id: endpointId(1), network });
  t.deepEqual(host.things(), before);
  await engine.commands.deleteNetwork(network);
  t.deepEqual(host.things(), []);
  t.is([...rows.values()].reduce((sum, table) => sum + table.size, 0), 0);
});

test("whichever step fails, everything before it is undone in reverse and nothing is remembered", async (t) => {
  for (let n = 0; n < 3; n++) {
    const host = fakeHost();
    const rows = new Map<string, Map<string, Json>>();
    const engine = desk(host, memoryStore(rows));
    await engine.start();
    await engine.commands.createNetwork(networkCommand());
    const [things, saved] = [host.things(), JSON.stringify([...rows].map(([k, v]) => [k, [...v]]))];
    host.calls.length = 0;
    let count = 0;
    host.before = (call) => {
      if (call.startsWith("do ") && count++ === n) throw new HawserError("KERNEL", `step ${n} failed`);
    };
    const run = async (): Promise<void> => {
      await engine.commands.createEndpoint(endpointCommand(1));
      await engine.commands.join(joinCommand(1));
    };
    await t.throwsAsync(run, { message: `step ${n} failed` });
    const done = host.calls.filter((call) => call.startsWith("do ")).map((call) => call.slice(3));
    const undone = host.calls.filter((call) => call.startsWith("undo ")).map((call) => call.slice(5));
    t.deepEqual(undone, done.slice(-undone.length).toReversed(), host.calls.join("\n"));
    if (n < 2) {
      t.deepEqual(host.things(), things);
      t.is(JSON.stringify([...rows].map(([k, v]) => [k, [...v]])), saved);
      t.deepEqual(engine.queries.endpoints(), []);
    } else {
      t.is(engine.queries.endpoints()[0]?.state, "init");
    }
    t.false(engine.needsHealing);
  }
});

test("errors while undoing do not stop it, are all reported, and ask for healing", async (t) => {
  const { host, engine } = await shop();
  host.before = (call) => {
    if (call.startsWith("do attach")) throw new HawserError("KERNEL", "no program");
    if (call.startsWith("undo attach")) throw new HawserError("KERNEL", "no link");
    if (call.startsWith("undo cable")) throw new HawserError("KERNEL", "no device");
  };
  const error = await t.throwsAsync(engine.commands.createEndpoint(endpointCommand(1)), { instanceOf: StepFailure }) as StepFailure;
  t.is(error.code, "KERNEL");
  t.is(error.message, "no program; undoing it left something behind: no link; no device");
  t.deepEqual((error.cause as AggregateError).errors.map((inner: Error) => inner.message), ["no program", "no link", "no device"]);
  t.true(engine.needsHealing);
  t.is((await engine.queries.status()).parts.find((part) => part.part === "host")?.state, "degraded");
  host.before = () => {};
  const report = await engine.heal();
  t.deepEqual(report.removed.links, ["cable hw00000000001"]);
  t.false(engine.needsHealing);
});

test("a kernel's error names the step, the call and the kernel's words", async (t) => {
  const host = fakeHost();
  const engine = desk(host, memoryStore());
  await engine.start();
  host.before = (call) => {
    if (call.startsWith("do ")) throw Object.assign(new Error("bpf: Operation not permitted"), { errno: 1, syscall: "bpf", detail: "locked down" });
  };
  const error = await t.throwsAsync(engine.commands.createNetwork(networkCommand()), { instanceOf: HawserError });
  t.is(error?.code, "KERNEL");
  t.regex(error?.message ?? "", /^network \d+: bpf: Operation not permitted \(locked down\)$/);
});

test("when the state cannot be saved, the steps are undone and the old state stands (R24)", async (t) => {
  const host = fakeHost();
  const store = memoryStore();
  const engine = desk(host, store);
  await engine.start();
  store.broken = new HawserError("STORE", "/var/lib/hawser/hawser.db: disk full");
  const error = await t.throwsAsync(engine.commands.createNetwork(networkCommand()), { instanceOf: HawserError });
  t.is(error?.code, "STORE");
  t.regex(error?.message ?? "", /hawser\.db/);
  t.deepEqual(host.things(), []);
  t.deepEqual(engine.queries.networks(), []);
  t.deepEqual((await engine.queries.status()).problems, ["store: /var/lib/hawser/hawser.db: disk full"]);
  store.broken = null;
  await engine.commands.createNetwork(networkCommand());
  t.is(engine.queries.networks().length, 1);
});

test("R13: killed between the steps and the save, the next start sweeps what no state claims", async (t) => {
  const host = fakeHost();
  const rows = new Map<string, Map<string, Json>>();
  const store = memoryStore(rows);
  const engine = desk(host, store);
  await engine.start();
  await engine.commands.createNetwork(networkCommand());
  const claimed = host.things();
  const { promise: reached, resolve: atTheSave } = Promise.withResolvers<void>();
  store.onWrite = () => {
    atTheSave();
    return new Promise(() => {});
  };
  engine.commands.createEndpoint(endpointCommand(1)).then(() => t.fail("it was killed"), () => t.fail("it was killed"));
  await reached;
  t.notDeepEqual(host.things(), claimed);
  const next = desk(host, memoryStore(rows));
  const report = await next.start();
  t.deepEqual(host.things(), claimed);
  t.deepEqual(report.removed.links.toSorted(), ["attach hw00000000001", "cable hw00000000001"]);
  t.is(next.queries.networks().length, 1);
});

test("R11: a restart remembers networks, endpoints and ports, and claims what they need", async (t) => {
  const host = fakeHost();
  const rows = new Map<string, Map<string, Json>>();
  const first = desk(host, memoryStore(rows));
  await first.start();
  await first.commands.createNetwork(networkCommand());
  await first.commands.createEndpoint(endpointCommand(1));
  await first.commands.join(joinCommand(1));
  await first.commands.publishPorts({ id: endpointId(1), network, ports: [{ ...port, hostPort: 8080, hostPortEnd: 8080 }] });
  const things = host.things();
  const second = desk(host, memoryStore(rows));
  const report = await second.start();
  t.deepEqual(report.removed.links, []);
  t.deepEqual(host.things(), things);
  t.deepEqual(second.queries.endpoints(), first.queries.endpoints());
  t.deepEqual(second.queries.ports(), first.queries.ports());
});

test("aborted between two steps, a command is undone and says so", async (t) => {
  const { host, engine } = await shop();
  const things = host.things();
  const controller = new AbortController();
  host.before = (call) => {
    if (call.startsWith("do cable")) controller.abort(new HawserError("DEADLINE", "5 s are over"));
  };
  await t.throwsAsync(engine.commands.createEndpoint(endpointCommand(1), controller.signal), { message: "5 s are over" });
  t.deepEqual(host.things(), things);
  t.deepEqual(engine.queries.endpoints(), []);
});

test("a removal whose step fails is a removal all the same: the state forgets it and the sweep takes the rest", async (t) => {
  const { host, engine } = await shop();
  const things = host.things();
  await engine.commands.createEndpoint(endpointCommand(1));
  await engine.commands.join(joinCommand(1));
  host.before = (call) => {
    if (call.startsWith("do detach")) throw new HawserError("KERNEL", "busy");
  };
  await engine.commands.deleteEndpoint({ id: endpointId(1), network });
  t.deepEqual(engine.queries.endpoints(), []);
  t.deepEqual(host.things(), things);
  t.regex(engine.lines.join("\n"), /a removal failed; sweeping instead/);
});

test("an ephemeral port that another program holds is exchanged for a free one", async (t) => {
  const { host, engine } = await shop(1);
  const refused = new Set<string>();
  host.before = (call) => {
    if (!call.startsWith("do claimPort tcp 0.0.0.0") || refused.size >= 3) return;
    refused.add(call);
    throw new HawserError("PORT_IN_USE", "taken by another program");
  };
  await engine.commands.publishPorts({ id: endpointId(1), network, ports: [{ ...port, hostPort: 0, hostPortEnd: 0 }] });
  t.is(refused.size, 3);
  const published = engine.queries.ports().map((row) => row.hostPort);
  t.true(published.length > 0 && !published.some((chosen) => [...refused].some((call) => call.endsWith(` ${chosen}`))));
});

test("a fixed port that another program holds is refused at once, with the doer's words", async (t) => {
  const { host, engine } = await shop(1);
  const things = host.things();
  host.before = (call) => {
    if (call.startsWith("do claimPort")) throw new HawserError("PORT_IN_USE", "tcp port 8080 is held by another program");
  };
  const error = await t.throwsAsync(
    engine.commands.publishPorts({ id: endpointId(1), network, ports: [{ ...port, hostPort: 8080, hostPortEnd: 8080 }] }), { instanceOf: HawserError },
  );
  t.is(error?.code, "PORT_IN_USE");
  t.is(error?.message, "tcp port 8080 is held by another program");
  t.is(host.calls.filter((call) => call.startsWith("do claimPort")).length, 1);
  t.deepEqual(host.things(), things);
});

test("when every ephemeral port tried is taken, it gives up after a bounded number", async (t) => {
  const { host, engine } = await shop(1);
  host.before = (call) => {
    if (call.startsWith("do claimPort")) throw new HawserError("PORT_IN_USE", "taken");
  };
  const error = await t.throwsAsync(
    engine.commands.publishPorts({ id: endpointId(1), network, ports: [{ ...port, hostPort: 0, hostPortEnd: 0 }] }), { instanceOf: HawserError },
  );
  t.is(error?.code, "PORT_IN_USE");
  t.true(host.calls.filter((call) => call.startsWith("do claimPort")).length <= 40);
});

test("whoever wants to know of a join hears of it after the answer, and no longer once it left", async (t) => {
  const { engine } = await shop();
  await engine.commands.createEndpoint(endpointCommand(1));
  await engine.commands.createEndpoint(endpointCommand(2));
  const heard: string[] = [];
  const listener = engine.onJoined((ref) => heard.push(ref.id));
  await engine.commands.join(joinCommand(1));
  t.deepEqual(heard, []);
  await new Promise(setImmediate);
  t.deepEqual(heard, [endpointId(1)]);
  listener[Symbol.dispose]();
  await engine.commands.join(joinCommand(2));
  await new Promise(setImmediate);
  t.deepEqual(heard, [endpointId(1)]);
});

test("R16, R17: reconciling removes what Docker forgot and names what it has", async (t) => {
  const host = fakeHost();
  let now = 0;
  const engine = desk(host, memoryStore(), { now: () => now });
  await engine.start();
  await engine.commands.createNetwork(networkCommand());
  for (const n of [1, 2]) {
    await engine.commands.createEndpoint(endpointCommand(n));
    await engine.commands.join(joinCommand(n));
  }
  now = 120_000;
  const container = { id: "c".repeat(64), name: "db", labels: { tier: "db" } };
  const report = await engine.commands.reconcile({ networks: [{ id: network, name: "shop", endpoints: [{ id: endpointId(1), container }] }] });
  t.deepEqual(report, { removedEndpoints: [endpointId(2)], removedNetworks: [], identified: 1, restored: [], refused: [] });
  t.deepEqual(engine.queries.endpoints().map(({ name, network: on, labels }) => ({ name, on, labels })), [{ name: "db", on: "shop", labels: { tier: "db" } }]);
  t.false(host.things().some((thing) => thing.includes("hw00000000002")));
});

test("the installation's masquerade default reaches networks that do not say", async (t) => {
  const host = fakeHost();
  const engine = desk(host, memoryStore(), { masquerade: false });
  await engine.start();
  await engine.commands.createNetwork(networkCommand());
  t.false(engine.queries.network(network)?.masquerade);
});

test("a stored row of another layout is refused by name", async (t) => {
  const rows = new Map<string, Map<string, Json>>([["networks", new Map([["n1", { id: "n1" }]])]]);
  const error = await t.throwsAsync(desk(fakeHost(), memoryStore(rows)).start(), { instanceOf: HawserError });
  t.is(error?.code, "STORE");
  t.regex(error?.message ?? "", /networks\/n1 has no proper "number"/);
});
