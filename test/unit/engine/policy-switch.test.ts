// The desk and policy under strain: no moment without a container's own policy, tables that do not fit, endpoints that died, careless words.
import test from "ava";
import type { ContainerIdentity } from "../../../src/network/types.ts";
import type { PolicyTables } from "../../../src/policy/types.ts";
import type { Ip } from "../../../src/std/ip.ts";
import { HawserError } from "../../../src/std/errors.ts";
import { desk, endpointId, fakeHost, memoryStore, network, networkCommand, openShop } from "./fake.ts";
import type { FakeHost } from "./fake.ts";

type People = Readonly<Record<number, Pick<ContainerIdentity, "name" | "own">>>;

async function shop(people: People, host: FakeHost = fakeHost(), now?: () => number) {
  const whose = async ({ id }: { readonly id: string }): Promise<ContainerIdentity | null> => {
    const found = Object.entries(people).find(([n]) => endpointId(Number(n)) === id)?.[1];
    return found === undefined ? null : { id: `c-${found.name}`, labels: found.own ?? {}, ...found };
  };
  const engine = desk(host, memoryStore(), { whose, ...(now && { now }) });
  await engine.start();
  return { host, engine, join: await openShop(engine) };
}

const policy = (body: string, name = "shop") => ({ documents: [{ file: `${name}.yaml`, text: `policy: ${name}\nfor: { network: shop }\n${body}` }], strict: false });

test("R56: a container whose number changes is never without the policy of its own labels, whatever moment a packet meets", async (t) => {
  const { host, engine, join } = await shop({ 1: { name: "shy", own: { "hawser.default.in": "deny" } }, 2: { name: "web", own: {} } });
  await join(1, 2);
  const seen: (PolicyTables | null)[] = [];
  host.before = () => void seen.push(host.datapath.policy().tables);
  const numbers = [engine.queries.endpoints()[0]?.identity];
  await engine.commands.applyPolicy(policy("allow: [web -> shy:80]\n"));
  numbers.push(engine.queries.endpoints()[0]?.identity);
  t.not(numbers[0], numbers[1], "its name counts from now on");
  const rows = seen.flatMap((tables) => numbers.flatMap((number) => tables?.classes.get(number ?? 0) ?? []));
  t.true(rows.length > 3, "both numbers were known while they changed");
  t.deepEqual(rows.filter(({ denyIn }) => !denyIn), []);
});

test("R31: replicas with policy in their labels bring it once, and one more of them changes nothing", async (t) => {
  const own = { job: "x", "hawser.allow.in": "any" };
  const { host, join } = await shop({ 1: { name: "a", own }, 2: { name: "b", own }, 3: { name: "c", own } });
  await join(1, 2);
  t.is(host.datapath.policy().tables?.rules.length, 1);
  host.calls.length = 0;
  await join(3);
  t.deepEqual(host.calls.filter((call) => call.includes("policy")), []);
});

test("R32: tables that do not fit close whom they were for, and keep nobody else from starting", async (t) => {
  const people: Record<number, ContainerIdentity> = { 2: { id: "c2", name: "b", labels: {}, own: { too: "much" } } };
  const { host, engine, join } = await shop(people);
  await join(1);
  host.before = (call) => {
    if (call.startsWith("do policy")) throw new HawserError("TABLE_FULL", "hw_policy_ports needs 2000000 entries, and may have 1048576");
  };
  await engine.commands.reconcile({ networks: [{ id: network, name: "shop", endpoints: [{ id: endpointId(1), container: people[2] ?? null }] }] }).catch(() => undefined);
  await t.notThrowsAsync(join(3));
  await t.notThrowsAsync(engine.commands.leave({ id: endpointId(3), network }));
});

test("R32: more than 4096 characters of policy in a container's labels are none, and close it", async (t) => {
  const ports = Array.from({ length: 3000 }, (_, i) => 2 * i + 1).join(",");
  const { host, engine, join } = await shop({ 1: { name: "bomb", own: { "hawser.allow.in": `any:${ports}` } } });
  await join(1);
  t.true((host.datapath.policy().tables?.ports.size ?? 0) < 100);
  t.like(engine.queries.trace("world", "bomb:1"), { verdict: "deny" });
  t.regex((await engine.queries.status()).problems.join(), /hold \d+ characters, and may hold 4096/);
});

