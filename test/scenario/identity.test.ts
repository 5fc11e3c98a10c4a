// Whose an endpoint is: known before the container's first packet, from the container's own labels, however many start at once.
//
//   a: web, db, side … (shop), p0 … p49 (shop)
import test from "ava";
import { expectDrops } from "../lab/drops.ts";
import { image } from "../lab/image.ts";
import { waitFor } from "../lab/run.ts";
import { scene } from "../lab/scenario.ts";

const stage = scene(test);

interface Row {
  readonly name: string;
  readonly state: string;
  readonly identity: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly notes: readonly string[];
}

const rows = async (): Promise<readonly Row[]> => (await stage.host.json("endpoint", "list")) as readonly Row[];

async function row(name: string): Promise<Row> {
  const found = (await rows()).find((each) => each.name === name);
  if (found === undefined) throw new Error(`no endpoint of ${name} is listed`);
  return found;
}

async function identityLabels(name: string): Promise<Readonly<Record<string, string>> | undefined> {
  const identities = (await stage.host.json("identity", "list")) as readonly { readonly id: number; readonly labels: Readonly<Record<string, string>> }[];
  const { identity } = await row(name);
  return identities.find(({ id }) => id === identity)?.labels;
}

test.serial("a container speaks at once and is heard: its identity is there before its first packet (R3, R4)", async (t) => {
  const { host } = stage;
  await host.network("shop");
  await host.container("db", ["--network", "shop", "--label", "tier=db"]);
  const drops = await host.drops();
  for (let round = 0; round < 10; round += 1) {
    const first = await host.dockerOutput(["run", "--rm", "--network", "shop", "--label", `round=${round}`, image, "ping", "-c1", "-W1", "db"]);
    t.is(first.code, 0, first.stderr);
  }
  t.like(await row("db"), { state: "ready", labels: { tier: "db" } });
  t.deepEqual(await identityLabels("db"), { network: "shop", tier: "db" });
  await expectDrops(host, drops, {});
});

test.serial("50 containers that start at the same time all start, and each has its identity (R92, R3)", async (t) => {
  const { host } = stage;
  await host.network("shop", "--subnet", "10.73.0.0/24");
  const names = Array.from({ length: 50 }, (_, index) => `p${index}`);
  for (const [index, name] of names.entries()) {
    await host.docker("create", "--name", name, "--network", "shop", "--stop-timeout", "0", "--label", `tier=t${index % 5}`, image, "sleep", "infinity");
  }
  const outputs = await Promise.all(names.map((name) => host.dockerOutput(["start", name], { timeoutMs: 120_000 })));
  t.deepEqual(outputs.filter(({ code }) => code !== 0).map(({ stderr }) => stderr), []);
  // A start that Docker was too busy to be asked about in time is closed until the next reading.
  await waitFor("every container to be known", async () => (await rows()).every(({ state, identity }) => state === "ready" && identity > 0), { promisedMs: 5000 });
  const known = await rows();
  t.is(known.length, 50);
  for (const { name, labels } of known) t.is(labels["tier"], `t${Number(name.slice(1)) % 5}`);
  t.is(new Set(known.map(({ identity }) => identity)).size, 5, "equal labels share a number");
  await host.docker("rm", "-f", ...names);
});

test.serial("labels of an image are shown and grant nothing; the same label on the container counts (R88)", async (t) => {
  const { host } = stage;
  await host.network("shop");
  const labels = ["role=admin", "com.docker.compose.service=payments", "com.docker.compose.project=bank"];
  await host.sh(`docker -H unix:///run/docker.sock import ${labels.map((label) => `-c 'LABEL ${label}'`).join(" ")} ${stage.world.directory}/image.tar hawser/claims`);
  await host.docker("run", "-d", "--name", "forger", "--network", "shop", "--stop-timeout", "0", "hawser/claims", "sleep", "infinity");
  await host.docker("run", "-d", "--name", "owner", "--network", "shop", "--stop-timeout", "0", "--label", "role=operator", "--label", "com.docker.compose.service=till",
    "hawser/claims", "sleep", "infinity");
  t.is((await row("forger")).labels["role"], "admin");
  t.deepEqual(await identityLabels("forger"), { network: "shop" });
  t.deepEqual(await identityLabels("owner"), { network: "shop", role: "operator", service: "till" });
  await host.docker("rm", "-f", "forger", "owner");
  await host.docker("create", "--name", "late", "--network", "shop", "--stop-timeout", "0", "--label", "role=late", "hawser/claims", "sleep", "infinity");
  await host.docker("rmi", "-f", "hawser/claims");
  await host.agent.stop();
  await host.agent.start();
  await host.docker("start", "late");
  t.deepEqual(await identityLabels("late"), { network: "shop", "doubtful:project": "bank", "doubtful:role": "late", "doubtful:service": "payments" });
  t.regex((await row("late")).notes.join("\n"), /its image is gone .* none counts for policy/);
});

test.serial("a new name is known at once (R3)", async (t) => {
  const { host } = stage;
  await host.network("shop");
  await host.container("web", ["--network", "shop"]);
  await host.docker("rename", "web", "shopfront");
  await waitFor("the new name", async () => (await rows())[0]?.name === "shopfront", { promisedMs: 2000, everyMs: 20 });
  t.pass();
});

test.serial("what no policy reaches, and who shares an identity, is said (R50)", async (t) => {
  const { host } = stage;
  await host.network("shop");
  await host.docker("network", "create", "-d", "bridge", "wire");
  await host.container("web", ["--network", "shop", "--cap-add", "NET_ADMIN"]);
  await host.docker("network", "connect", "wire", "web");
  // A name of its own is not possible in another's namespace, nor in the host's.
  await host.docker("run", "-d", "--name", "side", "--network", "container:web", "--stop-timeout", "0", image, "sleep", "infinity");
  await host.docker("run", "-d", "--name", "node", "--network", "host", "--stop-timeout", "0", image, "sleep", "infinity");
  const wanted = [
    "also attached to network wire (driver bridge), which Hawser does not enforce",
    "container side shares this network namespace and identity",
    "has NET_ADMIN: it may change its own addresses, routes and devices",
  ];
  await waitFor("the notes", async () => (await row("web")).notes.length === wanted.length, { promisedMs: 5000 });
  t.deepEqual((await row("web")).notes.toSorted(), wanted);
  const { parts } = (await host.json("status")) as { readonly parts: readonly { readonly part: string; readonly detail: string }[] };
  t.regex(parts.find(({ part }) => part === "docker")?.detail ?? "", /not enforced: node \(it is on the host's own network\)/);
  await host.docker("rm", "-f", "side", "node");
  await waitFor("the note to go", async () => (await row("web")).notes.length === wanted.length - 1, { promisedMs: 5000 });
});
