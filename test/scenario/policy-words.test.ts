// Where policy comes from: files, Compose files, a container's own labels; and what is refused, or grants nothing.
//
//   a: web, db, c1 … (shop)      LAN ── router ── outside
import test from "ava";
import { expectDrops, some } from "../lab/drops.ts";
import type { Place } from "../lab/place.ts";
import { isDropped, passes, policyScene } from "../lab/policy.ts";
import { waitFor } from "../lab/run.ts";

const stage = policyScene(test);

async function make(name: string, ...labels: readonly string[]): Promise<Place> {
  const { host } = stage;
  await host.container(name, ["--network", "shop", ...labels.flatMap((label) => ["--label", label])]);
  return host.inside(name);
}

test.serial("an unknown set, key or reference refuses the whole change, names its place, and leaves the old policy in force (R6)", async (t) => {
  const { host } = stage;
  await host.network("shop");
  const [web, db] = [await make("web"), await make("db")];
  await using _db = await db.serve({ tcp: [7000, 7001] });
  await stage.apply("policy: shop\nfor: { network: shop }\ndefault: { in: deny }\nallow:\n  - web -> db:7000\n");
  const { revision } = (await stage.policies()).find(({ name }) => name === "shop") ?? { revision: 0 };
  const open = "policy: shop\nfor: { network: shop }\nallow:\n  - web -> db:7001\n";
  for (const [text, line, words] of [
    [`${open}  - "@office -> web:80"\n`, 5, /office/],
    [`${open}alow:\n  - web -> db\n`, 5, /"alow".*allow/s],
    [`${open}  - web -> 10.0.0.0/33\n`, 5, /10\.0\.0\.0\/33/],
    [`${open}  - web -> db:70000\n`, 5, /70000/],
    [`${open}  - web => db\n`, 5, /web => db|->/],
    [`${open}  - web -> api.example.com:443\n`, 5, /api\.example\.com/],
    [`${open}  - web -> db:80 http(GET /v1/**)\n`, 5, /http/],
    [`${open}tests:\n  - { from: web, to: "db:7001", expect: deny }\n`, 6, /expect|deny/],
  ] as const) {
    const { code, stderr } = await stage.applyOutput(text);
    t.is(code, 1, text);
    t.regex(stderr, new RegExp(`shop\\.yaml:${line}:`), text);
    t.regex(stderr, words);
  }
  const standing = (await stage.policies()).find(({ name }) => name === "shop");
  t.like(standing, { state: "enforced", revision });
  const before = await host.drops();
  await passes(t, web, db.ipv4, 7000);
  await isDropped(t, web, db.ipv4, 7001);
  await expectDrops(host, before, { POLICY_DEFAULT_IN: some });
});

test.serial("of several files all are applied or none", async (t) => {
  const { host, world } = stage;
  await host.network("shop");
  const [web, db] = [await make("web"), await make("db")];
  await using _db = await db.serve({ tcp: [7000] });
  await stage.applyOutput("policy: wrong\nfor: { network: shop }\nallow:\n  - '@nobody -> web'\n");
  await host.run(["sh", "-c", "cat > \"$0\"", `${world.directory}/right.yaml`], { input: "policy: right\nfor: { network: shop }\ndeny:\n  - web -> db\n" });
  const { code } = await host.hawser(["policy", "apply", `${world.directory}/right.yaml`, `${world.directory}/shop.yaml`], { mayFail: true });
  t.is(code, 1);
  t.deepEqual((await stage.policies()).map(({ name }) => name), ["keeper"]);
  await passes(t, web, db.ipv4, 7000);
});

test.serial("a name that nobody carries yet matches nothing, is warned of, and means its container from that one's first packet (R6)", async (t) => {
  const { host } = stage;
  await host.network("shop");
  const [db, other] = [await make("db"), await make("other")];
  await using _db = await db.serve({ tcp: [7000] });
  const text = "policy: shop\nfor: { network: shop }\ndefault: { in: deny }\nallow:\n  - wbe -> db:7000\ndeny:\n  - nobody -> db\n";
  const { stderr } = await stage.apply(text);
  t.regex(stderr, /warning: .*shop\.yaml:5:.*wbe/);
  const strict = await stage.applyOutput(text, "--strict");
  t.is(strict.code, 1);
  t.regex(strict.stderr, /wbe/);
  const before = await host.drops();
  await isDropped(t, other, db.ipv4, 7000);
  await expectDrops(host, before, { POLICY_DEFAULT_IN: some });
  const first = await host.dockerOutput(["run", "--rm", "--name", "wbe", "--network", "shop", "hawser/busybox", "nc", "-w", "2", db.ipv4, "7000"], { timeoutMs: 20_000 });
  t.regex(first.stdout, /^who /, first.stderr);
});

