// Policy while the agent is away or does not know enough: what is in force stays so, and what is not known is not open.
//
//   a: web ──▶ db (shop)      LAN ── router ── outside
import { readFileSync, writeFileSync } from "node:fs";
import test from "ava";
import { dockerGate, type Gate } from "../lab/docker-gate.ts";
import { expectDrops, some } from "../lab/drops.ts";
import type { Place } from "../lab/place.ts";
import { isDropped, passes, policyScene } from "../lab/policy.ts";
import { patience, waitFor } from "../lab/run.ts";
import { change, now, runs, storm, wrong } from "../lab/storm.ts";

const stage = policyScene(test);

async function make(name: string, ...options: readonly string[]): Promise<Place> {
  await stage.host.container(name, ["--network", "shop", ...options]);
  return stage.host.inside(name);
}

interface Status {
  readonly ready: boolean;
  readonly problems: readonly string[];
}

const problems = async (): Promise<readonly string[]> => ((await stage.host.json("status")) as Status).problems;

const rule = (port: number): string => `policy: shop\nfor: { network: shop }\ndefault: { in: deny }\nallow:\n  - web -> db:${port}/udp\n`;

test.serial("without the agent docker run is refused with a message, leaves nothing, and running containers keep their policy (R2)", async (t) => {
  const { host, world: { outside } } = stage;
  await host.network("shop");
  const [web, db] = [await make("web"), await make("db")];
  await using _db = await db.serve({ tcp: [7000], udp: [7000, 7001] });
  await stage.apply(rule(7000));
  const [links, before] = [await host.links(), await host.drops()];
  await host.agent.stop();
  const refused = await host.dockerOutput(["run", "-d", "--name", "late", "--network", "shop", "-p", "8080:80", "hawser/busybox", "sleep", "infinity"], { timeoutMs: 90_000 });
  t.not(refused.code, 0);
  t.not(refused.code, 124, "it does not hang");
  t.regex(refused.stderr, /hawser/i);
  t.deepEqual(await host.links(), links);
  t.is(await host.docker("inspect", "-f", "{{.State.Running}}", "late"), "false");
  t.is(await outside.ask("tcp", host.ipv4, 8080, { timeout: 1 }), "ECONNREFUSED", "its port is not open");
  await passes(t, web, db.ipv4, 7000, "udp");
  await isDropped(t, web, db.ipv4, 7001, "udp");
  await isDropped(t, web, db.ipv4, 7000);
  await isDropped(t, host, db.ipv4, 7000);
  await host.agent.start();
  await host.docker("rm", "-f", "late");
  await passes(t, web, db.ipv4, 7000, "udp");
  await expectDrops(host, before, { POLICY_DEFAULT_IN: some });
});

test.serial("with the agent killed while policy changes on disk, the old one is enforced; after its start the new one is, with nothing between (R7, R14)", async (t) => {
  const { host } = stage;
  await host.network("shop");
  const [web, db] = [await make("web"), await make("db")];
  await using _db = await db.serve({ udp: [7000, 7001] });
  stage.drop("shop.yaml", rule(7000));
  await waitFor("the first policy", async () => (await web.ask("udp", db.ipv4, 7001, { timeout: 0.3 })) === "TIMEOUT");
  const opened = await change(true, () => passes(t, web, db.ipv4, 7000, "udp"));
  const plan = [["fresh", 7000], ["udp", 7000], ["fresh", 7001], ["udp", 7001]] as const;
  const storms = await Promise.all(plan.map(([kind, port]) => storm(web, { kind, address: db.ipv4, port, interval: 0.004 })));
  await host.agent.kill();
  stage.drop("shop.yaml", rule(7001));
  await passes(t, web, db.ipv4, 7000, "udp", "while the agent is away");
  await isDropped(t, web, db.ipv4, 7001, "udp", "while the agent is away");
  const restarted = await change(false, () => host.agent.start());
  await waitFor("the new policy", async () => (await web.ask("udp", db.ipv4, 7000, { timeout: 0.3 })) === "TIMEOUT");
  await passes(t, web, db.ipv4, 7001, "udp");
  for (const [index, [kind, port]] of plan.entries()) {
    const probes = (await storms[index]?.probes()) ?? [];
    t.deepEqual(runs(probes), port === 7000 ? [true, false] : [false, true], `${kind} to ${port}`);
    if (port === 7000) t.deepEqual(wrong(probes, [opened, restarted], 1000), [], `${kind} to ${port}`);
  }
});

