// Services of several hosts: what one applies or has in its folder is in force on all, and each takes out a container that its own host finds ill.
//
//   a: web1 (shop)  ◀── 198.18.7.7:80 ──▶  b: web2 (shop)        e1 e2 e3 (etcd)
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import test from "ava";
import { clusterScene, meet } from "../lab/cluster.ts";
import type { Host } from "../lab/host.ts";
import { configure } from "../lab/policy.ts";
import { waitFor } from "../lab/run.ts";

const stage = clusterScene(test, {}, { hosts: 2 });
const text = (port = 80, more = ""): string => `service: web
frontends: ["198.18.7.7:${port}"]
backends: [{ select: { network: shop, label: app=web }, port: 7000 }]
health: { kind: http, interval: 200ms, timeout: 150ms, rise: 2, fall: 3 }
${more}`;

interface Row {
  readonly name: string;
  readonly state: string;
  readonly source: string;
  readonly nodes: readonly string[];
  readonly frontends: readonly { readonly port: number }[];
  readonly backends: readonly { readonly identity: string; readonly state: string }[];
  readonly error?: string;
}

const rows = async (host: Host): Promise<readonly Row[]> => (await host.json("service", "list")) as readonly Row[];
const shown = async (host: Host): Promise<string> =>
  (await rows(host)).map(({ name, state, source, nodes, frontends }) => `${name} ${state} ${source} ${nodes.join("+")} ${frontends.map(({ port }) => port).join()}`).join("; ");
const served = async (host: Host): Promise<string> =>
  (await rows(host)).flatMap(({ backends }) => backends.map(({ identity, state }) => `${identity.replace(/^.*\/(.*):.*$/, "$1")} ${state}`)).toSorted().join();
const becomes = (what: (host: Host) => Promise<string>, host: Host, wanted: string): Promise<void> =>
  waitFor(`${host.name} to show ${wanted}`, async () => (await what(host)) === wanted, { everyMs: 10, explain: () => host.agent.tail(20) });

test.serial("a service that one host applies is in force on both, and both take out the container that its own host finds ill", async (t) => {
  t.timeout(180_000);
  const { a, b, world: { directory } } = stage;
  const script = fileURLToPath(new URL("../lab/web.py", import.meta.url));
  const say = (name: string, status: number): void => writeFileSync(`${directory}/${name}.status`, String(status));
  await stage.network("shop");
  for (const [host, name] of [[a, "web1"], [b, "web2"]] as const) {
    say(name, 200);
    await host.container(name, ["--network", "shop", "--label", "app=web"]);
  }
  const places = await Promise.all([a.inside("web1"), b.inside("web2")]);
  const serving = places.map((place, i) => place.start(["/usr/bin/python3", script, `web${i + 1}`, "7000", `${directory}/web${i + 1}.status`]));
  await Promise.all(serving.map((one) => one.says("ready")));
  await meet(places);
  const file = `${directory}/web.yaml`;
  writeFileSync(file, text());
  await a.hawser(["service", "apply", file]);
  for (const host of [a, b]) await becomes(shown, host, `web enforced apply ${file} a 80`);
  for (const host of [a, b]) await becomes(served, host, "web1 active,web2 active");

  for (const [status, state] of [[500, "down"], [200, "active"]] as const) {
    const since = Date.now();
    say("web1", status);
    const took = await Promise.all([a, b].map(async (host) => {
      await becomes(served, host, `web1 ${state},web2 active`);
      return Date.now() - since;
    }));
    t.log(`web1 is ${state} on its own host after ${took[0]} ms, on the other after ${took[1]} ms`);
    t.true((took[1] ?? 0) - (took[0] ?? 0) < 1500);
  }
  say("web1", 500);
  await becomes(served, b, "web1 down,web2 active");
  for (let i = 0; i < 8; i++) t.regex(await b.ask("tcp", "198.18.7.7", 80), /^web2 /);

  // A host that begins anew knows it at once.
  await b.agent.stop();
  await b.agent.start();
  t.is(await served(b), "web1 down,web2 active");
  await b.hawser(["service", "delete", "web"]);
  for (const host of [a, b]) await becomes(shown, host, "");
  for (const one of serving) await one.stop();
});

test.serial("folders: the same text agrees, another is refused with who has it; without etcd everything stays in force, over a restart as well", async (t) => {
  t.timeout(180_000);
  const { a, b, etcd, world: { directory } } = stage;
  const folder = (host: Host): string => `${directory}/${host.name}.service.d`;
  const put = (host: Host, name: string, said: string): void => {
    writeFileSync(`${folder(host)}/${name}`, said);
  };
  const path = (host: Host, name = "web.yaml"): string => `${folder(host)}/${name}`;
  for (const host of [a, b]) {
    mkdirSync(folder(host));
    configure(host, { services: { directory: folder(host) } });
    await host.agent.stop();
    await host.agent.start();
  }
  for (const host of [a, b]) put(host, "keep.yaml", text(99).replace("service: web", "service: keep"));
  put(a, "web.yaml", text());
  await becomes(shown, b, `keep enforced directory ${path(b, "keep.yaml")} a+b 99; web enforced directory ${path(a)} a 80`);
  put(b, "web.yaml", text(80, "# the same\n"));
  await becomes(shown, a, `keep enforced directory ${path(a, "keep.yaml")} a+b 99; web enforced directory ${path(a)} a+b 80`);
  put(b, "web.yaml", text(81));
  await waitFor("b to refuse it", async () => (await rows(b)).some(({ state, error = "" }) => state === "rejected" && error.includes(`of a:${path(a)}`)), { explain: () => b.agent.tail(20) });
  t.regex(await shown(a), /web enforced directory \S+ a 80/);
  rmSync(path(a));
  for (const host of [a, b]) await waitFor(`${host.name} to have b's`, async () => (await shown(host)).includes(`web enforced directory ${path(b)} b 81`), { explain: () => host.agent.tail(20) });

  await etcd.kill();
  await waitFor("a to notice", async () => (await a.hawser(["status"], { mayFail: true })).stdout.includes("not heard"));
  const refused = await a.hawser(["service", "delete", "web"], { mayFail: true });
  t.is(refused.code, 1);
  t.regex(refused.stderr, /the other nodes cannot be told, so that what was in force stays/);
  put(a, "late.yaml", text(82).replace("service: web", "service: late"));
  await waitFor("late to wait", async () => (await rows(a)).some(({ state, error = "" }) => state === "pending" && error.includes("not told to the other nodes yet")));
  await a.agent.stop();
  await a.agent.start();
  t.regex(await shown(a), /^keep enforced .* 99; web enforced directory \S+ b 81/);
  await etcd.start();
  for (const host of [a, b]) await waitFor(`${host.name} to have all`, async () => /^keep enforced \S+ \S+ a\+b 99; late enforced \S+ \S+ a 82; web enforced \S+ \S+ b 81$/.test(await shown(host)), { timeoutMs: 60_000, explain: () => host.agent.tail(20) });
  for (const host of [a, b]) {
    rmSync(folder(host), { recursive: true });
    for (const { name } of await rows(host)) await host.hawser(["service", "delete", name], { mayFail: true });
  }
  for (const host of [a, b]) await becomes(shown, host, "");
});