test.serial("a container's own labels close it and open its own end, not another's", async (t) => {
  const { host, world: { outside } } = stage;
  await host.network("shop");
  const db = await make("db");
  const shut = await make("shut", "hawser.default.in=deny");
  const picky = await make("picky", "hawser.default.in=deny", "hawser.allow.in=web");
  const web = await make("web", "hawser.default.out=deny", "hawser.allow.out=203.0.113.0/24:7000, db:7000, shut, picky");
  const free = await make("free");
  await using _db = await db.serve({ tcp: [7000, 7001] });
  await using _shut = await shut.serve({ tcp: [7000] });
  await using _picky = await picky.serve({ tcp: [7000] });
  await using _free = await free.serve({ tcp: [7000] });
  await using _web = await web.serve({ tcp: [7000] });
  await using _world = await outside.serve({ tcp: [7000, 7001] });
  const before = await host.drops();
  await passes(t, web, outside.ipv4, 7000);
  await isDropped(t, web, outside.ipv4, 7001);
  await passes(t, web, db.ipv4, 7000);
  await isDropped(t, web, db.ipv4, 7001);
  await isDropped(t, web, free.ipv4, 7000);
  await isDropped(t, web, shut.ipv4, 7000, "tcp", "for its label does not speak for the other's end");
  await passes(t, web, picky.ipv4, 7000, "tcp", "for both ends say so");
  await isDropped(t, free, picky.ipv4, 7000);
  await isDropped(t, free, shut.ipv4, 7000);
  await isDropped(t, host, shut.ipv4, 7000);
  await passes(t, free, web.ipv4, 7000);
  await passes(t, picky, free.ipv4, 7000);
  await expectDrops(host, before, { POLICY_DEFAULT_OUT: some, POLICY_DEFAULT_IN: some });
  const endpoints = (await host.json("endpoint", "list")) as readonly { readonly name: string; readonly default: unknown }[];
  const defaults = Object.fromEntries(endpoints.map((each) => [each.name, each.default]));
  t.like(defaults, { web: { in: "allow", out: "deny" }, picky: { in: "deny", out: "allow" }, free: { in: "allow", out: "allow" } });
});

test.serial("labels that come from the image grant nothing; the same label on the container does (R88)", async (t) => {
  const { host, world } = stage;
  await host.network("shop");
  const db = await make("db");
  const claims = ["tier=web", "com.docker.compose.service=web", "hawser.allow.in=any", "hawser.allow.out=any"];
  await host.docker("import", ...claims.flatMap((label) => ["-c", `LABEL ${label}`]), `${world.directory}/image.tar`, "hawser/claims");
  await stage.apply(`
policy: shop
for: { network: shop }
default: { in: deny, out: deny }
allow:
  - label(tier=web) -> db:7000
  - label(tier=front) -> db:7000
  - web -> db:7001
`);
  const run = (name: string, ...options: readonly string[]): Promise<string> =>
    host.docker("run", "-d", "--name", name, "--network", "shop", "--stop-timeout", "0", ...options, "hawser/claims", "sleep", "infinity");
  await run("forger");
  // Docker adds an image's labels to the container's; only one that the container has otherwise can be told apart.
  await run("owner", "--label", "tier=front");
  const [forger, owner] = [await host.inside("forger"), await host.inside("owner")];
  await using _db = await db.serve({ tcp: [7000, 7001, 7002] });
  await using _forger = await forger.serve({ tcp: [7000] });
  const before = await host.drops();
  for (const port of [7000, 7001, 7002]) await isDropped(t, forger, db.ipv4, port);
  await isDropped(t, owner, forger.ipv4, 7000);
  await isDropped(t, host, forger.ipv4, 7000);
  await passes(t, owner, db.ipv4, 7000);
  await isDropped(t, owner, db.ipv4, 7001, "tcp", "for its service is the image's word");
  await expectDrops(host, before, { POLICY_DEFAULT_OUT: some, POLICY_DEFAULT_IN: some });
});