test.serial("kill -9 again and again lets no denied probe pass and stops no allowed one (R12, R14)", async (t) => {
  const { host } = stage;
  await host.network("shop");
  const [web, db] = [await make("web"), await make("db")];
  await using _db = await db.serve({ udp: [7000, 7001] });
  await stage.apply(rule(7000));
  const before = await host.drops();
  const open = [await storm(web, { kind: "fresh", address: db.ipv4, port: 7000, interval: 0.005 }), await storm(web, { kind: "udp", address: db.ipv4, port: 7000, interval: 0.005 })];
  const closed = [await storm(web, { kind: "fresh", address: db.ipv4, port: 7001, interval: 0.005 }), await storm(host, { kind: "fresh", address: db.ipv4, port: 7000, interval: 0.005 })];
  for (let round = 0; round < 3; round += 1) {
    await host.agent.kill();
    await host.agent.start();
  }
  for (const each of open) t.deepEqual(runs(await each.probes()), [true]);
  for (const each of closed) t.deepEqual(runs(await each.probes()), [false]);
  t.like((await stage.policies()).find(({ name }) => name === "shop"), { state: "enforced" });
  await expectDrops(host, before, { POLICY_DEFAULT_IN: some });
});

test.serial("a file that is cut off, emptied or wrong leaves the last good policy in force and is told, across a restart, too (R7)", async (t) => {
  const { host } = stage;
  await host.network("shop");
  const [web, db] = [await make("web"), await make("db")];
  await using _db = await db.serve({ udp: [7000, 7001] });
  const file = `${stage.directory}/shop.yaml`;
  stage.drop("shop.yaml", rule(7000));
  const holds = async (why: string): Promise<void> => {
    await passes(t, web, db.ipv4, 7000, "udp", why);
    await isDropped(t, web, db.ipv4, 7001, "udp", why);
  };
  await waitFor("the policy", async () => (await web.ask("udp", db.ipv4, 7001, { timeout: 0.3 })) === "TIMEOUT");
  await holds("at first");
  const whole = readFileSync(file, "utf8");
  for (const [what, text] of [
    ["cut off", whole.slice(0, whole.indexOf("db:"))],
    ["empty", ""],
    ["only a comment", "# nothing\n"],
    ["wrong", `${rule(7001)}nonsense: true\n`],
    ["zeroes", "\0".repeat(512)],
  ] as const) {
    // As a full disk leaves it: written in place.
    writeFileSync(file, text);
    await waitFor(`the alarm when the file is ${what}`, async () => (await problems()).some((line) => line.includes("shop.yaml")), { promisedMs: 5000 });
    await holds(`when the file is ${what}`);
  }
  await host.agent.kill();
  await holds("without the agent");
  // Not ready, or ready with a problem: it comes up and says so.
  await host.agent.start();
  await holds("after the restart");
  t.true((await problems()).some((line) => line.includes("shop.yaml")));
  stage.drop("shop.yaml", rule(7001));
  await waitFor("the mended file to be in force", async () => /^\S+ \d+$/.test(await web.ask("udp", db.ipv4, 7001, { timeout: 0.3 })), { promisedMs: 5000 });
  await waitFor("the alarm to go", async () => !(await problems()).some((line) => line.includes("shop.yaml")), { promisedMs: 5000 });
});

test.serial("a folder whose files vanish all at once is taken for a mistake: they stay in force, with an alarm (R7)", async (t) => {
  const { host } = stage;
  await host.network("shop");
  const [web, db] = [await make("web"), await make("db")];
  await using _db = await db.serve({ udp: [7000, 7001] });
  stage.drop("shop.yaml", rule(7000));
  await waitFor("the policy", async () => (await web.ask("udp", db.ipv4, 7001, { timeout: 0.3 })) === "TIMEOUT");
  await host.run(["mv", stage.directory, `${stage.directory}.away`]);
  try {
    await waitFor("the alarm", async () => (await problems()).some((line) => line.includes("policy.d")), { promisedMs: 10_000 });
    await isDropped(t, web, db.ipv4, 7001, "udp");
    await host.agent.kill();
    await host.agent.start();
    await passes(t, web, db.ipv4, 7000, "udp");
    await isDropped(t, web, db.ipv4, 7001, "udp");
  } finally {
    await host.run(["mv", `${stage.directory}.away`, stage.directory]);
  }
  // A folder that comes back is found at the latest in the agent's next round, 30 s on.
  await waitFor("the alarm to go", async () => !(await problems()).some((line) => line.includes("policy.d")), { promisedMs: 40_000, everyMs: 200 });
});

