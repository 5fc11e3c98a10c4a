// The desk and policy: who an endpoint is before Docker hears that it may start, changes that are whole or not at all, what stays in force.
import test from "ava";
import type { ContainerIdentity } from "../../../src/network/types.ts";
import { HawserError } from "../../../src/std/errors.ts";
import { desk, endpointCommand, endpointId, fakeHost, joinCommand, memoryStore, network, networkCommand } from "./fake.ts";
import type { FakeHost, MemoryStore } from "./fake.ts";

const people: Readonly<Record<string, ContainerIdentity>> = {
  [endpointId(1)]: { id: "c1", name: "web", labels: { tier: "web", fromImage: "x" }, own: { tier: "web" } },
  [endpointId(2)]: { id: "c2", name: "db", labels: { tier: "db" }, own: { tier: "db" } },
  [endpointId(3)]: { id: "c3", name: "db2", labels: { tier: "db" }, own: { tier: "db" } },
};

async function shop(store: MemoryStore = memoryStore(), host: FakeHost = fakeHost()) {
  const engine = desk(host, store, { whose: async ({ id }) => people[id] ?? null });
  await engine.start();
  await engine.commands.createNetwork(networkCommand());
  await engine.commands.reconcile({ networks: [{ id: network, name: "shop", endpoints: [] }] });
  return { host, store, engine };
}

const join = async (engine: Awaited<ReturnType<typeof shop>>["engine"], ...which: readonly number[]): Promise<void> => {
  for (const n of which) {
    await engine.commands.createEndpoint(endpointCommand(n));
    await engine.commands.join(joinCommand(n));
  }
};

const policy = (body: string, name = "shop"): { readonly documents: readonly { readonly file: string; readonly text: string }[]; readonly strict: boolean } =>
  ({ documents: [{ file: `${name}.yaml`, text: `policy: ${name}\nfor: { network: shop }\n${body}` }], strict: false });

test("R3: whoever joins is known, and in the tables, before Docker gets its answer", async (t) => {
  const { host, engine } = await shop();
  await engine.commands.createEndpoint(endpointCommand(1));
  host.calls.length = 0;
  await engine.commands.join(joinCommand(1));
  t.like(engine.queries.endpoints()[0], { name: "web", state: "ready", identity: 256 });
  t.deepEqual(host.calls.map((call) => call.replace(/ hw\w+/, "")), ["do endpoint", "do policy of 0 rules", "do endpoint"]);
  t.true(host.datapath.policy().tables?.classes.has(256));
});

test("R3: who is not known in time joins all the same, closed, and is known later", async (t) => {
  const { engine } = await shop();
  await engine.commands.createEndpoint(endpointCommand(7));
  await engine.commands.join(joinCommand(7));
  t.like(engine.queries.endpoints()[0], { state: "init", identity: 0 });
  const container = { id: "c7", name: "late", labels: {}, own: {} };
  await engine.commands.reconcile({ networks: [{ id: network, name: "shop", endpoints: [{ id: endpointId(7), container }] }] });
  t.like(engine.queries.endpoints()[0], { state: "ready", identity: 256, name: "late" });
});

test("R31: replicas share a number, and labels that nobody carries any more give theirs back", async (t) => {
  const { engine } = await shop();
  await join(engine, 1, 2, 3);
  const [web, db, db2] = engine.queries.endpoints().map(({ identity }) => identity);
  t.not(web, db);
  t.is(db, db2);
  t.deepEqual(engine.queries.identities(), [
    { id: web as number, labels: { network: "shop", tier: "web" }, endpoints: 1 }, { id: db as number, labels: { network: "shop", tier: "db" }, endpoints: 2 },
  ]);
  for (let n = 10; n < 1010; n++) {
    (people as Record<string, ContainerIdentity>)[endpointId(n)] = { id: `c${n}`, name: `job${n}`, labels: {}, own: { job: String(n) } };
    await engine.commands.createEndpoint({ ...endpointCommand(9), id: endpointId(n) });
    await engine.commands.join(joinCommand(n));
    await engine.commands.leave({ id: endpointId(n), network });
    await engine.commands.deleteEndpoint({ id: endpointId(n), network });
  }
  t.is(engine.queries.identities().length, 2);
});