test.serial("a Compose file's x-hawser is policy for its project, by its services' names", async (t) => {
  const { host } = stage;
  await host.network("shop_default", "--label", "com.docker.compose.project=shop");
  const service = async (name: string, project = "shop"): Promise<Place> => {
    await host.container(`${project}-${name}-1`, ["--network", "shop_default", "--label", `com.docker.compose.project=${project}`, "--label", `com.docker.compose.service=${name}`]);
    return host.inside(`${project}-${name}-1`);
  };
  const [web, db, cache, stranger] = [await service("web"), await service("db"), await service("cache"), await service("web", "other")];
  const compose = (rule: string): string => `name: shop
services:
  web: { image: hawser/busybox, ports: ["8080:7000"] }
  db: { image: hawser/busybox }
  cache: { image: hawser/busybox }
x-hawser:
  default: { in: deny }
  allow:
    - ${rule}
  tests:
    - { from: web, to: "db:7000", expect: allow }
    - { from: cache, to: "db:7000", expect: deny }
`;
  const typo = await stage.applyOutput(compose("web -> db:7000\n    - wep -> db:7001"));
  t.is(typo.code, 1, "a Compose file lists all its services");
  t.regex(typo.stderr, /shop\.yaml:10:.*wep.*web/s);
  await stage.apply(compose("web -> db:7000"), "compose.yaml");
  t.like((await stage.policies()).find(({ name }) => name === "shop"), { state: "enforced", rules: 1, endpoints: 3 });
  await using _db = await db.serve({ tcp: [7000, 7001] });
  const before = await host.drops();
  await passes(t, web, db.ipv4, 7000);
  await isDropped(t, web, db.ipv4, 7001);
  await isDropped(t, cache, db.ipv4, 7000);
  await isDropped(t, stranger, db.ipv4, 7000, "tcp", "for the same service of another project is another");
  await expectDrops(host, before, { POLICY_DEFAULT_IN: some });
});

test.serial("a file in the watched folder is in force a moment after it is written, changed and taken away", async (t) => {
  const { host } = stage;
  await host.network("shop");
  const [web, db] = [await make("web"), await make("db")];
  await using _db = await db.serve({ tcp: [7000] });
  const before = await host.drops();
  const becomes = (wanted: RegExp, what: string): Promise<void> =>
    waitFor(what, async () => wanted.test(await web.ask("tcp", db.ipv4, 7000, { timeout: 0.5 })), { promisedMs: 5000, everyMs: 20, explain: () => host.agent.tail(5) });
  stage.drop("shop.yaml", "policy: shop\nfor: { network: shop }\ndeny:\n  - web -> db\n");
  await becomes(/TIMEOUT/, "the new file to close the way");
  t.regex((await stage.policies()).find(({ name }) => name === "shop")?.source ?? "", /^directory .*shop\.yaml$/);
  t.not((await host.hawser(["policy", "delete", "shop"], { mayFail: true })).code, 0, "what stands in a file is deleted there");
  stage.drop("shop.yaml", "policy: shop\nfor: { network: shop }\nallow:\n  - web -> db\n");
  await becomes(/^\S+ \d+$/, "the changed file to open it");
  stage.drop("shop.yaml", "policy: shop\nfor: { network: shop }\ndefault: { in: deny }\n");
  await becomes(/TIMEOUT/, "the next change to close it");
  await host.run(["rm", `${stage.directory}/shop.yaml`]);
  await becomes(/^\S+ \d+$/, "the way to be open without the file");
  await expectDrops(host, before, { POLICY_DENIED: some, POLICY_DEFAULT_IN: some });
});

test.serial("policy apply, get, list and delete tell of one another, and a label policy is listed", async (t) => {
  const { host } = stage;
  await host.network("shop");
  const [web, db] = [await make("web"), await make("db", "hawser.default.in=deny")];
  await using _db = await db.serve({ tcp: [7000] });
  const text = "policy: shop\nfor: { network: shop }\nallow:\n  - web -> db:7000\n";
  await stage.apply(text);
  t.is(((await host.json("policy", "get", "shop")) as { readonly text: string }).text, text);
  const rows = await stage.policies();
  t.like(rows.find(({ name }) => name === "shop"), { rules: 1, endpoints: 2, revision: 1, state: "enforced" });
  t.like(rows.find(({ source }) => source.startsWith("label")), { state: "enforced", endpoints: 1 });
  await passes(t, web, db.ipv4, 7000);
  await host.hawser(["policy", "delete", "shop"]);
  const before = await host.drops();
  await isDropped(t, web, db.ipv4, 7000);
  await expectDrops(host, before, { POLICY_DEFAULT_IN: some });
  const gone = await host.hawser(["policy", "get", "shop"], { mayFail: true });
  t.is(gone.code, 1);
});