/** The agent asks Docker through a gate that can be shut. */
async function gated(untilIdentified: "allow" | "deny", work: (gate: Gate) => Promise<void>): Promise<void> {
  const { host, world } = stage;
  const holder = readFileSync(`${world.directory}/${host.name}/holder.pid`, "utf8").trim();
  await using gate = await dockerGate(`${world.directory}/gate.sock`, `/proc/${holder}/root/run/docker.sock`);
  await stage.configured({ docker: { socket: gate.socket }, policy: { directory: stage.directory, untilIdentified } }, async () => {
    try {
      await work(gate);
    } finally {
      gate.open();
      await host.clear();
    }
  });
}

interface Row {
  readonly name: string;
  readonly state: string;
  readonly identity: number;
  readonly ipv4: string;
}

const rows = async (): Promise<readonly Row[]> => (await stage.host.json("endpoint", "list")) as readonly Row[];

test.serial("a container whose labels are not known is init: shown so, closed both ways, and promoted as soon as they are known (R3)", async (t) => {
  const { host, world: { outside } } = stage;
  await host.network("shop");
  const db = await make("db");
  await using _db = await db.serve({ udp: [7000], tcp: [7000] });
  await using _world = await outside.serve({ tcp: [7000] });
  await gated("deny", async (gate) => {
    await waitFor("the others to be known", async () => (await rows()).every(({ state }) => state === "ready"));
    await stage.apply("policy: shop\nfor: { network: shop }\nallow:\n  - label(tier=web) -> db\n");
    gate.shut();
    const web = await make("web", "--label", "tier=web");
    await using _web = await web.serve({ tcp: [7000] });
    const before = await host.drops();
    const fresh = (await rows()).find(({ ipv4 }) => ipv4 === web.ipv4);
    t.like(fresh, { state: "init", identity: 0 });
    for (const address of [db.ipv4, outside.ipv4]) await isDropped(t, web, address, 7000, "tcp", "while its labels are unknown");
    await isDropped(t, db, web.ipv4, 7000);
    await isDropped(t, host, web.ipv4, 7000);
    await expectDrops(host, before, { NOT_IDENTIFIED: some });
    const probing = await storm(web, { kind: "fresh", address: db.ipv4, port: 7000 });
    const known = await change(true, () => {
      gate.open();
      return Promise.resolve();
    });
    await waitFor("web to be ready", async () => (await rows()).some(({ ipv4, state, identity }) => ipv4 === web.ipv4 && state === "ready" && identity > 0), { everyMs: 10 });
    const end = now() + 200_000;
    await waitFor("some more probes", () => now() > end);
    const probes = await probing.probes();
    const first = probes.find(({ answered }) => answered);
    t.log(`promoted ${(((first?.sent ?? 0) - known.done) / 1000).toFixed(0)} ms after Docker could be asked`);
    t.deepEqual(runs(probes), [false, true]);
    t.deepEqual(wrong(probes, [known], 1000 * patience), []);
  });
});

test.serial("with policy.untilIdentified: allow such a container is one that no policy covers (R3)", async (t) => {
  const { host, world: { outside } } = stage;
  await host.network("shop");
  const [db, shut] = [await make("db"), await make("shut", "--label", "hawser.default.in=deny")];
  await using _db = await db.serve({ tcp: [7000] });
  await using _shut = await shut.serve({ tcp: [7000] });
  await using _world = await outside.serve({ tcp: [7000] });
  await gated("allow", async (gate) => {
    await waitFor("the others to be known", async () => (await rows()).every(({ state }) => state === "ready"));
    await stage.apply("policy: shop\nfor: { network: shop }\ndeny:\n  - label(tier=web) -> world\n");
    gate.shut();
    const web = await make("web", "--label", "tier=web");
    t.like((await rows()).find(({ ipv4 }) => ipv4 === web.ipv4), { state: "init", identity: 0 });
    const before = await host.drops();
    await passes(t, web, db.ipv4, 7000);
    await passes(t, web, outside.ipv4, 7000);
    await isDropped(t, web, shut.ipv4, 7000, "tcp", "for the other's end is judged as ever");
    gate.open();
    await waitFor("its label to count", async () => (await web.ask("tcp", outside.ipv4, 7000, { timeout: 0.3 })) === "TIMEOUT", { promisedMs: 3000 });
    await expectDrops(host, before, { POLICY_DEFAULT_IN: some, POLICY_DENIED: some });
  });
});