test("R88: a label of the image is no label of the container's", async (t) => {
  const { engine } = await shop();
  await join(engine, 1);
  t.deepEqual(engine.queries.identities()[0]?.labels, { network: "shop", tier: "web" });
});

test("R88: labels that may be the image's restrict their container, also after a restart, until they are known to be the image's", async (t) => {
  const rows = new Map();
  const { engine } = await shop(memoryStore(rows));
  const labels = { tier: "db", "com.docker.compose.project": "bank", "hawser.default.out": "deny", "hawser.allow.out": "web" };
  const container: ContainerIdentity = { id: "c5", name: "vault", labels, own: {}, doubtful: labels };
  (people as Record<string, ContainerIdentity>)[endpointId(5)] = container;
  await join(engine, 1, 5);
  const bank = "policy: bank\nfor: { project: bank }\ndefault: { in: deny }\n";
  const everybody = "policy: all\nfor: all\ndeny: ['label(tier=db) -> 10.0.0.0/8']\nallow: ['web -> label(tier=db):80']\n";
  await engine.commands.applyPolicy({ documents: [{ file: "p.yaml", text: `${bank}---\n${everybody}` }], strict: false });
  const again = desk(fakeHost(), memoryStore(rows));
  await again.start();
  for (const { queries } of [engine, again]) {
    t.like(queries.policies().find(({ name }) => name === "bank"), { endpoints: 1 });
    t.like(queries.policies().find(({ name }) => name === "labels of vault"), { state: "enforced" });
    t.deepEqual(queries.endpoints().find(({ name }) => name === "vault")?.default, { in: "deny", out: "deny" });
    t.like(queries.trace("web", "vault:80"), { verdict: "deny", decidedBy: "default:in" });
    t.like(queries.trace("vault", "web:80"), { verdict: "deny", decidedBy: "default:out" });
    t.like(queries.trace("vault", "10.0.0.1:80"), { verdict: "deny", decidedBy: { policy: "all" } });
  }
  const { doubtful: _, ...known } = container;
  await again.commands.reconcile({ networks: [{ id: network, name: "shop", endpoints: [{ id: endpointId(1), container: people[endpointId(1)] ?? null }, { id: endpointId(5), container: known }] }] });
  t.like(again.queries.trace("vault", "web:80"), { verdict: "allow" });
  t.like(again.queries.trace("web", "vault:80"), { verdict: "allow" });
});

test("a name counts only while a rule refers to it, and the numbers change before the policy does (R56)", async (t) => {
  const { host, engine } = await shop();
  await join(engine, 2, 3);
  host.calls.length = 0;
  await engine.commands.applyPolicy(policy("default: { in: deny }\nallow: [db -> db2:5432]\n"));
  t.deepEqual(host.calls.map((call) => call.replace(/ hw\w+/, "")), ["do policy of 0 rules", "do endpoint", "do endpoint", "do policy of 1 rules"]);
  t.deepEqual(engine.queries.identities().map(({ labels }) => labels["name"]), ["db", "db2"]);
  await engine.commands.deletePolicy("shop");
  t.deepEqual(engine.queries.identities().map(({ labels }) => labels["name"]), [undefined]);
});

test("apply is all documents or none, and says what is wrong with file, line and column", async (t) => {
  const { engine } = await shop();
  await engine.commands.applyPolicy(policy("allow: [web -> db:5432]\n"));
  const error = await t.throwsAsync(engine.commands.applyPolicy({
    strict: false, documents: [...policy("allow: [web -> db:1]\n").documents, { file: "b.yaml", text: "policy: b\nfor: all\nallow:\n  - web => db\n" }],
  }), { instanceOf: HawserError });
  t.is(error.code, "BAD_POLICY");
  t.regex(error.message, /^b\.yaml:4:\d+: /);
  t.deepEqual(engine.queries.policies().map(({ name, rules, revision }) => ({ name, rules, revision })), [{ name: "shop", rules: 1, revision: 1 }]);
});

test("R64: a failing test of a policy refuses it", async (t) => {
  const { engine } = await shop();
  const error = await t.throwsAsync(engine.commands.applyPolicy(policy("default: { in: deny }\ntests: [{ from: web, to: 'db:5432', expect: allow }]\n")), { instanceOf: HawserError });
  t.is(error.code, "BAD_POLICY");
  t.deepEqual(engine.queries.policies(), []);
});