test("R20: an endpoint that died keeps no policy from being applied", async (t) => {
  let now = 1_000_000;
  const fake = fakeHost();
  const cables = new Set<string>();
  const host: FakeHost = { ...fake, datapath: { ...fake.datapath, standing: () => ({ cables, gateways: new Map(), ports: [] }) } };
  const { engine, join } = await shop({ 1: { name: "web", own: {} } }, host, () => now);
  await join(1);
  now += 60_000;
  fake.before = (call) => {
    if (call.startsWith("do endpoint")) throw new HawserError("KERNEL", "device hw is not there");
  };
  await t.notThrowsAsync(engine.commands.applyPolicy(policy("allow: [web -> db:80]\n")));
  t.deepEqual(engine.queries.policies().map(({ name }) => name), ["shop"]);
});

test("a container with a wrong label is closed even where a policy's rule would open it, because its label may have meant to deny", async (t) => {
  const { engine, join } = await shop({ 1: { name: "odd", own: { "hawser.deny.in": "wrold" } }, 2: { name: "web", own: {} } });
  await join(1, 2);
  await engine.commands.applyPolicy(policy("allow: [any -> any]\n"));
  t.like(engine.queries.trace("web", "odd:80"), { verdict: "deny" });
  t.like(engine.queries.trace("odd", "web:80"), { verdict: "deny" });
});

test("two documents of one name are refused: what the second says would be remembered by the first", async (t) => {
  const { engine } = await shop({});
  const [first] = policy("default: { in: deny }\n").documents;
  const second = { file: "shop.yaml", text: "policy: other\nfor: all\ndeny: [any -> any]\n" };
  const error = await t.throwsAsync(engine.commands.applyPolicy({ strict: false, documents: first === undefined ? [] : [first, second] }), { instanceOf: HawserError });
  t.is(error.message, "the file shop.yaml is given twice");
});

test("R92: who is not known yet is traced as that, by its address too, and not as the world", async (t) => {
  const { engine, join } = await shop({ 1: { name: "web", own: {} } });
  await join(1, 7);
  t.like(engine.queries.trace("10.50.0.8", "world"), { verdict: "deny", decidedBy: "not-identified" });
  t.like(engine.queries.trace("web", "10.50.0.8:80"), { verdict: "deny", decidedBy: "not-identified" });
  t.throws(() => engine.queries.trace("", "web"), { code: "NOT_FOUND" });
});

test("a document that was refused may be right later: told again it is taken, and what stands is not read anew", async (t) => {
  const { engine } = await shop({});
  const reading = { directory: "/p", unreadable: {}, documents: [{ file: "/p/shop.yaml", text: "policy: shop\nfor: all\ndefault: { in: deny }\n" }] };
  await engine.commands.applyPolicy(policy("default: { out: deny }\n"));
  await engine.commands.syncPolicyDirectory(reading);
  t.regex((await engine.queries.status()).problems.join(), /there is a policy "shop" already/);
  await engine.commands.deletePolicy("shop");
  await engine.commands.syncPolicyDirectory(reading);
  t.like(engine.queries.policies()[0], { state: "enforced", source: "directory /p/shop.yaml" });
});

test("R24: after a lost state nobody is given a number that an endpoint in the kernel still carries", async (t) => {
  const fake = fakeHost();
  const host: FakeHost = { ...fake, datapath: { ...fake.datapath, standing: () => ({ ...fake.datapath.standing(), identities: new Map([["10.50.0.8" as Ip, 256], ["10.50.0.9" as Ip, 300]]) }) } };
  const { engine, join } = await shop({ 1: { name: "web", own: {} } }, host);
  await join(1);
  t.is(engine.queries.endpoints()[0]?.identity, 301);
});

test("R24: with the state lost nothing is written before Docker has told, and then who lives keeps the number that the kernel knows", async (t) => {
  const fake = fakeHost();
  const standing = { cables: new Set([`hw${endpointId(1).slice(0, 11)}`]), gateways: new Map(), ports: [], identities: new Map([["10.50.0.2" as Ip, 300]]) };
  const host: FakeHost = { ...fake, datapath: { ...fake.datapath, standing: () => standing } };
  const engine = desk(host, memoryStore());
  await engine.start("keep");
  t.is(host.datapath.policy().tables, null);
  t.regex((await engine.queries.status()).parts.find(({ part }) => part === "policy")?.detail ?? "", /as an earlier agent left it/);
  const container = { id: "c1", name: "web", labels: {}, own: {} };
  const running = { ipv4: "10.50.0.2/24", ipv6: null, mac: "02:42:0a:32:00:02" };
  await engine.commands.reconcile({ askedAt: 2_000_000, networks: [{ id: network, name: "shop", made: networkCommand(), endpoints: [{ id: endpointId(1), container, running }] }], pools: [] });
  t.like(engine.queries.endpoints()[0], { name: "web", identity: 300, state: "ready" });
  t.true(host.datapath.policy().tables?.classes.has(300));
});