test("R32: what does not fit the tables is refused, and the old policy stays", async (t) => {
  const { host, engine } = await shop();
  await engine.commands.applyPolicy(policy("default: { in: deny }\n"));
  const before = host.datapath.policy().tables;
  host.before = (call) => {
    if (call.startsWith("do policy")) throw new HawserError("TABLE_FULL", "hw_policy_ports needs 2000000 entries, and may have 1048576");
  };
  const error = await t.throwsAsync(engine.commands.applyPolicy(policy("default: { in: deny }\nallow: [web -> db]\n")), { instanceOf: HawserError });
  t.is(error.code, "TABLE_FULL");
  host.before = () => {};
  t.is(host.datapath.policy().tables, before);
  t.is(engine.queries.policies()[0]?.rules, 0);
});

test("R7: an empty or truncated file leaves in force what it said before, and is a problem that can be seen", async (t) => {
  const { engine } = await shop();
  const directory = "/etc/hawser/policy.d";
  const read = (text: string): Promise<void> =>
    engine.commands.syncPolicyDirectory({ directory, documents: [{ file: `${directory}/shop.yaml`, text }], unreadable: {} });
  await read("policy: shop\nfor: all\ndefault: { in: deny }\nallow: [web -> db]\n");
  t.like(engine.queries.policies()[0], { name: "shop", state: "enforced", rules: 1, source: `directory ${directory}/shop.yaml` });
  for (const text of ["", "policy: shop\nfor: all\ndefault: { in: de"]) {
    await read(text);
    t.like(engine.queries.policies()[0], { name: "shop", state: "rejected", rules: 1 }, text);
    t.regex((await engine.queries.status()).problems.join(), /policy: .*shop\.yaml/);
  }
  await read("policy: shop\nfor: all\nallow: [web -> db, db -> web]\n");
  t.like(engine.queries.policies()[0], { state: "enforced", rules: 2, error: null });
});

test("R7: a directory that lost all its policies at once, or cannot be read, keeps them; one file of several that goes takes its policy along", async (t) => {
  const { engine } = await shop();
  const directory = "/etc/hawser/policy.d";
  const document = (name: string) => ({ file: `${directory}/${name}.yaml`, text: `policy: ${name}\nfor: all\ndefault: { in: deny }\n` });
  const names = (): readonly string[] => engine.queries.policies().map(({ name }) => name);
  await engine.commands.syncPolicyDirectory({ directory, documents: [document("a"), document("b")], unreadable: {} });
  await engine.commands.syncPolicyDirectory({ directory, documents: [document("b")], unreadable: {} });
  t.deepEqual(names(), ["b"]);
  for (const documents of [[], null]) {
    await engine.commands.syncPolicyDirectory({ directory, documents, unreadable: {} });
    t.deepEqual(names(), ["b"]);
    t.regex((await engine.queries.status()).problems.join(), /stay in force/);
  }
  await engine.commands.deletePolicy("b");
  t.deepEqual(names(), []);
});

test("one wrong file in the directory does not keep the others from being taken over", async (t) => {
  const { engine } = await shop();
  const directory = "/p";
  await engine.commands.syncPolicyDirectory({ directory, unreadable: {}, documents: [{ file: "/p/bad.yaml", text: "policy: bad\nfor: nobody\n" }, { file: "/p/good.yaml", text: "policy: good\nfor: all\ndefault: { in: deny }\n" }] });
  t.deepEqual(engine.queries.policies().map(({ name, state }) => `${name} ${state}`), ["good enforced", "bad.yaml rejected"]);
});

test("R11: after a restart the same containers have the same numbers, and the policies are in force before anything else is done", async (t) => {
  const rows = new Map();
  const { engine } = await shop(memoryStore(rows));
  await join(engine, 1, 2);
  await engine.commands.applyPolicy(policy("allow: [web -> db:5432]\n"));
  const before = engine.queries.identities();
  const host = fakeHost();
  const again = desk(host, memoryStore(rows));
  await again.start();
  t.is(host.calls[0], "do policy of 1 rules");
  t.deepEqual(again.queries.identities(), before);
});

test("a container whose own label is no policy is closed, and said so", async (t) => {
  const { host, engine } = await shop();
  (people as Record<string, ContainerIdentity>)[endpointId(4)] = { id: "c4", name: "odd", labels: {}, own: { "hawser.default.in": "perhaps" } };
  await join(engine, 4);
  const [endpoint] = engine.queries.endpoints();
  t.deepEqual(endpoint?.default, { in: "deny", out: "deny" });
  t.like(host.datapath.policy().tables?.classes.get(endpoint?.identity ?? 0), { denyIn: true, denyOut: true });
  t.regex((await engine.queries.status()).problems.join(), /policy: odd: .*hawser\.default\.in/);
  t.like(engine.queries.policies()[0], { name: "labels of odd", state: "rejected" });
  t.regex(engine.queries.policy("labels of odd").text, /^default\.in: deny$/m);
});

test("R88: a doubtful label that is no policy closes its container too", async (t) => {
  const { engine } = await shop();
  const labels = { "hawser.allow.in": "web ->" };
  (people as Record<string, ContainerIdentity>)[endpointId(6)] = { id: "c6", name: "odd6", labels, own: {}, doubtful: labels };
  await join(engine, 1, 6);
  t.deepEqual(engine.queries.endpoints().find(({ name }) => name === "odd6")?.default, { in: "deny", out: "deny" });
  t.like(engine.queries.trace("web", "odd6:80"), { verdict: "deny" });
  t.like(engine.queries.policies()[0], { name: "labels of odd6", state: "rejected" });
});

test("an address of a network's that nobody has is nobody, not the world", async (t) => {
  const { engine } = await shop();
  await join(engine, 1);
  t.like(engine.queries.trace("web", "198.51.100.7:80"), { verdict: "allow" });
  const error = t.throws(() => engine.queries.trace("web", "10.50.0.99:80"), { instanceOf: HawserError });
  t.is(error.code, "NOT_FOUND");
  t.regex(error.message, /10\.50\.0\.99 lies in network shop/);
});

test("R50: what Hawser cannot enforce is noted, and closed both ways where the configuration says so", async (t) => {
  const host = fakeHost();
  const container: ContainerIdentity = { id: "c1", name: "web", labels: {}, own: { tier: "web" }, notes: ["privileged: it may leave its namespace"] };
  const engine = desk(host, memoryStore(), { unenforced: "quarantine", whose: async ({ id }) => (id === endpointId(1) ? container : people[id] ?? null) });
  await engine.start();
  await engine.commands.createNetwork(networkCommand());
  await engine.commands.reconcile({ networks: [{ id: network, name: "shop", endpoints: [] }] });
  await join(engine, 1, 2);
  await engine.commands.applyPolicy(policy("allow: [any -> any]\n"));
  t.deepEqual(engine.queries.endpoints().map(({ name, state, notes }) => `${name} ${state} ${notes.length}`), ["web quarantined 1", "db ready 0"]);
  t.like(engine.queries.trace("web", "db:80"), { verdict: "deny" });
  t.like(engine.queries.trace("db", "web:80"), { verdict: "deny" });
  await engine.commands.reconcile({ networks: [{ id: network, name: "shop", endpoints: [{ id: endpointId(1), container: { ...container, notes: [] } }, { id: endpointId(2), container: people[endpointId(2)] ?? null }] }] });
  t.like(engine.queries.trace("web", "db:80"), { verdict: "allow" });
});

test("R5: programs that the kernel refuses leave nothing half attached, and Docker is told why", async (t) => {
  const { host, engine } = await shop();
  const before = host.things();
  host.before = (call) => {
    if (call.startsWith("do attach")) throw Object.assign(new Error("EACCES"), { syscall: "BPF_PROG_LOAD", detail: "R1 invalid mem access" });
  };
  const error = await t.throwsAsync(engine.commands.createEndpoint(endpointCommand(1)), { instanceOf: HawserError });
  t.is(error.code, "KERNEL");
  t.regex(error.message, /attach hw\w+: .*R1 invalid mem access/);
  t.deepEqual(host.things(), before);
  t.deepEqual(engine.queries.endpoints(), []);
});
